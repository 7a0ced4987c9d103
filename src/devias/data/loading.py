"""Batches of clips: loaders that share the videos out, and where training stands in an epoch."""

from __future__ import annotations

from typing import Any, Protocol

import lightning as L
import torch
from torch.utils.data import DataLoader, Sampler

from devias.data.dataset import EvalDataset, SampleKey, TrainDataset, VideoDataset, collate
from devias.data.samplers import EvalSampler, FixedSampler, ResumeError, TrainSampler
from devias.data.shared_memory import check_shared_memory, collate_shared
from devias.errors import ConfigError
from devias.structures import ClipBatch


class Stage(Protocol):
    """What makes of the loader's batch what the model takes, as `labels.on_device.BatchStage`."""

    def __call__(self, batch: ClipBatch) -> ClipBatch:
        """`uint8` batch → normalized batch, as for training or evaluation."""
        ...

    def train(self, mode: bool = True) -> Any:
        """Choose between training and evaluation."""
        ...

    def displayable(self, batch: ClipBatch) -> ClipBatch:
        """Normalized batch → `uint8` batch with masks."""
        ...


class ClipLoading(L.LightningDataModule):
    """Hands out the clips of datasets that a data module has opened.

    What it works with is set by `devias.data.datamodule.VideoDataModule`.
    """

    batch_size: int
    eval_batch_size: int
    num_workers: int
    seed: int
    clip_length: int
    image_size: int
    stage: Stage | None

    def __init__(self) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer videos than ranks
        self._epoch = self._drawn_batches = 0
        self._train: TrainDataset | None = None
        self._sampler: TrainSampler | None = None
        self._eval: dict[tuple[str, int, int], EvalDataset] = {}

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled clips; incomplete last batches are dropped.

        Raises:
            ConfigError: there are fewer videos than `global_batch`.
        """
        assert self._train is not None
        accumulated = 1 if self.trainer is None else self.trainer.accumulate_grad_batches
        needed = self.batch_size * self._rank()[1] * accumulated
        if len(self._train) < needed:
            raise ConfigError(
                f"{len(self._train)} training videos make no batch of {needed}: choose a smaller "
                "global_batch"
            )
        self._sampler = TrainSampler(len(self._train), self.seed, *self._rank())
        self._sampler.resume(self._epoch, self._drawn_batches * self.batch_size)
        return self._loader(self._train, self._sampler, self.batch_size, drop_last=True)

    def eval_dataloader(
        self, split: str, num_clips: int = 1, num_crops: int = 1
    ) -> DataLoader[Any]:
        """Every video of a split that `add_eval` read, all its views in one item."""
        dataset = self._eval[split, num_clips, num_crops]
        sampler = EvalSampler(len(dataset), *self._rank())
        batch_size = max(1, self.eval_batch_size // (num_clips * num_crops))
        return self._loader(dataset, sampler, batch_size)

    def state_dict(self) -> dict[str, int]:
        """The epoch that a run resumed from here goes on with, and what was drawn of it.

        With worker processes a loader's iterator asks for its first samples when it is made, and
        Lightning makes that of a resumed run before it tells the sampler the epoch.
        """
        assert self.trainer is not None
        loop = self.trainer.fit_loop
        epoch, batches = loop.epoch_progress.current, loop.epoch_loop.batch_progress
        drawn = batches.current.processed  # type: ignore[attr-defined]
        ended = epoch.processed == epoch.ready  # type: ignore[attr-defined]
        whole = ended and (batches.is_last_batch or not drawn)
        return {
            # An epoch that `max_steps` cut short has ended as well, and isn't whole.
            "epoch": epoch.processed - (ended and not whole),  # type: ignore[attr-defined]
            "batches": 0 if whole else drawn,
            "batch_size": self.batch_size,
            "world_size": self.trainer.world_size,
        }

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Take epoch and place in it from a checkpoint.

        Raises:
            ResumeError: the epoch was begun with other batches or another number of devices.
        """
        self._epoch, self._drawn_batches = state_dict["epoch"], state_dict.get("batches", 0)
        assert self.trainer is not None
        for name, now in (("batch_size", self.batch_size), ("world_size", self.trainer.world_size)):
            if self._drawn_batches and state_dict[name] != now:
                raise ResumeError(
                    f"the checkpoint stands in the middle of an epoch, which must go on with the "
                    f"same {name.replace('_', ' ')}: {state_dict[name]} then, {now} now"
                )
        if self._sampler is not None:  # some strategies restore after loaders are made
            self._sampler.resume(self._epoch, self._drawn_batches * self.batch_size)

    def on_after_batch_transfer(self, batch: ClipBatch, dataloader_idx: int) -> ClipBatch:
        """Hand the batch to the stage, on the device and in the Trainer's precision."""
        if self.stage is None:
            return batch
        if self.trainer is None:
            self.stage.train(False)
            return self.stage(batch)
        self.stage.train(self.trainer.training)
        with self.trainer.precision_plugin.forward_context():
            return self.stage(batch)

    def displayable(self, batch: ClipBatch) -> ClipBatch:
        """A batch as people look at it: `uint8` clips, with masks where anything makes them."""
        return batch if self.stage is None else self.stage.displayable(batch)

    def _rank(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _loader(
        self,
        dataset: VideoDataset,
        sampler: Sampler[SampleKey],
        batch_size: int,
        drop_last: bool = False,
    ) -> DataLoader[Any]:
        keys: Sampler[Any] = sampler
        if getattr(self.trainer, "overfit_batches", 0) > 0:
            keys = FixedSampler(list(sampler))
        if self.num_workers:
            self._check_shared_memory()
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=keys,
            num_workers=self.num_workers,
            collate_fn=collate_shared if self.num_workers else collate,
            drop_last=drop_last,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0 and drop_last,
            # Of the loader's own: an iterator draws from it when it is made, which is before the
            # random state is set for an epoch where a run begins or resumes, and after it else.
            generator=torch.Generator(),
        )

    def _check_shared_memory(self) -> None:
        """Before training, for what evaluation after it takes as well."""
        views = max((clips * crops for _, clips, crops in self._eval), default=1)
        pixels = self.clip_length * self.image_size**2
        most = max(self.batch_size, self.eval_batch_size, views)
        check_shared_memory(3 * pixels * most, self.num_workers)
