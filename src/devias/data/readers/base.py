"""What every reader of frames offers, and the error that each of them raises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from devias.errors import DeviasError

MAX_PIXELS = 2**26
"""Pixels of the largest picture that is decoded: 8192×8192, 200 MB as RGB."""
DEFAULT_RATE = 25
"""Frames per second of what does not tell."""


class VideoError(DeviasError, RuntimeError):
    """A video, image or folder that cannot be read; the message names the file and why."""


class FrameReader(ABC):
    """Random access to the frames of one video, image or folder; a context manager."""

    path: Path | str

    @property
    @abstractmethod
    def num_frames(self) -> int:
        """How many frames there are to read."""

    @property
    @abstractmethod
    def timestamps(self) -> npt.NDArray[np.float64]:
        """`[num_frames]` seconds since the first frame."""

    @abstractmethod
    def read(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Tensor:
        """Frames by number, in any order and repeated at will.

        Returns:
            uint8 `[len(indices), H, W, 3]`, RGB and upright.

        Raises:
            VideoError: a number out of range, or a frame that does not decode.
            ValueError: `indices` is empty or not a list.
        """

    def read_clips(self, indices: npt.NDArray[np.int64]) -> Tensor:
        """Frames of clips `[…, T]` → uint8 `[…, T, H, W, 3]`; see `read`."""
        return self.read(indices.reshape(-1)).unflatten(0, indices.shape)

    def close(self) -> None:
        """Close the file, where one is open."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _distinct(
        self, indices: Sequence[int] | npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """`indices` as ascending numbers without repeats, and where each of them went in that."""
        numbers = np.asarray(indices, dtype=np.int64)
        if numbers.ndim != 1 or not len(numbers):
            raise ValueError(f"indices must be a non-empty list, got shape {numbers.shape}")
        wanted, positions = np.unique(numbers, return_inverse=True)
        if wanted[0] < 0 or wanted[-1] >= self.num_frames:
            raise VideoError(
                f"{self.path}: frames {wanted[0]} to {wanted[-1]} are wanted, "
                f"there are frames 0 to {self.num_frames - 1}"
            )
        return wanted, positions


def require_regular_file(path: Path | str) -> None:
    """Refuse what is missing, and what could block or never end: pipes, devices, folders.

    Raises:
        VideoError: `path` is not a regular file.
    """
    if not Path(path).exists():
        raise VideoError(f"{path}: no such file")
    if not Path(path).is_file():
        raise VideoError(f"{path}: not a regular file")
