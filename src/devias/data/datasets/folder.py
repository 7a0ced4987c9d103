"""A user's own videos: folders named after the classes, or a list with a header."""

from __future__ import annotations

import logging
import os
import posixpath
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from devias.data.annotations import (
    AnnotationError,
    RowError,
    clean,
    parse_all,
    read_csv,
    relative_path,
    seconds,
)
from devias.data.datamodule import MissingDataError, VideoDataModule
from devias.data.readers.image import IMAGE_SUFFIXES
from devias.data.readers.video import VIDEO_SUFFIXES, without_suffix
from devias.data.records import VideoRecord
from devias.errors import ConfigError, did_you_mean
from devias.parquet import read_parquet
from devias.structures import UNKNOWN

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
SHARES = {"test": 0.2, "val": 0.1}
"""Of a class's groups, rounded, but at least one; in the order in which they are served."""
NUM_SCENES = 365
"""Of the scene model."""
REQUIRED = ("path", "action")
OPTIONAL = ("scene", "start", "end", "split")
"""Columns of a list."""
CLIP_NUMBER = re.compile(r"(?:[\s_.(-]+(?:c|clip|part|scene|seg|segment|shot|take)?\d+\)?)+$", re.I)
"""What tells the clips of one source apart: `_c02`, `-3`, ` (2)`, `_part1`, `_000010_000020`."""

LETTER = re.compile(r"[^\W\d_]")


class Video(NamedTuple):
    """One video, or one segment in seconds of a video, with its classes by name."""

    name: str
    """Its path from the folder of the videos, with slashes."""
    action: str
    scene: str
    """Empty where it is not known; so is `split`."""
    split: str
    start: float | None
    end: float | None
    source: str
    """Where this is said: `file:line` of a list, or the path itself."""


class Folder(VideoDataModule):
    """Videos of one's own. The classes are named and numbered by what is found, sorted.

    Expected below `root` is one of ::

        <class>/<file>
        <train | val | test>/<class>/<file>
        videos.csv, with the header path,action[,scene][,start][,end][,split]
        videos.parquet, with these columns

    A file is a video, or a folder of stills in the order of their names. What hides (`.name`) and
    what is neither is passed over.

    A split that is not given is drawn from training videos by group, so that clips of one source
    never straddle: files are of one group if their names differ in the clip numbers at the end
    alone (`CLIP_NUMBER`), in whatever folder they lie. Every class keeps a group in training. Where
    too few are left for validation, it reads the test videos.

    Args:
        num_actions, num_scenes: `None`: as many as the data names, and the scene model's 365 where
            it names no scene.
        annotations: another list than `videos.csv` or `videos.parquet`.
        videos: another folder than `root`, of the videos or which the list's paths start from.
        group: `source`, as above, or `file`: every file by itself.
        split_seed: of the drawn split; not that of the training.
    """

    videos_folder = "."
    annotations_folder = "videos.csv"

    def __init__(
        self,
        root: str,
        num_actions: int | None = None,
        num_scenes: int | None = None,
        group: Literal["source", "file"] = "source",
        split_seed: int = 0,
        **settings: object,
    ) -> None:
        super().__init__(root, num_actions, num_scenes, **settings)  # type: ignore[arg-type]
        if group not in ("source", "file"):
            raise ConfigError(f"data.group is source or file, not {group!r}")
        self.group, self.split_seed = group, split_seed
        usual = self.root / "videos.csv"
        if self.annotations == usual and not usual.exists():
            table = usual.with_suffix(".parquet")
            self.annotations = table if table.exists() else usual
        self.listed = self.annotations.is_file() or self.annotations != usual

    @property
    def folders(self) -> Sequence[Path]:
        """Those of the list's videos; without a list one's own links are taken as they are."""
        return super().folders if self.listed else ()

    @cached_property
    def found(self) -> list[Video]:
        """All videos, as the list or the folders have them."""
        if self.listed:
            return read_list(self.present(self.annotations))
        if videos := find_videos(self.present(self.videos)):
            return videos
        raise MissingDataError(f"{self.videos} holds no folder of videos.", self.how_to_get())

    @property
    def num_actions(self) -> int:
        """As given, or as many as the data names."""
        return len(self.action_names) if self._num_actions is None else self._num_actions

    @num_actions.setter
    def num_actions(self, given: int | None) -> None:
        self._num_actions = given

    @property
    def num_scenes(self) -> int:
        """As given, or as many as the data names, or as the scene model knows."""
        if self._num_scenes is not None:
            return self._num_scenes
        return len(self.named_scenes) or NUM_SCENES

    @num_scenes.setter
    def num_scenes(self, given: int | None) -> None:
        self._num_scenes = given

    @cached_property
    def action_names(self) -> list[str]:
        """The names as the folders or the list spell them, sorted."""
        return sorted({video.action for video in self.found})

    @cached_property
    def named_scenes(self) -> list[str]:
        """The scenes that the data itself names, sorted."""
        return sorted({video.scene for video in self.found} - {""})

    @cached_property
    def scene_names(self) -> list[str]:
        """The data's own names, sorted, or the scene model's where it has none."""
        return self.named_scenes or super().scene_names

    @cached_property
    def split_of(self) -> list[str]:
        """The split of each of `found`."""
        given = {video.split for video in self.found} - {""}
        shares = {name: share for name, share in SHARES.items() if name not in given}
        pool = [video for video in self.found if video.split in ("", "train")]
        groups = [self._group(video) for video in pool]
        pairs = zip(groups, (video.action for video in pool), strict=True)
        drawn = draw_split(pairs, shares, self.split_seed)
        rest = map(drawn.__getitem__, groups)
        return [next(rest) if v.split in ("", "train") else v.split for v in self.found]

    def read_split(self, split: str) -> list[VideoRecord]:
        """The videos of a split; those of the test where there are none for validation.

        Raises:
            ConfigError: the split has no videos, and all are of too few sources to draw it.
        """
        if split not in self.split_of and split == "val":
            split = "test"
        if split not in self.split_of:
            raise ConfigError(
                f"no video for {split} among {self.describe()}. A class needs two sources for it; "
                "files whose names differ in numbers at the end alone are clips of one. If each is "
                "a recording of its own, say data.group=file; or give the splits"
            )
        actions = {name: label for label, name in enumerate(self.action_names)}
        scenes = {name: label for label, name in enumerate(self.scene_names)} | {"": UNKNOWN}
        return [
            VideoRecord(
                self.videos / video.name,
                actions[video.action],
                scenes[video.scene],
                start=video.start,
                end=video.end,
                source=video.source,
            )
            for video, name in zip(self.found, self.split_of, strict=True)
            if name == split
        ]

    def recording_of(self, record: VideoRecord) -> str:
        """The group that a drawn split keeps together."""
        name = record.path.relative_to(self.videos).as_posix()
        return name if self.group == "file" else source_name(name)

    def add_train(self) -> None:
        """As the base, and say what was found and what is assumed."""
        if self._train is None and self._rank()[0] == 0:
            log.info("%s", self.describe())
        super().add_train()

    def describe(self) -> str:
        """Where the videos come from, the class names, and how the splits came about."""
        counts, given = Counter(self.split_of), {video.split for video in self.found} - {""}
        drawn = [name for name in SPLITS if name not in given]
        shown = [name if len(name) <= 30 else f"{name[:29]}…" for name in self.action_names]
        scenes = self.named_scenes
        lines = [
            f"{len(self.found)} videos of {self.annotations if self.listed else self.videos}",
            f"{len(shown)} actions: {', '.join(shown[:20])}{', …' if len(shown) > 20 else ''}",
            f"{len(scenes)} scenes named" if scenes else "no scenes named",
            ", ".join(f"{name} {counts[name]}" for name in SPLITS),
        ]
        if drawn:
            groups = len({self._group(video) for video in self.found})
            lines.append(
                f"{', '.join(drawn)} drawn with data.split_seed={self.split_seed}; no group of "
                f"{groups} (data.group={self.group}) straddles"
            )
        if not counts["val"]:
            lines.append("too few groups for validation, which reads the test videos")
        return "; ".join(lines)

    def how_to_get(self) -> str:
        """How own videos are laid out."""
        return (
            f"Put videos of your own as {self.videos}/<class>/<file>, or as "
            f"{self.videos}/<train|val|test>/<class>/<file>, or list them in {self.annotations} "
            f"with the header {','.join(REQUIRED)} and, as you like, {','.join(OPTIONAL)}; "
            "data.root, data.videos and data.annotations point to them."
        )

    def _group(self, video: Video) -> str:
        return video.name if self.group == "file" else source_name(video.name)


def source_name(path: str) -> str:
    """The name that files of one source share: without suffix and clip numbers.

    A name that is nothing but numbers is of a source of its own; its whole path is returned.
    """
    name = CLIP_NUMBER.sub("", without_suffix(posixpath.basename(path)))
    return name if LETTER.search(name) else path


def draw_split(
    videos: Iterable[tuple[str, str]], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Draw whole groups out of training.

    Args:
        videos: group and class of each.
        shares: split → share of every class's groups, rounded, but at least one. A group that a
            class needs for training stays there. Earlier splits are served first.
        seed: of the draw.

    Returns:
        The split of each group. A class of two groups or more has one in the first split, unless
        these are groups of other classes as well that need them for training.
    """
    pairs = sorted(set(videos))
    classes: dict[str, list[str]] = {}
    for group, name in pairs:
        classes.setdefault(group, []).append(name)
    left = Counter(name for _, name in pairs)  # groups of a class that are in training
    total = dict(left)
    order = sorted(classes)
    random.Random(seed).shuffle(order)
    split = dict.fromkeys(order, "train")
    for target, share in shares.items():
        wanted = Counter({name: max(1, round(share * count)) for name, count in total.items()})
        for group in order:
            names = classes[group]
            if split[group] != "train" or all(wanted[name] < 1 for name in names):
                continue
            if all(left[name] > 1 for name in names):
                split[group] = target
                wanted.subtract(names)
                left.subtract(names)
    return split


def find_videos(root: Path) -> list[Video]:
    """`<class>/<file>` or `<split>/<class>/<file>` below a folder, sorted; empty: there are none.

    Raises:
        ConfigError: the folders are neither the one nor the other.
    """
    folders = _entries(root, folders=True)
    flat = [(path, folder.name, "") for folder in folders for path in _videos(folder)]
    nested = [
        (path, folder.name, split.name)
        for split in folders
        for folder in _entries(split, folders=True)
        for path in _videos(folder)
    ]
    if flat and nested:
        raise ConfigError(
            f"{root}: {flat[0][0]} lies as <class>/<file>, but {nested[0][0]} as "
            "<split>/<class>/<file>"
        )
    if other := next((split for _, _, split in nested if split not in SPLITS), None):
        raise ConfigError(
            f"{root / other} holds folders of videos, but is none of {', '.join(SPLITS)}"
        )
    return [
        Video(path.relative_to(root).as_posix(), action, "", split, None, None, str(path))
        for path, action, split in flat or nested
    ]


def _videos(folder: Path) -> list[Path]:
    """The videos and the folders of stills of a folder."""
    return [
        *(p for p in _entries(folder, folders=False) if p.suffix.lower() in VIDEO_SUFFIXES),
        *(
            p
            for p in _entries(folder, folders=True)
            if any(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in os.listdir(p))
        ),
    ]


def _entries(folder: Path, folders: bool) -> list[Path]:
    """The files or the folders in a folder, sorted, but for hidden ones."""
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.is_dir() == folders and not e.name.startswith(".")]
    return [folder / name for name in sorted(names)]


def read_list(path: Path) -> list[Video]:
    """Read a list: comma-separated with a header, or a Parquet table, which is called `.parquet`.

    Raises:
        AnnotationError: a column is missing or misspelt, or a row is broken or stands there twice.
        ParquetError: what is called `.parquet` is no such table.
    """
    places: dict[tuple[str, float | None, float | None], str] = {}

    def parse(row: Mapping[str, str], source: str) -> Video:
        if not places:
            _check_columns(path, row)
        video = _video(row, source)
        first = places.setdefault((video.name, video.start, video.end), source)
        if first != source:
            raise RowError(f"the same video as in {first}, {video.name}")
        return video

    if path.suffix != ".parquet":
        return read_csv(path, REQUIRED, parse)
    table = read_parquet(path)
    _check_columns(path, table.column_names)
    used = [name for name in table.column_names if name in (*REQUIRED, *OPTIONAL)]
    rows = zip(*(table.column(name).to_pylist() for name in used), strict=True)

    def parse_values(values: Sequence[object], source: str) -> Video:
        return parse(dict(zip(used, map(_text, values), strict=True)), source)

    return parse_all(path, enumerate(rows, start=1), parse_values, unit="row")


def _check_columns(path: Path, names: Iterable[str]) -> None:
    """Others than the known columns are not used, unless one is spelt almost like them."""
    known, names = (*REQUIRED, *OPTIONAL), list(names)
    if missing := [name for name in REQUIRED if name not in names]:
        raise AnnotationError(path, None, f"no column {missing[0]!r} among {', '.join(names[:10])}")
    for name in names:
        if name not in known and (hint := did_you_mean(name, OPTIONAL, 0.75)):
            raise AnnotationError(path, None, f"unknown column {name!r}{hint}")


def _text(value: object) -> str:
    """A value of a Parquet table as the field of a row; missing ones are empty."""
    if value is None or value != value:  # NaN, which pandas writes for missing numbers
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RowError(f"expected text or a number, got {value!r}")
    return clean(str(value))


def _video(row: Mapping[str, str], source: str) -> Video:
    """A row of a list, with blanks around its fields or without."""
    fields = {name: text.strip(" \t") for name, text in row.items()}
    if not fields["action"]:
        raise RowError("no action")
    split = fields.get("split", "")
    if "split" in fields and split not in SPLITS:
        raise RowError(f"expected the split to be {', '.join(SPLITS)}, got {split!r}")
    start, end = (seconds(text) if (text := fields.get(k)) else None for k in ("start", "end"))
    if end is not None and end <= (start or 0):
        raise RowError(f"the segment ends at {end} s, before it starts")
    name, scene = relative_path(fields["path"]), fields.get("scene", "")
    return Video(name, fields["action"], scene, split, start, end, source)
