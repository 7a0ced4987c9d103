"""ActorSegmentation of the actor on disk: one 1-bit PNG a video, its frames one below the other."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo
from torch import Tensor

from devias.errors import DeviasError

FRAMES_KEY = "frames"
"""The PNG text chunk that holds T; the picture is `[T·H, W]`."""


class MaskError(DeviasError, RuntimeError):
    """A mask file that cannot be read; the message names the file and why."""


def write_masks(path: Path | str, masks: Tensor) -> None:
    """Write `masks [T, H, W]` bool as one PNG; folders are made, the file appears at once or never.

    Raises `ValueError` for masks of another shape or type, or without a single pixel.
    """
    if masks.dtype != torch.bool or masks.ndim != 3 or masks.numel() == 0:
        raise ValueError(
            f"{path}: masks must be bool [T, H, W] with T, H, W ≥ 1, "
            f"got {masks.dtype} {list(masks.shape)}"
        )
    path = Path(path)
    num_frames, _, width = masks.shape
    text = PngInfo()
    text.add_text(FRAMES_KEY, str(num_frames))
    picture = Image.fromarray(masks.reshape(-1, width).cpu().numpy())
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        picture.save(partial, format="PNG", pnginfo=text)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_masks(path: Path | str) -> Tensor:
    """Read what `write_masks` wrote → bool `[T, H, W]`.

    Raises `MaskError` where the file is missing, damaged, or not such a file.
    """
    try:
        # The class itself, as Image.open refuses pictures as tall as those of long videos.
        with PngImageFile(Path(path)) as picture:
            pixels = np.array(picture)
            count = picture.text.get(FRAMES_KEY, "")
    except FileNotFoundError as error:
        raise MaskError(f"{path}: no such mask file") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise MaskError(f"{path}: not a readable PNG ({error})") from error
    if pixels.dtype != np.bool_:
        raise MaskError(f"{path}: not a 1-bit greyscale picture")
    if not count.isdecimal() or int(count) < 1 or len(pixels) % int(count):
        raise MaskError(
            f"{path}: text chunk {FRAMES_KEY!r} is {count!r}, "
            f"which does not divide {len(pixels)} rows"
        )
    return torch.from_numpy(pixels).unflatten(0, (int(count), -1))
