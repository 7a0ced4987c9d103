"""Ground-truth masks on disk: one 1-bit PNG a video, its frames one below the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile, PngInfo
from torch import Tensor

from devias.errors import DeviasError
from devias.files import atomic_path

FRAMES_KEY = "frames"
"""The PNG text chunk that holds T; the picture is `[T·H, W]`."""
MAX_PIXELS = 2**30
"""Of all frames together, a byte of memory each: 14,000 frames of 240×320."""


class MaskError(DeviasError, RuntimeError):
    """A mask file that cannot be read; the message names the file and why."""


def write_masks(path: Path | str, masks: Tensor) -> None:
    """Write `masks [T, H, W]` bool as one PNG; folders are made, the file appears at once or never.

    Raises:
        ValueError: masks of another shape or type, without a pixel, or more than `MAX_PIXELS`.
    """
    if masks.dtype != torch.bool or masks.ndim != 3 or not 0 < masks.numel() <= MAX_PIXELS:
        raise ValueError(
            f"{path}: masks must be bool [T, H, W] with 1 to {MAX_PIXELS} pixels, "
            f"got {masks.dtype} {list(masks.shape)}"
        )
    num_frames, _, width = masks.shape
    text = PngInfo()
    text.add_text(FRAMES_KEY, str(num_frames))
    picture = Image.fromarray(masks.reshape(-1, width).cpu().numpy())
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", pnginfo=text)


def read_masks(path: Path | str) -> Tensor:
    """Read what `write_masks` wrote → bool `[T, H, W]`.

    Raises:
        MaskError: the file is missing, damaged, larger than `MAX_PIXELS`, or not such a file.
    """
    path = Path(path)
    if not path.is_file():
        raise MaskError(f"{path}: no such mask file")
    try:
        # The class itself, as Image.open refuses pictures as tall as those of long videos.
        with PngImageFile(path) as picture:
            num_frames = _check_header(path, picture)
            pixels = np.array(picture)
    except MaskError:
        raise
    except Exception as error:  # damaged files make Pillow raise errors of a dozen kinds
        raise MaskError(f"{path}: not a readable PNG ({error})") from error
    return torch.from_numpy(pixels).unflatten(0, (num_frames, -1))


def _check_header(path: Path, picture: ImageFile) -> int:
    """The number of frames, or `MaskError`, before a pixel is decoded."""
    width, height = picture.size
    if picture.mode != "1":
        raise MaskError(f"{path}: not a 1-bit grayscale picture")
    if width * height > MAX_PIXELS:
        raise MaskError(f"{path}: {width}×{height} pixels, more than {MAX_PIXELS}")
    count = str(picture.info.get(FRAMES_KEY, ""))
    digits = count if count.isascii() and count.isdecimal() and len(count) < 10 else "0"
    if int(digits) < 1 or height % int(digits):
        raise MaskError(
            f"{path}: text chunk {FRAMES_KEY!r} is {count[:20]!r}, "
            f"which does not divide {height} rows"
        )
    return int(digits)
