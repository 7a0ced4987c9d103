"""Lists of rows `<video> <label>`, which many projects write in place of official files."""

from __future__ import annotations

import posixpath
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from devias.data.annotations import (
    AnnotationError,
    RowError,
    class_number,
    read_records,
    relative_path,
    split_row,
)
from devias.data.class_names import ClassNames, read_class_names
from devias.data.datamodule import VideoDataModule
from devias.data.records import VideoRecord

CLASS_FILES = ("label_map.txt", "label_map_k400.txt", "labels.csv")
"""Files of class names that may lie beside lists: one a line, or rows `0,abseiling`."""


class PathListDataModule(VideoDataModule):
    """A dataset read from its official files, or from `train.csv` and another such list instead.

    A file of class names beside the lists, one of `CLASS_FILES`, says how the classes are called
    and numbered. Without it these are the official names, or those of class folders that the lists
    have, or else numbers.
    """

    videos_folder = "videos"
    annotations_folder = "annotations"
    test_list = "val"
    """The list that validation and test read."""

    @cached_property  # lists may be long, and every split needs their names
    def action_names(self) -> list[str]:
        """The names by label; `action 7` where no file has them."""
        if self.class_file:
            return read_class_file(self.class_file)
        paths = [self.annotations / f"{name}.csv" for name in ("train", self.test_list)]
        lists = [path for path in paths if self.is_path_list(path)]
        if not lists:
            return self.official_names()
        names = folder_names(*map(self.read_list, lists))
        return [names.get(label, f"action {label}") for label in range(self.num_actions)]

    def read_split(self, split: str) -> list[VideoRecord]:
        """The videos of the training list, or of that for validation and test."""
        name = "train" if split == "train" else self.test_list
        path = self.annotations / f"{name}.csv"
        return self.read_list(path) if self.is_path_list(path) else self.read_official(name)

    @property
    def class_file(self) -> Path | None:
        """The file of class names beside the lists, where there is one."""
        paths = (self.annotations / name for name in CLASS_FILES)
        return next((path for path in paths if path.exists()), None)

    def is_path_list(self, path: Path) -> bool:
        """Whether there is such a list, and it is none of the official files."""
        return path.exists()

    def read_list(self, path: Path) -> list[VideoRecord]:
        """The videos of a list that is no official file."""
        return read_path_list(path, self.videos, self.action_names if self.class_file else ())

    @abstractmethod
    def official_names(self) -> list[str]:
        """Class names by label, where no file beside the lists has them."""

    @abstractmethod
    def read_official(self, name: str) -> list[VideoRecord]:
        """The videos of the official list, `train` or `test_list`."""


def read_path_list(path: Path, videos: Path, names: Sequence[str] = ()) -> list[VideoRecord]:
    """Read `abseiling/-3B32lodo2M_000059_000069.mp4 0` or `jf7RDuUTrsQ.mp4,325`, 0-based.

    Args:
        path: of the list.
        videos: the folder its paths are relative to.
        names: of the classes, by label; a folder that is called like one must hold that class.

    Raises:
        AnnotationError: a row is broken, or a video stands there twice.
    """
    labels = {folder: n for n, name in enumerate(names) for folder in (name, underscored(name))}

    def parse(text: str, source: str) -> VideoRecord:
        name, number = split_row(text, "<video> <label>")
        relative, label = relative_path(name), class_number(number)
        folder = posixpath.basename(posixpath.dirname(relative))
        if labels.get(folder, label) != label:
            raise RowError(f"{folder} is class {labels[folder]}, but the row says {label}")
        return VideoRecord(f"{videos}/{relative}", label, source=source)

    return read_records(path, parse)


def read_class_file(path: Path) -> list[str]:
    """Read one of `CLASS_FILES` → names by label.

    Raises:
        AnnotationError: a row is broken, or labels and names are not one to one or have gaps.
    """
    rows = 0

    def parse(text: str) -> tuple[int, str]:
        nonlocal rows
        rows += 1
        if path.suffix != ".csv":
            return rows - 1, text
        number, comma, name = text.partition(",")
        if not comma or not name:
            raise RowError(f"expected '<label>,<name>', got {text!r}")
        return class_number(number), name.strip(' "')

    return read_class_names(path, parse)


def folder_names(*lists: Sequence[VideoRecord]) -> Mapping[int, str]:
    """The classes that lists of videos have folders of, by label.

    A list whose videos all lie in one folder, as `val/jf7RDuUTrsQ.mp4 325`, has none.

    Raises:
        AnnotationError: folders and labels are not one to one.
    """
    classes, names = ClassNames(), {}
    for records in lists:
        folders = [posixpath.dirname(str(record.file)) for record in records]
        if len(set(folders)) == 1:
            continue
        for record, folder in zip(records, map(posixpath.basename, folders), strict=True):
            names[record.action] = folder
            try:
                classes.add(record.action, folder, record.source)
            except RowError as error:
                hint = f"{error}; if folders are no classes, put a {CLASS_FILES[0]} beside the list"
                raise AnnotationError(record.source, None, hint) from None
    return names


def underscored(name: str) -> str:
    """A class's name as a folder may be called."""
    return name.replace(" ", "_")
