"""The base of every dataset's LightningDataModule: loading, sampling, transforms, loaders."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import lightning as L
import torch
from torch.utils.data import DataLoader

from devias.data.dataset import EvalDataset, TrainDataset, VideoDataset, collate
from devias.data.records import VideoRecord
from devias.data.samplers import EvalSampler, TrainSampler
from devias.data.transforms import EvalTransform, TrainTransform
from devias.errors import DeviasError
from devias.labels.lookup import ClipLabels, label_sources, open_labels
from devias.labels.on_device import BatchStage
from devias.labels.storage import Settings
from devias.structures import UNKNOWN, ClipBatch


class MissingDataError(DeviasError, FileNotFoundError):
    """A dataset is not where its configuration says; tells what to fetch and where to put it."""


class VideoDataModule(L.LightningDataModule, ABC):
    """A video dataset with its splits, class names and pseudo labels.

    A subclass names its splits and turns annotation files into records; the rest stands here.

    Args:
        root: folder of the dataset.
        stage: derives normalised clips, masks and scene labels on the device.
        num_actions, num_scenes: class counts the model is built for; every label is checked.
        clip_length, stride: T frames, every `stride`-th of the video.
        image_size: side of the square the model sees, in pixels.
        batch_size: videos per device and step.
        eval_batch_size: clips (videos × views) per device at evaluation; at least one video.
        num_workers: loader processes per device.
        rand_augment: timm's notation, or `None`.
        crop_scale: area share of the random resized crop.
        horizontal_flip: probability; 0 where left and right matter (Something-Something).
        num_clips, num_crops: temporal × spatial views of a test video. Validation uses one.
        preload: decode every video once into memory (small datasets).
        train_masks: hand on the actor's true silhouettes in training, where the dataset has them;
            evaluation always does.
        pseudo_cache: folder of pseudo labels that `python -m devias.pseudo` made. Training takes
            them from there instead of making them; so do the evaluation splits it holds.
        max_bad_share: training stops when more than this share of videos cannot be read.
        seed: of sample order, clip positions and augmentation.
    """

    train_split = "train"
    val_splits: Sequence[str] = ()
    test_splits: Sequence[str] = ()
    seen_split = "seen"
    unseen_splits: Sequence[str] = ()
    """Test splits of combinations seen, and not seen, in training."""
    bias_aligned_actions: Sequence[int] | None = None
    """For each scene the action it usually comes with, where the dataset defines one."""

    def __init__(
        self,
        root: str,
        stage: BatchStage,
        num_actions: int,
        num_scenes: int,
        clip_length: int = 16,
        stride: int = 4,
        image_size: int = 224,
        batch_size: int = 12,
        eval_batch_size: int = 24,
        num_workers: int = 8,
        rand_augment: str | None = "rand-m7-n4-mstd0.5-inc1",
        crop_scale: tuple[float, float] = (0.08, 1.0),
        horizontal_flip: float = 0.5,
        num_clips: int = 2,
        num_crops: int = 3,
        preload: bool = False,
        train_masks: bool = False,
        pseudo_cache: str | None = None,
        max_bad_share: float = 0.01,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self.stage = stage
        self.num_actions, self.num_scenes = num_actions, num_scenes
        self.clip_length, self.stride, self.image_size = clip_length, stride, image_size
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.num_workers, self.preload, self.train_masks = num_workers, preload, train_masks
        self.num_clips, self.num_crops = num_clips, num_crops
        self.pseudo_cache = Path(pseudo_cache) if pseudo_cache else None
        self.max_bad_share, self.seed = max_bad_share, seed
        self.train_transform = TrainTransform(
            image_size,
            scale=tuple(crop_scale),
            horizontal_flip=horizontal_flip,
            rand_augment=rand_augment,
        )
        self._epoch = 0
        self._train: TrainDataset | None = None
        self._eval: dict[str, EvalDataset] = {}

    @property
    def input_size(self) -> tuple[int, int, int]:
        """`(T, H, W)` of the clips as the model sees them."""
        return self.clip_length, self.image_size, self.image_size

    @property
    @abstractmethod
    def action_names(self) -> list[str]:
        """Class names, by label."""

    @property
    @abstractmethod
    def scene_names(self) -> list[str]:
        """Class names, by label."""

    @abstractmethod
    def records(self, split: str) -> list[VideoRecord]:
        """Read the annotation of one split.

        Raises:
            AnnotationError: a row cannot be understood.
            MissingDataError: there is no annotation.
        """

    @abstractmethod
    def how_to_get(self) -> str:
        """What to download from where and where to put it; part of the error on missing data."""

    def checked_records(self, split: str) -> list[VideoRecord]:
        """The records of a split, with labels in range and videos where they should be.

        Raises:
            AnnotationError: a row cannot be understood.
            MissingDataError: the annotation or the videos are not there.
            ValueError: a label is out of range.
        """
        records = self.records(split)
        for record in records:
            for kind, label, count in (
                ("action", record.action, self.num_actions),
                ("scene", record.scene, self.num_scenes),
            ):
                if label != UNKNOWN and not 0 <= label < count:
                    raise ValueError(
                        f"{record.source}: {kind} label {label} is outside 0–{count - 1} "
                        f"(data.num_{kind}s={count})"
                    )
        # A glance at up to 16 files tells a wrong folder from a few missing videos, without
        # touching every file of a large dataset on a network disk.
        some = records[:: max(1, len(records) // 16)]
        if not any(record.path.exists() for record in some):
            raise MissingDataError(
                f"no video of the {split} split is at its place, e.g. {some[0].path} "
                f"({some[0].source}).\n{self.how_to_get()}"
            )
        return records

    def label_sources(self, records: Sequence[VideoRecord]) -> Settings:
        """What pseudo labels of these videos depend on."""
        return label_sources(records, self.stage, self.clip_length, self.stride, self.image_size)

    def setup(self, stage: str) -> None:
        """Read annotations, check labels and the presence of videos, decode if `preload`."""
        if stage == "fit" and self._train is None:
            records = self.checked_records(self.train_split)
            self._train = TrainDataset(
                records,
                self.train_transform,
                self.clip_length,
                self.stride,
                self.train_masks,
                self._cached_labels(self.train_split, records),
                max_bad_share=self.max_bad_share,
            )
            self._preload(self._train, self.train_split)
        if stage in ("fit", "validate"):
            for split in self.val_splits:
                self._add_eval(split, num_clips=1, num_crops=1)
        if stage == "test":
            for split in self.test_splits:
                self._add_eval(split, self.num_clips, self.num_crops)

    def train_dataloader(self) -> DataLoader:
        """Shuffled clips; incomplete last batches are dropped."""
        assert self._train is not None
        sampler = TrainSampler(len(self._train), self.seed, *self._rank())
        sampler.set_epoch(self._epoch)
        return self._loader(self._train, sampler, self.batch_size, drop_last=True)

    def val_dataloader(self) -> list[DataLoader]:
        """One loader a validation split, one view a video."""
        return [self._eval_loader(split, 1) for split in self.val_splits]

    def test_dataloader(self) -> list[DataLoader]:
        """One loader a test split, all views of a video in one item."""
        views = self.num_clips * self.num_crops
        return [self._eval_loader(split, views) for split in self.test_splits]

    def state_dict(self) -> dict[str, int]:
        """The epoch that a run resumed from here begins with.

        With worker processes a loader's iterator asks for its first samples when it is made, and
        Lightning makes that of a resumed run before it tells the sampler the epoch.
        """
        assert self.trainer is not None
        progress = self.trainer.fit_loop.epoch_progress.current
        return {"epoch": progress.processed}  # type: ignore[attr-defined]

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Take the epoch from a checkpoint."""
        self._epoch = state_dict["epoch"]

    def on_after_batch_transfer(self, batch: ClipBatch, dataloader_idx: int) -> ClipBatch:
        """Normalize and derive pseudo labels, on the device and in the Trainer's precision."""
        if self.trainer is None:
            return self.stage.eval()(batch)
        self.stage.train(self.trainer.training)
        with self.trainer.precision_plugin.forward_context():
            return self.stage(batch)

    def _rank(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _cached_labels(self, split: str, records: Sequence[VideoRecord]) -> ClipLabels | None:
        """The pseudo labels the cache holds of a split; training must find its own there."""
        if self.pseudo_cache is None:
            return None
        folder = self.pseudo_cache / split
        if split != self.train_split and not folder.exists():
            return None
        return open_labels(folder, self.label_sources(records))

    def _add_eval(self, split: str, num_clips: int, num_crops: int) -> None:
        if split in self._eval:
            return
        records = self.checked_records(split)
        self._eval[split] = EvalDataset(
            records,
            EvalTransform(self.image_size, num_crops),
            self.clip_length,
            self.stride,
            True,
            self._cached_labels(split, records),
            num_clips=num_clips,
        )
        if split in self.val_splits:  # read every epoch; a test split is read once
            self._preload(self._eval[split], split)

    def _preload(self, dataset: VideoDataset, split: str) -> None:
        if self.preload:
            dataset.preload(f"decoding {split}", threads=os.cpu_count() or 1)

    def _eval_loader(self, split: str, views: int) -> DataLoader:
        dataset = self._eval[split]
        sampler = EvalSampler(len(dataset), *self._rank())
        return self._loader(dataset, sampler, max(1, self.eval_batch_size // views))

    def _loader(
        self,
        dataset: VideoDataset,
        sampler: TrainSampler | EvalSampler,
        batch_size: int,
        drop_last: bool = False,
    ) -> DataLoader:
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=collate,
            drop_last=drop_last,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0 and drop_last,
            # Of the loader's own: an iterator draws from it when it is made, which is before the
            # random state is set for an epoch where a run begins or resumes, and after it else.
            generator=torch.Generator(),
        )


def names_in_order(ids: Mapping[int, str]) -> list[str]:
    """Class names by label, checked to be 0, 1, 2, … without a gap."""
    missing = set(range(len(ids))) - set(ids)
    if missing:
        raise ValueError(f"class ids have gaps: {sorted(missing)} missing")
    return [ids[label] for label in range(len(ids))]
