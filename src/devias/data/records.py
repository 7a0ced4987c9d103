"""What a dataset's annotation files say about each video."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from devias.structures import UNKNOWN


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """One video, or one segment of a video, with its labels."""

    path: Path
    action: int = UNKNOWN
    scene: int = UNKNOWN
    masks: Path | None = None
    """True silhouettes of the actor, where the dataset has them; see `data/masks.py`."""
    start: float | None = None
    end: float | None = None
    """The segment in seconds; `None` means the whole video."""
    source: str = ""
    """`file:line` of the annotation, for messages."""


class PackedRecords(Sequence[VideoRecord]):
    """Records as one array of bytes, which the worker processes of a loader share.

    A list of objects would end up copied into every worker: looking at an object counts its
    references, which writes to its memory. A million records are 0.2 GB.
    """

    def __init__(self, records: Sequence[VideoRecord]) -> None:
        parts = [pickle.dumps(record, pickle.HIGHEST_PROTOCOL) for record in records]
        self._ends = np.cumsum([len(part) for part in parts])
        self._bytes = np.frombuffer(b"".join(parts), np.uint8)

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
        return pickle.loads(self._bytes[start : self._ends[place]].data)
