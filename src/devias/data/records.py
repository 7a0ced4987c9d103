"""What a dataset's annotation files say about each video."""

from __future__ import annotations

import pickle
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import overload

import numpy as np

from devias.structures import UNKNOWN


@dataclass(frozen=True, slots=True)
class Background:
    """What takes the place of a video's own background."""

    frames: Path
    """Folder of frames without the person who was there."""
    masks: Path
    """Folder of the masks of that person."""
    num_frames: int
    late: bool = False
    """Begins with the second frame, as in the code released with DEVIAS."""


@dataclass(frozen=True, slots=True)
class Composite:
    """How the frames that are shown are made of those of the video; see `readers/composite.py`."""

    masks: Path
    """Folder of masks of the person, who alone is kept."""
    background: Background | None = None
    """`None`: a plain color."""


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """One video, or one segment of a video, with its labels."""

    file: Path | str
    """A string where a list may be long: a million of them become paths in 6 s and 0.5 GB."""
    action: int = UNKNOWN
    scene: int = UNKNOWN
    masks: Path | None = None
    """True silhouettes of the actor, where the dataset has them; see `data/masks.py`."""
    start: float | None = None
    end: float | None = None
    """The segment in seconds; `None` means the whole video."""
    source: str = ""
    """`file:line` of the annotation, for messages."""
    composite: Composite | None = None
    """Its person before another background instead of the frames themselves."""

    @property
    def path(self) -> Path:
        """The video file, image or folder of stills."""
        return Path(self.file)


_values = attrgetter(*(field.name for field in fields(VideoRecord)))


def video_id(record: VideoRecord, *folders: Path) -> str:
    """`class/file.mp4`, or `class/file.mp4#2.5-7` for a segment in seconds.

    Args:
        record: of the video.
        folders: the path is given below the first of them that it lies in, or else whole.
    """
    path = record.path
    folder = next((folder for folder in folders if path.is_relative_to(folder)), None)
    name = (path.relative_to(folder) if folder else path).as_posix()
    if record.start is None and record.end is None:
        return name
    start, end = ("" if t is None else f"{t:.15g}" for t in (record.start, record.end))
    return f"{name}#{start}-{end}"


class PackedRecords(Sequence[VideoRecord]):
    """Records as one array of bytes, which the worker processes of a loader share.

    A list of objects would end up copied into every worker: looking at an object counts its
    references, which writes to its memory. A million records are 0.2 GB.
    """

    def __init__(self, records: Sequence[VideoRecord]) -> None:
        packed = bytearray()
        ends = array("q")
        for record in records:
            packed += pickle.dumps(_values(record), pickle.HIGHEST_PROTOCOL)
            ends.append(len(packed))
        self._ends = np.frombuffer(ends, np.int64)
        self._bytes = np.frombuffer(packed, np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> VideoRecord: ...

    @overload
    def __getitem__(self, index: slice) -> list[VideoRecord]: ...

    def __getitem__(self, index: int | slice) -> VideoRecord | list[VideoRecord]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        start = self._ends[place - 1] if place else 0
        return VideoRecord(*pickle.loads(self._bytes[start : self._ends[place]].data))
