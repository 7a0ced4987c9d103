"""HAT: test videos without their people, people without their videos, and both in other pairs."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from devias.data.annotations import (
    AnnotationError,
    RowError,
    class_number,
    read_records,
    relative_path,
    split_row,
)
from devias.data.datamodule import VideoDataModule
from devias.data.path_lists import read_class_file
from devias.data.plain_pickle import load_plain_pickle
from devias.data.records import Background, Composite, VideoRecord
from devias.errors import ConfigError

Variant = Literal["authors", "released"]

SOURCES = ("ucf101", "kinetics")
PAIRINGS = {"far": "far", "random": "rand", "close": "close"}
"""Kinds of pairs, and how their files call them."""
FOLDERS = {
    "frames": ("ori", "original", "rawframes"),
    "masks": ("seg",),
    "inpainted": ("inp", "inpaint"),
}
"""What the folders of frames are called by HAT's authors, and in DEVIAS's instructions."""


@dataclass(frozen=True)
class Folders:
    """Where the frames, masks and inpainted frames of one source lie."""

    frames: Path
    masks: Path
    inpainted: Path

    @staticmethod
    def below(root: Path) -> Folders:
        """Those that are there, by any of their names; else by the first."""
        found = {}
        for kind, names in FOLDERS.items():
            paths = [root / name for name in names]
            found[kind] = next((path for path in paths if path.exists()), paths[0])
        return Folders(**found)

    def of(self, kind: str, video: str, name: str | None = None) -> Path:
        """The folder of a video: `<class>/<video>`, or `videos/<video>` where they are so.

        Args:
            kind: `frames`, `masks` or `inpainted`.
            video: with or without its class.
            name: of the class, if `video` lacks it.
        """
        folder: Path = getattr(self, kind)
        flat = folder / "videos"
        if flat.exists():
            return flat / video.rpartition("/")[2]
        return folder / (video if "/" in video or name is None else f"{name}/{video}")


class HAT(VideoDataModule):
    """Test videos of UCF-101 and Kinetics, taken apart into people and places.

    Splits are, for `ucf101` and for `kinetics`:

    - `ucf101-scene-only`: people inpainted;
    - `ucf101-human-only`: people before the mean color of ImageNet;
    - `ucf101-far-1 … ucf101-far-3`, `-random-…`, `-close-…`: people before the inpainted background
      of another video, whose scene is unlike their own, any, or alike. A result is the mean of 3.

    Actions are the people's. Scenes are not annotated; the scene model tells them from what is
    shown. Expected below `root`, as HAT's authors lay it out, or in brackets as DEVIAS does::

        kinetics/ori/<class>/<video>/     [kinetics/original/videos/<video>/, ucf101/rawframes/…]
        kinetics/seg/<class>/<video>/     [kinetics/seg/videos/<video>/]
        kinetics/inp/<class>/<video>/     [kinetics/inpaint/videos/<video>/]
        annotations/kinetics/list.csv labels.csv far/actionswap_far_1.pickle rand/… close/…

    Frames are told by the order of their numbers, wherever these begin.

    Args:
        variant: `authors` composes clips as HAT's authors do. `released` does what the code
            released with DEVIAS does with pairs: backgrounds begin with their second frame, and the
            test clips are placed at random, here by the run's seed.
    """

    splits = tuple(
        f"{source}-{kind}"
        for source in SOURCES
        for kind in (
            "scene-only",
            "human-only",
            *(f"{pairing}-{number}" for pairing in PAIRINGS for number in (1, 2, 3)),
        )
    )
    annotations_folder = "annotations"

    def __init__(self, root: str, variant: Variant = "authors", **settings: object) -> None:
        super().__init__(root, **settings)  # type: ignore[arg-type]
        if variant not in get_args(Variant):
            raise ConfigError(f"HAT's variant is {' or '.join(get_args(Variant))}, not {variant!r}")
        if self.preload or self.pseudo_cache:
            raise ConfigError(
                "HAT's frames are composed anew for every clip: preload and pseudo_cache, which "
                "keep what belongs to a whole video, must be unset"
            )
        self.variant = variant

    @cached_property
    def action_names(self) -> list[str]:
        """The names by the number of classes: UCF-101's or Kinetics'; numbers without a list."""
        for source in SOURCES:
            path = self.annotations / source / "labels.csv"
            if path.exists() and len(names := read_class_file(path)) == self.num_actions:
                return names
        return [f"action {label}" for label in range(self.num_actions)]

    def read_split(self, split: str) -> list[VideoRecord]:
        """The videos of the list, or those of a file of pairs."""
        source, kind, number = split.split("-")
        annotations, root = self.annotations / source, self.present(self.root / source)
        names = read_class_file(self.present(annotations / "labels.csv"))
        folders = Folders.below(root)
        if number == "only":
            self.present(folders.inpainted if kind == "scene" else folders.masks)
            path = self.present(annotations / "list.csv")
            return read_video_list(path, folders, names, inpainted=kind == "scene")
        for folder in (folders.masks, folders.inpainted):
            self.present(folder)
        pairing = PAIRINGS[kind]
        path = self.present(annotations / pairing / f"actionswap_{pairing}_{number}.pickle")
        return read_pairs(path, folders, names, late=self.variant == "released")

    def views_seed(self, split: str) -> int | None:
        """The run's seed for pairs in the released variant; all else is evenly placed."""
        return self.seed if self.variant == "released" and not split.endswith("-only") else None

    def how_to_get(self) -> str:
        """Where the frames and the lists are to be had."""
        return (
            "HAT is at https://github.com/princetonvisualai/HAT: unpack frames, masks and "
            f"inpainted frames so that {self.root}/ucf101/ and {self.root}/kinetics/ hold ori "
            "(original, rawframes), seg and inp (inpaint), and put the lists released with DEVIAS, "
            f"filelist/hat, to {self.annotations}; the keys root and annotations of the evaluation "
            "set say where they are."
        )


def read_video_list(
    path: Path, folders: Folders, names: list[str], inpainted: bool
) -> list[VideoRecord]:
    """Read `archery/01xStFVYC7U_000011_000021 150 5`: video, frames and 0-based label.

    Args:
        path: of the list, whose videos may lack their class.
        folders: of the source.
        names: of the classes, by label.
        inpainted: take the videos without their people, or else the people without the videos.

    Raises:
        AnnotationError: a row is broken, or a video stands there twice.
    """

    def parse(text: str, source: str) -> VideoRecord:
        name, frames, number = split_row(text, "<class>/<video> <frames> <label>")
        class_number(frames)
        video, label = relative_path(name), class_number(number)
        if label >= len(names):
            raise RowError(f"class {label}, but the last one is {len(names) - 1}")
        if inpainted:
            return VideoRecord(folders.of("inpainted", video, names[label]), label, source=source)
        composite = Composite(folders.of("masks", video, names[label]))
        frame_folder = folders.of("frames", video, names[label])
        return VideoRecord(frame_folder, label, source=source, composite=composite)

    return read_records(path, parse)


def read_pairs(path: Path, folders: Folders, names: list[str], late: bool) -> list[VideoRecord]:
    """Read a pickled `{"<class>/<video>": ["<class>/<background>", frames, class]}`.

    Numbers may be strings.

    Args:
        path: of the file.
        folders: of the source.
        names: of the classes, by label.
        late: see `Background`.

    Raises:
        AnnotationError: no such dict, naming the key where it is a pair that is broken.
        PickleError: more than plain values.
    """
    pairs = load_plain_pickle(path)
    if not isinstance(pairs, Mapping) or not pairs:
        raise AnnotationError(
            path, None, "expected a dict of pairs, '<class>/<video>' → background"
        )
    labels = {name: label for label, name in enumerate(names)}
    records = []
    for key, value in pairs.items():
        try:
            video = _video(key)
            if (name := video.partition("/")[0]) not in labels:
                raise RowError(f"there is no class {name!r}")
            background, frames = _background(value)
        except RowError as error:
            raise AnnotationError(path, None, f"{key!r}: {error}") from None
        behind = Background(
            folders.of("inpainted", background), folders.of("masks", background), frames, late
        )
        records.append(
            VideoRecord(
                folders.of("frames", video),
                labels[name],
                source=f"{path}: {key!r}",
                composite=Composite(folders.of("masks", video), behind),
            )
        )
    return records


def _video(value: Any) -> str:
    """`<class>/<video>`."""
    video = relative_path(value) if isinstance(value, str) and value else ""
    if video.count("/") != 1:
        raise RowError(f"expected '<class>/<video>', got {reprlib.repr(value)}")
    return video


def _background(value: Any) -> tuple[str, int]:
    """The video and its number of frames, of `[video, frames, class]`."""
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise RowError(f"expected [background, frames, class], got {reprlib.repr(value)}")
    frames, _ = (class_number(str(number)) for number in value[1:])
    if not frames:
        raise RowError("a background without frames")
    return _video(value[0]), frames
