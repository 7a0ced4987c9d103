"""Clips made of the person of one video and the background of another, as HAT's authors make them.

A frame's background is that of the same relative position in its own video, resized to the short
side of the foreground. The person is cut out where the mask is above 128, and moved by one
translation for the whole clip: that of the center of mass of the clip's first mask to that of the
background's own person at that time, whose place is so taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torchvision.transforms.v2.functional as tvf
from torch import Tensor

from devias.data.frame_indices import matching_indices
from devias.data.readers.base import FrameReader, VideoError
from devias.data.readers.frame_folder import FrameFolderReader
from devias.data.records import Background, Composite
from devias.data.transforms import resize_short_side

FOREGROUND = 128
"""A mask's value above which a pixel is the person's."""
NEUTRAL = (123, 116, 103)
"""RGB in place of no background: the mean color of ImageNet, as HAT's authors take it."""


class CompositeReader(FrameReader):
    """The person of the video in `folder` before what `composite` names, frame by frame.

    What a frame shows depends on the clip that it is read for.

    Raises:
        VideoError: a folder that is no video (see `FrameFolderReader`) or has too few frames.
    """

    def __init__(self, folder: Path | str, composite: Composite) -> None:
        self.path = folder
        self._frames = FrameFolderReader(folder)
        self._masks = FrameFolderReader(composite.masks)
        background = composite.background
        self._background = None if background is None else _BackgroundReader(background)

    @property
    def num_frames(self) -> int:
        """As many as the foreground has."""
        return self._frames.num_frames

    @property
    def timestamps(self) -> npt.NDArray[np.float64]:
        """`[num_frames]` seconds since the first frame."""
        return self._frames.timestamps

    def read(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Tensor:
        """The frames of one clip; see `FrameReader.read`. Their size is the background's."""
        frames = self._frames.read(indices)
        masks = _read_masks(self._masks, indices)
        masks = tvf.resize(masks, list(frames.shape[1:3]), antialias=True)
        if self._background is None:
            canvas = torch.tensor(NEUTRAL, dtype=torch.uint8).expand_as(frames).clone()
            move = 0, 0
        else:
            places = np.asarray(indices, np.int64)
            canvas, center = self._background.read(places, self.num_frames, min(frames.shape[1:3]))
            down, right = (center - center_of_mass(masks[0])).tolist()
            move = int(down), int(right)
        return paste(canvas, frames, masks > FOREGROUND, move)

    def read_clips(self, indices: npt.NDArray[np.int64]) -> Tensor:
        """Frames of clips `[…, T]`, each with its own translation → uint8 `[…, T, H, W, 3]`."""
        clips = [self.read(clip) for clip in indices.reshape(-1, indices.shape[-1])]
        return torch.stack(clips).unflatten(0, indices.shape[:-1]) if indices.ndim > 1 else clips[0]


class _BackgroundReader:
    """The frames behind a foreground, and where their own person was."""

    def __init__(self, background: Background) -> None:
        self.frames = FrameFolderReader(background.frames)
        self.masks = FrameFolderReader(background.masks)
        self.num_frames, self.late = background.num_frames, background.late
        for reader in (self.frames, self.masks):
            if reader.num_frames < self.num_frames:
                raise VideoError(
                    f"{reader.path}: {reader.num_frames} frames, but {self.num_frames} are expected"
                )

    def read(
        self, indices: npt.NDArray[np.int64], num_frames: int, size: int
    ) -> tuple[Tensor, Tensor]:
        """For a clip `[T]` of a foreground of `num_frames`: frames of the short side `size`.

        Returns:
            uint8 `[T, H, W, 3]`, and the center of mass of the first frame's mask.
        """
        places = matching_indices(indices, num_frames, self.num_frames, self.late)
        images = resize_short_side(self.frames.read(places).permute(0, 3, 1, 2), size)
        mask = resize_short_side(_read_masks(self.masks, places[:1]), size)[0]
        return images.permute(0, 2, 3, 1).contiguous(), center_of_mass(mask)


def center_of_mass(mask: Tensor) -> Tensor:
    """Row and column of the center of a mask `[H, W]` ≥ 0; of the picture's, where it is empty."""
    weights = mask.double()
    if not weights.sum():
        return torch.tensor(mask.shape, dtype=torch.float64) / 2
    rows, columns = (torch.arange(length, dtype=torch.float64) for length in mask.shape)
    return torch.stack([weights.sum(1) @ rows, weights.sum(0) @ columns]) / weights.sum()


def paste(canvas: Tensor, frames: Tensor, masks: Tensor, move: tuple[int, int]) -> Tensor:
    """Paint `frames [T, h, w, 3]`, where `masks [T, h, w]`, onto `canvas [T, H, W, 3]` in place.

    Args:
        canvas: painted on; what falls beside it is lost.
        frames: the foreground.
        masks: of the foreground.
        move: rows and columns by which it is moved.
    """
    here, there = [], []
    for offset, length, room in zip(move, frames.shape[1:3], canvas.shape[1:3], strict=True):
        first, stop = max(offset, 0), min(offset + length, room)
        there.append(slice(first, max(stop, first)))
        here.append(slice(first - offset, max(stop, first) - offset))
    target = canvas[:, there[0], there[1]]
    cut = masks[:, here[0], here[1]].unsqueeze(-1)
    target.copy_(torch.where(cut, frames[:, here[0], here[1]], target))
    return canvas


def _read_masks(
    reader: FrameFolderReader, indices: Sequence[int] | npt.NDArray[np.int64]
) -> Tensor:
    """uint8 `[T, H, W]`."""
    return reader.read(indices)[..., 0]
