"""The data of a run: what it trains on, and the evaluation sets of its protocol."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning as L
from omegaconf import DictConfig
from torch.utils.data import DataLoader

from devias.config.instantiate import instantiate
from devias.config.stored import rebuild_config
from devias.data.datamodule import MissingDataError, VideoDataModule
from devias.errors import ConfigError, DeviasError
from devias.evaluation.composition import Reference, TrainingPairs
from devias.evaluation.protocol import EvalSet, Protocol
from devias.structures import UNKNOWN, ClipBatch

log = logging.getLogger(__name__)


def count_classes(config: DictConfig) -> None:
    """Write down, in place, the class counts that are left to the data (`null`).

    The model is built for them, and checkpoints hold them.
    """
    unset = [name for name in ("num_actions", "num_scenes") if config.data[name] is None]
    if unset:
        data: VideoDataModule = instantiate(config.data)
        data.records(data.train_split)
        for name in unset:
            config.data[name] = getattr(data, name)


def stored_data(folder: Path, overrides: Sequence[str] = (), trust: bool = False) -> RunData:
    """The data of a run or an evaluation, as its folder's `config.yaml` has it.

    Nothing is done to clips on the device.

    Args:
        folder: of the run.
        overrides: of its configuration.
        trust: see `devias.config.stored`.

    Raises:
        ConfigError: as `devias.config.stored.rebuild_config`; the message names the file.
        FileNotFoundError: there is no configuration.
    """
    path = folder / "config.yaml"
    try:
        config = rebuild_config(path.read_text(encoding="utf-8"), overrides, trust)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    others = {name: instantiate(option) for name, option in config.eval_data.items()}
    return RunData(instantiate(config.data), instantiate(config.protocol), others)


class RunData(L.LightningDataModule):
    """Joins the data modules that a protocol combines; each keeps its own ways.

    Args:
        train: the data to train on, which also holds the protocol's sets without data of their own.
        protocol: what to evaluate on. Sets of other data that are not on this machine are taken out
            of `self.protocol` and named there.
        others: the data modules that the protocol names.
    """

    def __init__(
        self,
        train: VideoDataModule,
        protocol: Protocol,
        others: Mapping[str, VideoDataModule] | None = None,
    ) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer videos than ranks
        self.train = train
        self.others = dict(others or {})
        self.protocol = protocol.without(self._absent(protocol))

    def owner(self, eval_set: EvalSet) -> VideoDataModule:
        """The data module that holds a set."""
        return self.train if eval_set.data is None else self.others[eval_set.data]

    @cached_property
    def training_pairs(self) -> TrainingPairs | None:
        """How often training shows each pair of action and scene.

        Where the training list names no scenes, they are those of the pseudo labels. `None` where
        no set is of unseen combinations, there are no such labels, or the list is not on this
        machine.
        """
        if not any(s.combination == "unseen" for s in self._all_sets):
            return None
        try:
            records = self.train.read_split(self.train.train_split)
        except MissingDataError:
            return None
        scenes: Sequence[int] = [record.scene for record in records]
        if all(scene == UNKNOWN for scene in scenes):
            scenes = self._pseudo_scenes() or scenes
        labels = zip((record.action for record in records), scenes, strict=True)
        return TrainingPairs.count(labels, self.train.num_actions, self.train.num_scenes)

    def _pseudo_scenes(self) -> Sequence[int] | None:
        """Of the training videos; `None` where there are none that fit today's settings."""
        try:
            return self.train.pseudo_scenes(self.train.train_split)
        except DeviasError as error:  # an evaluation can do without them
            log.warning("pairs of training are not counted: %s", error)
            return None

    def reference(self, eval_set: EvalSet) -> Reference:
        """What answers on a set of unseen combinations are held against.

        The usual action of a scene is what the dataset says, or training shows most often.
        """
        if eval_set.combination != "unseen":
            return Reference()
        pairs, usual = self.training_pairs, self.owner(eval_set).bias_aligned_actions
        if usual is None and pairs is not None:
            usual = pairs.usual_actions
        return Reference(usual, pairs)

    def prepare_data(self) -> None:
        """Of every data module."""
        for data in (self.train, *self.others.values()):
            data.prepare_data()

    def setup(self, stage: str) -> None:
        """Read what the stage needs of every data module."""
        for data in (self.train, *self.others.values()):
            data.trainer = self.trainer
        if stage == "fit":
            own = dict.fromkeys(s.split for s in self._all_sets if s.data is None)
            self.train.check_classes(own)
            self.train.add_train()
        skip = self.protocol.on_error == "skip"
        if stage in ("fit", "validate"):
            for s in self.protocol.validation:  # read every epoch; a test set is read once
                self.owner(s).add_eval(s.split, preload=True, skip_bad=skip)
        if stage == "test":
            for s in self.protocol.sets:
                self.owner(s).add_eval(s.split, *self._views, skip_bad=skip)
        read = self.protocol.sets if stage == "test" else self.protocol.validation
        if any(s.combination == "unseen" for s in read):
            _ = self.training_pairs  # an error in the list shows before anything is evaluated

    def train_dataloader(self) -> DataLoader[Any]:
        """That of the training data."""
        return self.train.train_dataloader()

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """A loader a validation set, one view a video."""
        return self._loaders(self.protocol.validation, 1, 1)

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """A loader a test set, all views of a video in one item."""
        return self._loaders(self.protocol.sets, *self._views)

    def on_after_batch_transfer(self, batch: ClipBatch, dataloader_idx: int) -> ClipBatch:
        """That of the data module the batch comes from."""
        return self._source(dataloader_idx).on_after_batch_transfer(batch, dataloader_idx)

    def state_dict(self) -> dict[str, Any]:
        """Where training stands."""
        return self.train.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.train.load_state_dict(state_dict)

    def _loaders(
        self, sets: Sequence[EvalSet], num_clips: int, num_crops: int
    ) -> list[DataLoader[Any]]:
        loaders = [self.owner(s).eval_dataloader(s.split, num_clips, num_crops) for s in sets]
        ranks = 1 if self.trainer is None else self.trainer.world_size
        most = max((len(loader.dataset) for loader in loaders), default=ranks)  # type: ignore[arg-type]
        if most < ranks:  # the last rank would skip the evaluation, and the others wait for it
            raise ConfigError(
                f"{most} videos of a set at most ({', '.join(s.name for s in sets)}) are too few "
                f"for {ranks} ranks: choose fewer trainer.devices"
            )
        return loaders

    @property
    def _all_sets(self) -> tuple[EvalSet, ...]:
        return *self.protocol.validation, *self.protocol.sets

    @property
    def _views(self) -> tuple[int, int]:
        return self.protocol.num_clips, self.protocol.num_crops

    def _source(self, dataloader_idx: int) -> VideoDataModule:
        assert self.trainer is not None
        if self.trainer.testing:
            return self.owner(self.protocol.sets[dataloader_idx])
        if self.trainer.validating or self.trainer.sanity_checking:
            return self.owner(self.protocol.validation[dataloader_idx])
        return self.train

    def _absent(self, protocol: Protocol) -> dict[str, str]:
        absent = {}
        for s in protocol.sets:
            if s.data is not None:
                try:
                    self.others[s.data].records(s.split)
                except MissingDataError as error:
                    absent[s.name] = str(error)
        return absent
