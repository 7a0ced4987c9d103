"""Features on disk: in chunks while they are made, and as one table for others' tools."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from devias.errors import DeviasError
from devias.files import atomic_path
from devias.parquet import read_parquet, to_numpy, write_parquet, write_parquet_parts

COLUMNS = (
    "action",
    "scene",
    "action_feature",
    "scene_feature",
    "action_confidence",
    "scene_confidence",
)
"""What is known of a video, beside its number or id."""

UNREADABLE = "unreadable"
"""Where a chunk's metadata names the videos that have no features, and why."""


class FeatureFileError(DeviasError, ValueError):
    """A file of features that cannot be written or used; names it."""


@dataclass
class VideoFeatures:
    """What is known of some videos."""

    number: np.ndarray
    """`[M]` places in the list of videos, ascending."""
    columns: dict[str, np.ndarray]
    """By `COLUMNS`: labels `[M]` int64 (`UNKNOWN` where there is none), features `[M, D]`, and
    `[M]` the probability by which each role was given, NaN where the head has no classes for it."""

    def __len__(self) -> int:
        return len(self.number)

    def without(self, numbers: Collection[int]) -> VideoFeatures:
        """All but those of some numbers."""
        kept = ~np.isin(self.number, [*numbers])
        return VideoFeatures(self.number[kept], {k: v[kept] for k, v in self.columns.items()})

    @classmethod
    def joined(cls, parts: Sequence[VideoFeatures], dtype: str) -> VideoFeatures:
        """Those of several batches, the features as `dtype`; of none there are no columns."""
        if not parts:
            return cls(np.empty(0, np.int64), {})
        columns = {name: np.concatenate([p.columns[name] for p in parts]) for name in COLUMNS}
        for name in ("action_feature", "scene_feature"):
            columns[name] = columns[name].astype(dtype)
        return cls(np.concatenate([part.number for part in parts]), columns)


class FeatureChunks:
    """The features of a list of videos, one file for every `chunk_size` of them.

    A chunk appears complete or not at all, so an extraction that was stopped continues, and several
    processes may share it. The folder's name holds a hash of all that the features depend on, so
    what lies in it is theirs.

    Args:
        parent: of the folder.
        settings: plain values, all that the features depend on; `videos` says how many there are,
            `chunk_size` how many are in a file.
        prefix: of the folder's name.
    """

    def __init__(self, parent: Path, settings: Mapping[str, Any], prefix: str = "") -> None:
        text = json.dumps(settings, sort_keys=True)
        self.folder = parent / f"{prefix}{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        self.num_videos: int = settings["videos"]
        self.chunk_size: int = settings["chunk_size"]

    def videos_of(self, chunk: int) -> range:
        """The numbers of the videos in a chunk."""
        first = chunk * self.chunk_size
        return range(first, min(first + self.chunk_size, self.num_videos))

    def missing(self) -> list[int]:
        """The chunks that are not there yet."""
        return [chunk for chunk in self._all if not self._path(chunk).exists()]

    def write(self, chunk: int, features: VideoFeatures, unreadable: Mapping[int, str]) -> None:
        """Write a chunk, and which of its videos could not be read, at once or never."""
        columns = {"number": features.number, **features.columns}
        told = json.dumps({str(number): why for number, why in unreadable.items()})
        try:
            write_parquet(self._path(chunk), columns, {UNREADABLE: told})
        except OSError as error:
            raise FeatureFileError(f"{self.folder} cannot be written: {error}") from error

    def read(self, columns: Sequence[str] = COLUMNS) -> Iterator[VideoFeatures]:
        """Some columns of the chunks in order; those without any readable video are left out."""
        for chunk in self._all:
            table = read_parquet(self._path(chunk), ["number"])
            if len(table):
                table = read_parquet(self._path(chunk), ["number", *columns])
                values = {name: to_numpy(table, name) for name in columns}
                yield VideoFeatures(to_numpy(table, "number"), values)

    def unreadable(self) -> dict[int, str]:
        """The videos without features by their numbers, and why."""
        found: dict[int, str] = {}
        for chunk in self._all:
            metadata = read_parquet(self._path(chunk), ["number"]).schema.metadata
            told = json.loads(metadata[UNREADABLE.encode()])
            found |= {int(number): why for number, why in told.items()}
        return found

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the folder alone; whether it is still there."""
        try:
            file = (self.folder / ".lock").open("a")
        except FileNotFoundError:
            yield False
            return
        with file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            yield self.folder.exists()

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder)

    @property
    def _all(self) -> range:
        return range(-(-self.num_videos // self.chunk_size))

    def _path(self, chunk: int) -> Path:
        return self.folder / f"chunk-{chunk:05d}.parquet"


def check_output(path: Path, overwrite: bool) -> None:
    """Raise `FeatureFileError` where features cannot be written to `path`."""
    if path.suffix not in WRITERS:
        kinds = " or ".join(WRITERS)
        raise FeatureFileError(f"{path}: the output's name must end in {kinds}")
    if path.exists() and not overwrite:
        raise FeatureFileError(f"{path} exists; overwrite=true replaces it")


def write_features(
    path: Path, chunks: FeatureChunks, ids: Sequence[str], metadata: Mapping[str, Any]
) -> None:
    """Write complete chunks as one table, `.parquet` or `.npz` by its name, a chunk at a time.

    Args:
        path: of the table, which appears whole or not at all. Its columns are `id` and `COLUMNS`.
        chunks: of the videos.
        ids: of all videos, the unreadable ones, too.
        metadata: of the table, plain values; the unreadable videos are added by their ids.

    Raises:
        FeatureFileError: no video could be read.
    """
    unreadable = {ids[number]: why for number, why in chunks.unreadable().items()}
    if len(unreadable) == chunks.num_videos:
        raise FeatureFileError(f"{path} is not written: none of the videos could be read")
    told = json.dumps({**metadata, UNREADABLE: unreadable})
    WRITERS[path.suffix](path, chunks, ids, told)


def _write_parquet(path: Path, chunks: FeatureChunks, ids: Sequence[str], metadata: str) -> None:
    parts = (
        {"id": [ids[number] for number in part.number], **part.columns} for part in chunks.read()
    )
    write_parquet_parts(path, parts, {"devias": metadata})


def _write_npz(path: Path, chunks: FeatureChunks, ids: Sequence[str], metadata: str) -> None:
    """Column by column: an array of the archive is one stream."""
    numbers = np.concatenate([part.number for part in chunks.read([])])
    first = next(chunks.read())
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in {
            "id": np.array([ids[number] for number in numbers]),
            "metadata": np.array(metadata),
        }.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
        for name in COLUMNS:
            like = first.columns[name]
            header = {
                "descr": np.lib.format.dtype_to_descr(like.dtype),
                "fortran_order": False,
                "shape": (len(numbers), *like.shape[1:]),
            }
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array_header_2_0(file, header)
                for part in chunks.read([name]):
                    file.write(part.columns[name].tobytes())


WRITERS: dict[str, Callable[[Path, FeatureChunks, Sequence[str], str], None]] = {
    ".parquet": _write_parquet,
    ".npz": _write_npz,
}
"""By the suffix of the output."""
