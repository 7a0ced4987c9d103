"""What a dataset's annotation files say about each video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from devias.structures import UNKNOWN


class AnnotationError(ValueError):
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
