"""Kinetics-400: the official csv files, `path label` lists, or the lists released with DEVIAS."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from devias.data.annotations import (
    AnnotationError,
    RowError,
    class_number,
    first_line,
    read_csv,
    read_csv_records,
    read_records,
    relative_path,
    split_row,
    youtube_id,
)
from devias.data.class_names import ClassNames, read_class_names
from devias.data.datamodule import VideoDataModule
from devias.data.records import VideoRecord

SECONDS = re.compile(r"([0-9]{1,6})(?:\.0+)?")
CLASS_FILES = ("label_map_k400.txt", "labels.csv")


class Kinetics400(VideoDataModule):
    """400 actions, some 240,000 and 20,000 videos of 10 s; scene labels come from a scene model.

    Expected below `root`::

        videos/abseiling/-3B32lodo2M_000059_000069.mp4 …    annotations/train.csv val.csv

    Class folders may have `_` for spaces, and may lie in `videos/train` and `videos/val`. A list
    is an official csv, or has rows of a path below `videos` and a 0-based label, as
    `jf7RDuUTrsQ.mp4 325`. Beside the lists may lie a file of class names, `label_map_k400.txt`
    (one a line) or `labels.csv` (`0,abseiling`). Without it, names are those of the csv files,
    sorted, or of class folders in the lists, or else numbers.

    Validation and test read the validation list: the test list had no labels.

    Args:
        suffix: of the videos that an official csv names; empty for folders of frames.
    """

    videos_folder = "videos"
    annotations_folder = "annotations"
    recording_name = r"(.+)_\d{6}_\d{6}"

    def __init__(self, root: str, suffix: str = ".mp4", **settings: object) -> None:
        super().__init__(root, **settings)  # type: ignore[arg-type]
        self.suffix = suffix
        classes = (self.annotations / name for name in CLASS_FILES)
        self.class_file = next((path for path in classes if path.exists()), None)

    @cached_property  # the official lists are long, and every split needs their names
    def action_names(self) -> list[str]:
        """The names as `abseiling`, `air drumming`; `action 7` where no file has them."""
        if self.class_file:
            return read_class_file(self.class_file)
        paths = [self.annotations / f"{kind}.csv" for kind in ("train", "val")]
        paths = [path for path in paths if path.exists()]
        if official := [path for path in paths if is_official(path)]:
            return read_official_names(*official)
        names = read_folder_names(*paths)
        return [names.get(label, f"action {label}") for label in range(self.num_actions)]

    def read_split(self, split: str) -> list[VideoRecord]:
        """The videos of the training list, or of the validation list."""
        kind = "train" if split == "train" else "val"
        path = self.present(self.annotations / f"{kind}.csv")
        if is_official(path):
            nested = self.videos / kind
            videos = nested if nested.exists() else self.videos
            return read_official_list(path, videos, self.action_names, self.suffix)
        return read_path_list(path, self.videos, self.action_names if self.class_file else ())

    def how_to_get(self) -> str:
        """Where the videos and the lists are to be had."""
        return (
            "Kinetics-400 is at https://github.com/cvdfoundation/kinetics-dataset: put the videos "
            f"into folders of their classes, as {self.videos}/abseiling/"
            f"-3B32lodo2M_000059_000069.mp4, and train.csv and val.csv into {self.annotations}; "
            "or point data.root, data.videos and data.annotations to them."
        )


def is_official(path: Path) -> bool:
    """Whether a list is a csv file of Kinetics' authors."""
    return "youtube_id" in first_line(path)


def read_official_list(
    path: Path, videos: Path, names: Sequence[str], suffix: str = ".mp4"
) -> list[VideoRecord]:
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
        file = f"{videos}/" + relative_path(f"{folder}/{video}_{start}_{end}{suffix}")
        return VideoRecord(file, label, source=source)

    return read_csv_records(path, ("label", "youtube_id", "time_start", "time_end"), parse)


def read_path_list(path: Path, videos: Path, names: Sequence[str] = ()) -> list[VideoRecord]:
    """Read `abseiling/-3B32lodo2M_000059_000069.mp4 0` or `jf7RDuUTrsQ.mp4,325`, 0-based.

    Args:
        path: of the list.
        videos: the folder its paths are relative to.
        names: of the classes, by label; a folder that is called like one must hold that class.

    Raises:
        AnnotationError: a row is broken, or a video stands there twice.
    """
    labels = {folder: n for n, name in enumerate(names) for folder in (name, _underscored(name))}

    def parse(text: str, source: str) -> VideoRecord:
        name, number = split_row(text, "<video> <label>")
        relative, label = relative_path(name), class_number(number)
        folder = relative.rpartition("/")[0].rpartition("/")[2]
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


def read_folder_names(*lists: Path) -> Mapping[int, str]:
    """The classes that `path label` lists have folders of, by label.

    A list whose videos all lie in one folder, as `val/jf7RDuUTrsQ.mp4 325`, has none.

    Raises:
        AnnotationError: a row is broken, or folders and labels are not one to one.
    """
    classes, names = ClassNames(), {}
    for path in lists:
        records = read_path_list(path, Path())
        if len({record.path.parent for record in records}) == 1:
            continue
        for record in records:
            names[record.action] = folder = record.path.parent.name
            try:
                classes.add(record.action, folder, record.source)
            except RowError as error:
                hint = f"{error}; if folders are no classes, put a {CLASS_FILES[0]} beside the list"
                raise AnnotationError(record.source, None, hint) from None
    return names


def _class_folder(videos: Path, name: str) -> str:
    """A class's folder, which may have `_` for spaces."""
    spelt = _underscored(name)
    return spelt if (videos / spelt).exists() and not (videos / name).exists() else name


def _underscored(name: str) -> str:
    return name.replace(" ", "_")


def _six_digits(text: str) -> str:
    """Whole seconds, as the names of files have them."""
    seconds = SECONDS.fullmatch(text)
    if seconds is None:
        raise RowError(f"{text!r} is not a whole number of seconds")
    return seconds[1].zfill(6)
