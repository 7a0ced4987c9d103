"""Kinetics-400: the official csv files, `path label` lists, or the lists released with DEVIAS."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from devias.data.annotations import (
    RowError,
    first_line,
    read_csv,
    read_csv_records,
    relative_path,
    youtube_id,
)
from devias.data.path_lists import PathListDataModule, underscored
from devias.data.records import VideoRecord

SECONDS = re.compile(r"([0-9]{1,6})(?:\.0+)?")


class Kinetics400(PathListDataModule):
    """400 actions, some 240,000 and 20,000 videos of 10 s; scene labels come from a scene model.

    Expected below `root`::

        videos/abseiling/-3B32lodo2M_000059_000069.mp4 …    annotations/train.csv val.csv

    Class folders may have `_` for spaces, and may lie in `videos/train` and `videos/val`. A list
    is an official csv, or has rows of a path below `videos` and a 0-based label, as
    `jf7RDuUTrsQ.mp4 325`. Class names, unless a file beside the lists has them, are those of the
    csv files, sorted, or of class folders in the lists, or else numbers.

    Validation and test read the validation list: the test list had no labels.
    """

    recording_name = r"(.+)_\d{6}_\d{6}"

    @property
    def folders(self) -> Sequence[Path]:
        """The usual ones, and those of the two lists."""
        return *super().folders, self.videos / "train", self.videos / "val"

    def is_path_list(self, path: Path) -> bool:
        """Whether there is such a list, and it is no csv file of Kinetics' authors."""
        return path.exists() and "youtube_id" not in first_line(path)

    def official_names(self) -> list[str]:
        """The names as `abseiling`, `air drumming`."""
        paths = (self.annotations / f"{name}.csv" for name in ("train", "val"))
        return read_official_names(*(path for path in paths if path.exists()))

    def read_official(self, name: str) -> list[VideoRecord]:
        """The videos of `train` or `val`."""
        path = self.present(self.annotations / f"{name}.csv")
        nested = self.videos / name
        videos = nested if nested.exists() else self.videos
        return read_official_list(path, videos, self.action_names)

    def how_to_get(self) -> str:
        """Where the videos and the lists are to be had."""
        return (
            "Kinetics-400 is at https://github.com/cvdfoundation/kinetics-dataset: put the videos "
            f"into folders of their classes, as {self.videos}/abseiling/"
            f"-3B32lodo2M_000059_000069.mp4, and train.csv and val.csv into {self.annotations}; "
            "or point data.root, data.videos and data.annotations to them."
        )


def read_official_list(path: Path, videos: Path, names: Sequence[str]) -> list[VideoRecord]:
    """Read `label,youtube_id,time_start,time_end,…` (seconds) below a header that says so.

    Raises:
        AnnotationError: a row is broken, or a video stands there twice.
    """
    classes = {name: (label, _class_folder(videos, name)) for label, name in enumerate(names)}

    def parse(row: dict[str, str], source: str) -> VideoRecord:
        name, video = row["label"], youtube_id(row["youtube_id"])
        if name not in classes:
            raise RowError(f"there is no class {name!r}")
        label, folder = classes[name]
        start, end = _six_digits(row["time_start"]), _six_digits(row["time_end"])
        file = f"{videos}/" + relative_path(f"{folder}/{video}_{start}_{end}.mp4")
        return VideoRecord(file, label, source=source)

    return read_csv_records(path, ("label", "youtube_id", "time_start", "time_end"), parse)


def read_official_names(*lists: Path) -> list[str]:
    """The class names of official csv files, sorted: a label is a name's place.

    Raises:
        AnnotationError: a row is broken, or has no label.
    """

    def parse(row: dict[str, str], source: str) -> str:
        if not row["label"]:
            raise RowError("the label is empty")
        return row["label"]

    return sorted({name for path in lists for name in read_csv(path, ("label",), parse)})


def _class_folder(videos: Path, name: str) -> str:
    """A class's folder, which may have `_` for spaces."""
    spelt = underscored(name)
    return spelt if (videos / spelt).exists() and not (videos / name).exists() else name


def _six_digits(text: str) -> str:
    """Whole seconds, as the names of files have them."""
    seconds = SECONDS.fullmatch(text)
    if seconds is None:
        raise RowError(f"{text!r} is not a whole number of seconds")
    return seconds[1].zfill(6)
