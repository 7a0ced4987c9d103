"""A folder of numbered stills as a video."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from devias.data.readers.base import DEFAULT_RATE, FrameReader, VideoError
from devias.data.readers.image import IMAGE_SUFFIXES, read_image

NUMBERED = re.compile(r"(.*?)([0-9]{1,18})", re.DOTALL)
"""The stem of a still: `000001`, `frame000001`, `img_00001`, `image-1`."""


class FrameFolderReader(FrameReader):
    """The stills of `folder` in the order of their numbers, whichever the first of them is.

    Args:
        folder: holds stills that differ in their number alone; hidden files and files that are
            no stills are passed over.
        rate: frames per second.

    Raises:
        VideoError: no stills, a name without a number, two kinds of name, a number that is
            missing or there twice.
    """

    def __init__(self, folder: Path | str, rate: float = DEFAULT_RATE) -> None:
        self.path = folder
        self._rate = rate
        self._files = _numbered_files(Path(folder))

    @property
    def num_frames(self) -> int:
        """How many stills there are."""
        return len(self._files)

    @property
    def timestamps(self) -> npt.NDArray[np.float64]:
        """`[num_frames]` seconds since the first frame, by the rate."""
        return np.arange(self.num_frames) / self._rate

    def read(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Tensor:
        """Frames by their place, from 0; see `FrameReader.read`. All must be of one size."""
        wanted, positions = self._distinct(indices)
        frames = [read_image(self._files[place]) for place in wanted]
        for place, frame in zip(wanted, frames, strict=True):
            if frame.shape != frames[0].shape:
                raise VideoError(
                    f"{self._files[place]}: {frame.shape[1]}×{frame.shape[0]} pixels, but "
                    f"{self._files[wanted[0]].name} has {frames[0].shape[1]}×{frames[0].shape[0]}"
                )
        return torch.stack([frames[position] for position in positions])


def _numbered_files(folder: Path) -> list[Path]:
    """The stills of `folder` by number."""
    try:
        stills = sorted(
            file
            for file in folder.iterdir()
            if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
        )
    except OSError as error:
        raise VideoError(f"{folder}: not a readable folder ({error.strerror})") from error
    if not stills:
        raise VideoError(f"{folder}: holds no stills ({', '.join(sorted(IMAGE_SUFFIXES))})")
    files: dict[int, Path] = {}
    for file in stills:
        name, first = NUMBERED.fullmatch(file.stem), NUMBERED.fullmatch(stills[0].stem)
        if name is None or first is None:
            raise VideoError(f"{file}: a name that does not end in a frame number")
        if (name[1], file.suffix) != (first[1], stills[0].suffix):
            raise VideoError(f"{file}: not named like {stills[0].name}, of the same folder")
        if files.setdefault(int(name[2]), file) is not file:
            raise VideoError(f"{file}: the same frame number as {files[int(name[2])].name}")
    numbers = sorted(files)
    for before, number in pairwise(numbers):
        if number != before + 1:
            raise VideoError(f"{files[number]}: follows {files[before].name}, with a gap between")
    return [files[number] for number in numbers]
