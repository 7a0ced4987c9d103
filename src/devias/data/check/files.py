"""Opens every video of a dataset, and tells which of them cannot be read and which are equal."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from devias.data.dataset import read_frames
from devias.data.frame_indices import Indices
from devias.data.links import OutsideLinkError
from devias.data.parallel import in_parallel
from devias.data.readers import VideoError
from devias.data.records import VideoRecord

FileFault = Literal["missing", "outside", "unreadable", "short"]

BATCH_OF_FRAMES = 256
"""Frames decoded at once where all are looked at."""


@dataclass(frozen=True, slots=True)
class VideoState:
    """What opening a video showed."""

    num_frames: int
    fault: FileFault | None = None
    detail: str = ""


def inspect_videos(
    records: Sequence[VideoRecord],
    span: int,
    every_frame: bool = False,
    processes: int = 0,
    within: Sequence[str] = (),
) -> Iterator[VideoState]:
    """Open each video or segment and decode its end, or all of it.

    Args:
        records: of the videos.
        span: frames from the first to the last of a clip; fewer are `short`.
        every_frame: decode all frames, not the first and the last.
        processes: to share the work.
        within: the `real_folders` that no link may lead out of.
    """
    inspect = partial(_inspect, span=span, every_frame=every_frame, within=within)
    return in_parallel(inspect, records, processes)


def _inspect(
    record: VideoRecord, span: int, every_frame: bool, within: Sequence[str]
) -> VideoState:
    if not record.path.exists():
        return VideoState(0, "missing", "no such file")
    try:
        _, _, segment = read_frames(record, _ends, within)
        for start in range(0, len(segment) if every_frame else 0, BATCH_OF_FRAMES):
            read_frames(record, partial(_some, start))
    except OutsideLinkError as error:
        return VideoState(0, "outside", str(error).removeprefix(f"{record.source}: "))
    except VideoError as error:
        return VideoState(0, "unreadable", str(error).removeprefix(f"{record.path}: "))
    if len(segment) < span:
        detail = f"{len(segment)} frames, fewer than the {span} of a clip; some are repeated"
        return VideoState(len(segment), "short", detail)
    return VideoState(len(segment))


def _ends(num_frames: int) -> Indices:
    return np.unique([0, num_frames - 1])


def _some(start: int, num_frames: int) -> Indices:
    return np.arange(start, min(start + BATCH_OF_FRAMES, num_frames))


def equal_files(paths: Iterable[Path], processes: int = 0) -> list[list[Path]]:
    """Groups of files, or folders of files, that hold the same bytes.

    Only those of equal size are read. Files that do not exist are passed over.
    """
    by_size: dict[tuple[int, ...], list[Path]] = defaultdict(list)
    for path in dict.fromkeys(paths):
        if sizes := tuple(os.path.getsize(file) for file in _files(path)):
            by_size[sizes].append(path)
    alike = [path for group in by_size.values() if len(group) > 1 for path in group]
    by_content: dict[bytes, list[Path]] = defaultdict(list)
    for path, digest in zip(alike, in_parallel(_digest, alike, processes), strict=True):
        by_content[digest].append(path)
    return [group for group in by_content.values() if len(group) > 1]


def _files(path: Path) -> list[Path]:
    """A file itself, or the files in a folder, in order."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file())
    return [path] if path.is_file() else []


def _digest(path: Path) -> bytes:
    total = hashlib.blake2b()
    for part in _files(path):
        with part.open("rb") as file:
            total.update(hashlib.file_digest(file, "blake2b").digest())
    return total.digest()
