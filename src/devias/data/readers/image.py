"""What opens as a video: video files, and image files as videos of one frame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from devias.data.readers.video import VideoError, VideoReader

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def open_frames(path: Path | str) -> VideoReader | ImageReader:
    """A reader of the frames of a video or an image, told by the file's suffix.

    Raises:
        VideoError: the file is missing, unreadable or holds no frame.
    """
    if Path(path).suffix.lower() in IMAGE_SUFFIXES:
        return ImageReader(path)
    return VideoReader(path)


class ImageReader:
    """An image as a video of one frame, upright and RGB; the interface is that of `VideoReader`.

    Raises `VideoError` where the file is missing or unreadable.
    """

    num_frames = 1

    def __init__(self, path: Path | str) -> None:
        self.path = path
        if not Path(path).is_file():
            raise VideoError(f"{path}: no such file")
        try:
            # [3, H, W]; Places365 has grey images as well.
            self._image = decode_image(
                str(path), mode=ImageReadMode.RGB, apply_exif_orientation=True
            )
        except RuntimeError as error:
            reason = re.sub(r"^.*\.cpp:\d+, ", "", str(error).splitlines()[0])
            raise VideoError(f"{path}: not a readable image ({reason})") from error
        if self._image.dtype != torch.uint8:
            raise VideoError(f"{path}: pixels of {self._image.dtype}, not of 8 bits")

    @property
    def timestamps(self) -> npt.NDArray[np.float64]:
        """`[1]` seconds since the first frame."""
        return np.zeros(1)

    def read(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Tensor:
        """The frame as often as `indices` names it → uint8 `[len(indices), H, W, 3]`, a view.

        Raises `VideoError` for a number other than 0.
        """
        if any(index != 0 for index in indices):
            raise VideoError(f"{self.path}: an image has frame 0 only, not {list(indices)}")
        return self._image.permute(1, 2, 0).expand(len(indices), -1, -1, -1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """There is nothing to close."""
