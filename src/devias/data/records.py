"""What a dataset's annotation files say about each video."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from devias.errors import DeviasError
from devias.structures import UNKNOWN


class AnnotationError(DeviasError, ValueError):
    """A row of an annotation file that cannot be understood; names the file and the line."""

    def __init__(self, path: Path | str, line: int, why: str) -> None:
        super().__init__(f"{path}, line {line}: {why}")


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


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and stripped lines of a text file, empty ones left out; CRLF is fine."""
    with path.open(encoding="utf-8") as file:
        for line, text in enumerate(file, start=1):
            if stripped := text.strip():
                yield line, stripped


def class_number(path: Path, line: int, text: str) -> int:
    """The non-negative integer `text`; an `AnnotationError` names the row where it is none."""
    if not (text.isascii() and text.isdigit()):
        raise AnnotationError(path, line, f"{text!r} is not a class number")
    return int(text)


def names_in_order(ids: Mapping[int, str]) -> list[str]:
    """Class names by label, checked to be 0, 1, 2, … without a gap."""
    missing = set(range(len(ids))) - set(ids)
    if missing:
        raise ValueError(f"class ids have gaps: {sorted(missing)} missing")
    return [ids[label] for label in range(len(ids))]
