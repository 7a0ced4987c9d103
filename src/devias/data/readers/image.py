"""Still images: how one is decoded, and one as a video of a single frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import ExifTags, Image
from torch import Tensor

from devias.data.readers.base import MAX_PIXELS, FrameReader, VideoError, require_regular_file

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""Told by the content, as many a collection names its files wrongly."""
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What each value of the EXIF orientation asks for."""


def read_image(path: Path | str) -> Tensor:
    """Decode a still, of an animation the first picture.

    Returns:
        uint8 `[H, W, 3]`, RGB and upright.

    Raises:
        VideoError: the file is missing, unreadable, not of 8 bits or larger than `MAX_PIXELS`.
    """
    require_regular_file(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise VideoError(f"{path}: {width}×{height} pixels, more than {MAX_PIXELS}")
            if image.mode.startswith(("I", "F")):
                raise VideoError(f"{path}: pixels of mode {image.mode}, not of 8 bits")
            orientation = image.getexif().get(ExifTags.Base.Orientation)
            rgb = image.convert("RGB")
            if orientation in UPRIGHT:
                rgb = rgb.transpose(UPRIGHT[orientation])
            return torch.from_numpy(np.array(rgb))
    except VideoError:
        raise
    except Exception as error:  # damaged files make Pillow raise errors of a dozen kinds
        raise VideoError(f"{path}: not a readable image ({error})") from error


class ImageReader(FrameReader):
    """An image as a video of one frame.

    Raises:
        VideoError: see `read_image`.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self._image = read_image(path)

    @property
    def num_frames(self) -> int:
        """One."""
        return 1

    @property
    def timestamps(self) -> npt.NDArray[np.float64]:
        """`[1]` seconds, zero."""
        return np.zeros(1)

    def read(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Tensor:
        """The frame as often as `indices` names it; see `FrameReader.read`."""
        self._distinct(indices)
        return self._image.expand(len(indices), -1, -1, -1)
