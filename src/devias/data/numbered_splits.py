"""Datasets with official splits 1–3, or the lists of them that were released with DEVIAS."""

from __future__ import annotations

import posixpath
from abc import abstractmethod
from pathlib import Path

from devias.data.annotations import RowError, class_number, read_records, relative_path, split_row
from devias.data.class_names import ClassNames
from devias.data.datamodule import VideoDataModule
from devias.data.records import VideoRecord
from devias.errors import ConfigError


class NumberedSplitsDataModule(VideoDataModule):
    """A dataset of class folders that comes in three splits into training and test.

    There is no validation list: like the paper's code, validation reads the test list.

    Args:
        split: official split 1, 2 or 3; released lists of it may lie in the place of official ones.
    """

    def __init__(self, root: str, split: int = 1, **settings: object) -> None:
        super().__init__(root, **settings)  # type: ignore[arg-type]
        if split not in (1, 2, 3):
            raise ConfigError(f"there are splits 1, 2 and 3, not data.split={split}")
        self.split = split

    @property
    def action_names(self) -> list[str]:
        """The names of the class folders, by label."""
        if not self.released:
            return self.official_names()
        lists = (self.released_list(kind) for kind in ("train", "test"))
        return read_released_names(*(path for path in lists if path.exists()))

    def read_split(self, split: str) -> list[VideoRecord]:
        """The videos of the training list, or of the test list."""
        kind = "train" if split == "train" else "test"
        if not self.released:
            return self.read_official(kind)
        return read_released_list(self.present(self.released_list(kind)), self.videos)

    @property
    def released(self) -> bool:
        """Whether there are released lists of the split."""
        return self.released_list("train").exists()

    def released_list(self, kind: str) -> Path:
        """Where the released list of the split, `train` or `test`, would lie."""
        return self.annotations / f"{kind}{self.split}.csv"

    @abstractmethod
    def official_names(self) -> list[str]:
        """Class names by label, from the official files."""

    @abstractmethod
    def read_official(self, kind: str) -> list[VideoRecord]:
        """The videos of the split's official list, `train` or `test`."""


def read_released_list(
    path: Path, videos: Path, classes: ClassNames | None = None
) -> list[VideoRecord]:
    """Read the lists released with DEVIAS: `<ClassName>/<video>.avi 0`, 0-based.

    Args:
        path: of the list.
        videos: the folder its paths are relative to.
        classes: takes labels and folder names, which must be one to one; those of other lists may
            stand there.

    Raises:
        AnnotationError: a row is broken or contradicts another, or a video stands there twice.
    """
    classes = classes or ClassNames()

    def parse(text: str, source: str) -> VideoRecord:
        name, number = split_row(text, "<ClassName>/<video>.avi <label>")
        relative, label = relative_path(name), class_number(number)
        folder = posixpath.basename(posixpath.dirname(relative))
        if not folder:
            raise RowError(f"expected '<ClassName>/<video>.avi <label>', got {text!r}")
        classes.add(label, folder, source)
        return VideoRecord(f"{videos}/{relative}", label, source=source)

    return read_records(path, parse)


def read_released_names(*lists: Path) -> list[str]:
    """Class names by label, from all released lists: one of them may lack a class.

    Raises:
        AnnotationError: as `read_released_list`, or labels have gaps.
    """
    classes = ClassNames()
    for path in lists:
        read_released_list(path, Path(), classes)
    return classes.in_order(*lists)
