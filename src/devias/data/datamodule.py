"""The base of every dataset's LightningDataModule: splits, class names, labels, settings."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from devias.data.class_names import check_classes
from devias.data.dataset import (
    EvalDataset,
    LabelLookup,
    TrainDataset,
    VideoDataset,
)
from devias.data.links import real_folders, require_within
from devias.data.loading import ClipLoading, Stage
from devias.data.readers.video import without_suffix
from devias.data.records import VideoRecord
from devias.data.scene_classes import read_categories
from devias.data.transforms import EvalTransform, TrainTransform
from devias.errors import ConfigError, DeviasError
from devias.structures import UNKNOWN


class MissingDataError(DeviasError, FileNotFoundError):
    """A dataset is not where its configuration says.

    Args:
        what: which file is not there.
        how_to_get: what to fetch from where, and which settings point to it.
    """

    def __init__(self, what: str, how_to_get: str) -> None:
        super().__init__(f"{what}\n{how_to_get}")
        self.what = what


FindLabels = Callable[["VideoDataModule", str, Sequence[VideoRecord]], LabelLookup]
"""Opens the pseudo labels of a split, given its name and its records."""


class VideoDataModule(ClipLoading, ABC):
    """A video dataset with its splits, class names and pseudo labels.

    A dataset's own class says how its annotation files become records (`read_split`), names its
    classes and tells where it is to be had (`how_to_get`); the rest stands here and, for loaders,
    in `ClipLoading`.

    Args:
        root: folder of the dataset.
        num_actions, num_scenes: class counts the model is built for; every label is checked.
        videos, annotations: folders other than the usual ones below `root`.
        suffix: of the video files, where it is another than the lists say; empty for folders of
            stills, which are called like the videos.
        follow_links: take videos that are links out of the dataset's folders, which is an error
            otherwise; that these folders are links themselves is fine.
        scene_categories: a list of the scene model's classes, for scene names in figures.
        clip_length, stride: T frames, every `stride`-th of the video.
        image_size: side of the square the model sees, in pixels.
        batch_size: videos per device and step.
        eval_batch_size: clips (videos × views) per device at evaluation; at least one video.
        num_workers: loader processes per device.
        rand_augment: timm's notation, or `None`.
        crop_scale: area share of the random resized crop.
        horizontal_flip: probability; 0 where left and right matter (Something-Something).
        preload: decode every video once into memory (small datasets).
        ground_truth_masks: hand on the actor's masks in training, where the dataset has them;
            evaluation always does.
        pseudo_cache: folder of pseudo labels that `devias labels` made. Training takes them from
            there instead of making them; so do the evaluation splits it holds.
        max_bad_share: training stops when more than this share of videos cannot be read.
        seed: of sample order, clip positions and augmentation.
        stage: what batches go through on the device; `None` leaves them as the loader makes them.
        find_labels: opens the pseudo labels in `pseudo_cache`.
    """

    train_split = "train"
    splits: Sequence[str] = ("train", "val", "test")
    videos_folder: str | None = None
    annotations_folder: str | None = None
    """Where videos and lists lie below `root`, by default."""
    recording_name: str | None = None
    """A pattern of file names; its group is the same where files are cut from one recording."""
    has_ground_truth_masks = False
    bias_aligned_actions: Sequence[int] | None = None
    """For each scene the action it usually comes with, where the dataset defines one."""

    def __init__(
        self,
        root: str,
        num_actions: int,
        num_scenes: int,
        videos: str | None = None,
        annotations: str | None = None,
        suffix: str | None = None,
        follow_links: bool = False,
        scene_categories: str | None = None,
        clip_length: int = 16,
        stride: int = 4,
        image_size: int = 224,
        batch_size: int = 12,
        eval_batch_size: int = 24,
        num_workers: int = 8,
        rand_augment: str | None = "rand-m7-n4-mstd0.5-inc1",
        crop_scale: tuple[float, float] = (0.08, 1.0),
        horizontal_flip: float = 0.5,
        preload: bool = False,
        ground_truth_masks: bool = False,
        pseudo_cache: str | None = None,
        max_bad_share: float = 0.01,
        seed: int = 0,
        stage: Stage | None = None,
        find_labels: FindLabels | None = None,
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self.videos = Path(videos or self.root / (self.videos_folder or "videos"))
        self.annotations = Path(
            annotations or self.root / (self.annotations_folder or "annotations")
        )
        self.scene_categories = Path(scene_categories) if scene_categories else None
        self.suffix, self.follow_links = suffix, follow_links
        self.num_actions, self.num_scenes = num_actions, num_scenes
        self.clip_length, self.stride, self.image_size = clip_length, stride, image_size
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.num_workers, self.preload = num_workers, preload
        self.ground_truth_masks = ground_truth_masks
        self.pseudo_cache = Path(pseudo_cache) if pseudo_cache else None
        self.max_bad_share, self.seed = max_bad_share, seed
        self.stage, self.find_labels = stage, find_labels
        self.train_transform = TrainTransform(
            image_size,
            scale=tuple(crop_scale),
            horizontal_flip=horizontal_flip,
            rand_augment=rand_augment,
        )
        self._records: dict[str, list[VideoRecord]] = {}

    # What a dataset says of itself.

    @abstractmethod
    def read_split(self, split: str) -> list[VideoRecord]:
        """Read the annotation of one of `splits`.

        Raises:
            AnnotationError: a row cannot be understood.
            MissingDataError: there is no annotation.
        """

    @property
    @abstractmethod
    def action_names(self) -> list[str]:
        """Class names, by label."""

    @property
    def scene_names(self) -> list[str]:
        """The scene model's classes; numbers where no list of them is given."""
        if self.scene_categories is None:
            return [f"scene {label}" for label in range(self.num_scenes)]
        return read_categories(self.scene_categories)

    @abstractmethod
    def how_to_get(self) -> str:
        """What to download from where and where to put it; part of the error on missing data."""

    def recording_of(self, record: VideoRecord) -> str:
        """What videos cut from one recording have in common, to find leaks."""
        match = re.match(self.recording_name, record.path.name) if self.recording_name else None
        return match[1] if match else str(record.path)

    def views_seed(self, split: str) -> int | None:
        """What places the test clips of a split at random; `None` where they are evenly placed."""
        return None

    # What follows from it.

    @property
    def input_size(self) -> tuple[int, int, int]:
        """`(T, H, W)` of the clips as the model sees them."""
        return self.clip_length, self.image_size, self.image_size

    @property
    def folders(self) -> Sequence[Path]:
        """What the videos lie in; empty where that is not to be checked."""
        return self.root, self.videos

    @cached_property
    def real_folders(self) -> Sequence[str]:
        """These folders, links followed, which no link may lead out of; empty: it may."""
        return () if self.follow_links else real_folders(self.folders)

    def present(self, path: Path) -> Path:
        """The path of a file that the dataset consists of.

        Raises:
            MissingDataError: it does not exist.
        """
        if not path.exists():
            raise MissingDataError(f"{path} does not exist.", self.how_to_get())
        return path

    def records(self, split: str) -> list[VideoRecord]:
        """The records of a split, with labels in range and videos where they should be.

        Raises:
            AnnotationError: a row cannot be understood.
            ConfigError: there is no such split, or a label is out of range.
            MissingDataError: the annotation or the videos are not there.
            OutsideLinkError: of the few videos that are looked at, one is a link elsewhere.
        """
        if split not in self.splits:
            raise ConfigError(
                f"{type(self).__name__} has the splits {', '.join(self.splits)}, not {split!r}"
            )
        if split in self._records:
            return self._records[split]
        records = self.read_split(split)
        if self.suffix is not None:
            records = [
                replace(record, file=without_suffix(str(record.file)) + self.suffix)
                for record in records
            ]
        num_actions, num_scenes = self.num_actions, self.num_scenes
        for record in records:
            for kind, label, count in (
                ("action", record.action, num_actions),
                ("scene", record.scene, num_scenes),
            ):
                if label != UNKNOWN and not 0 <= label < count:
                    raise ConfigError(
                        f"{record.source}: {kind} label {label} is outside 0–{count - 1} "
                        f"(data.num_{kind}s={count})"
                    )
        # A glance at up to 16 files tells a wrong folder from a few missing videos, without
        # touching every file of a large dataset on a network disk.
        some = records[:: max(1, len(records) // 16)]
        if not any(os.path.exists(record.file) for record in some):
            raise MissingDataError(
                f"No video of the {split} split is at its place, e.g. {some[0].path} "
                f"({some[0].source}).",
                self.how_to_get(),
            )
        for record in some:
            require_within(record, self.real_folders)
        self._records[split] = records
        return records

    def pseudo_scenes(self, split: str) -> Sequence[int] | None:
        """The scene of each video of a split by the pseudo labels; `None` if they tell of none.

        Raises:
            AnnotationError, ConfigError, MissingDataError: as `records`.
        """
        if self.pseudo_cache is None or not os.path.exists(self.pseudo_cache / split):
            return None
        labels = self._labels(split, self.records(split))
        return None if labels is None else labels.video_scenes()

    def missing(self, splits: Iterable[str]) -> list[str]:
        """Which files of some splits are not on this machine, one sentence each."""
        missing = []
        if self.videos_folder and not os.path.exists(self.videos):
            missing.append(f"{self.videos} does not exist.")
        for split in splits:
            try:
                self.records(split)
            except MissingDataError as error:
                missing.append(error.what)
        return list(dict.fromkeys(missing))

    @property
    def val_splits(self) -> list[str]:
        """The splits for validation."""
        return [split for split in self.splits if split.startswith("val")]

    @property
    def test_splits(self) -> list[str]:
        """The splits that are neither for training nor for validation."""
        return [s for s in self.splits if s != self.train_split and s not in self.val_splits]

    def setup(self, stage: str) -> None:
        """Read what the stage needs; a run with a protocol calls `add_train`, `add_eval` itself."""
        if stage == "fit":
            self.add_train()
        if stage in ("fit", "validate"):
            for split in self.val_splits:
                self.add_eval(split, preload=True)
        if stage == "test":
            for split in self.test_splits:
                self.add_eval(split)

    def check_classes(self, splits: Iterable[str]) -> None:
        """Compare class names and lists of training and of `splits`, before training.

        Raises:
            ConfigError: there are other class names than `num_actions` and `num_scenes` say.
        """
        train = self.records(self.train_split)
        others = {split: self.records(split) for split in splits}
        check_classes("action", self.action_names, self.num_actions, train, others)
        check_classes("scene", self.scene_names, self.num_scenes, train, others)

    def add_train(self) -> None:
        """Read the annotation of the training split, unless that is done; decode if `preload`."""
        if self._train is not None:
            return
        records = self._take(self.train_split)
        self._train = TrainDataset(
            records,
            self.train_transform,
            self.clip_length,
            self.stride,
            self.ground_truth_masks,
            self._labels(self.train_split, records),
            within=self.real_folders,
            max_bad_share=self.max_bad_share,
        )
        self._preload(self._train, self.train_split)

    def add_eval(
        self,
        split: str,
        num_clips: int = 1,
        num_crops: int = 1,
        preload: bool = False,
        skip_bad: bool = False,
    ) -> None:
        """Read the annotation of a split to evaluate on, unless that is done.

        Args:
            split: one of `splits`.
            num_clips: temporal views of a video.
            num_crops: spatial ones.
            preload: decode it once into memory if `self.preload` says so: for what is read often.
            skip_bad: hand on unreadable videos with their error instead of raising it.
        """
        key = (split, num_clips, num_crops)
        if key in self._eval:
            return
        records = self._take(split)
        self._eval[key] = EvalDataset(
            records,
            EvalTransform(self.image_size, num_crops),
            self.clip_length,
            self.stride,
            True,
            self._labels(split, records),
            within=self.real_folders,
            num_clips=num_clips,
            skip_bad=skip_bad,
            views_seed=self.views_seed(split),
        )
        if preload:
            self._preload(self._eval[key], split)

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """A loader a validation split, one view a video."""
        return [self.eval_dataloader(split) for split in self.val_splits]

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """A loader a test split, one view a video; more of them are a protocol's matter."""
        return [self.eval_dataloader(split) for split in self.test_splits]

    def _take(self, split: str) -> list[VideoRecord]:
        """The records of a split, not to be kept here as well."""
        records = self.records(split)
        del self._records[split]
        return records

    def _labels(self, split: str, records: Sequence[VideoRecord]) -> LabelLookup | None:
        """The pseudo labels the cache holds of a split; training must find its own there."""
        if self.pseudo_cache is None or self.find_labels is None:
            return None
        if split != self.train_split and not os.path.exists(self.pseudo_cache / split):
            return None
        return self.find_labels(self, split, records)

    def _preload(self, dataset: VideoDataset, split: str) -> None:
        if self.preload:
            dataset.preload(f"decoding {split}", threads=os.cpu_count() or 1)
