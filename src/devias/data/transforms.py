"""From decoded frames to the clips a model sees, in uint8; random parameters once per clip."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torchvision.transforms.v2.functional as tvf
from torch import Generator, Tensor
from torchvision.transforms.v2 import InterpolationMode

from devias.data.rand_augment import RandAugment

CROP_TRIES = 10
"""How often a random crop is drawn before the largest central one is taken instead."""


class TrainTransform:
    """RandAugment, a random resized crop and a random flip, alike for all frames of a clip.

    Args:
        size: Height and width of the clip, in pixels.
        scale: Smallest and largest share of the frame's area that a crop covers.
        ratio: Smallest and largest width of a crop over its height.
        horizontal_flip: Probability of mirroring left and right; 0 where direction matters.
        rand_augment: In timm's notation, such as `rand-m7-n4-mstd0.5-inc1`; None for none.
        interpolation: "bilinear" or "bicubic", both antialiased.
        crop_first: Augment the finished crop instead of the whole frame. The paper augments the
            whole frame; the crop costs less where frames are larger than it.
    """

    def __init__(
        self,
        size: int,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        horizontal_flip: float = 0.5,
        rand_augment: str | None = None,
        interpolation: str = "bilinear",
        crop_first: bool = False,
    ) -> None:
        self.size = size
        self.scale = scale
        self.ratio = ratio
        self.horizontal_flip = horizontal_flip
        self.rand_augment = None if rand_augment is None else RandAugment.from_string(rand_augment)
        self.interpolation = InterpolationMode(interpolation)
        self.crop_first = crop_first

    def __call__(
        self, frames: Tensor, masks: Tensor | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """`frames` uint8 `[T, H, W, 3]` → uint8 `[3, T, size, size]`, a view with channels last.

        `masks` bool `[P, H, W]`, any number of them, go through the same geometry → bool
        `[P, size, size]`.
        """
        images = frames.permute(0, 3, 1, 2)
        if self.crop_first:
            images, masks = self._crop_and_flip(images, masks, generator)
            images, masks = self._augment(images, masks, generator)
        else:
            images, masks = self._augment(images, masks, generator)
            images, masks = self._crop_and_flip(images, masks, generator)
        return images.transpose(0, 1), masks

    def _augment(
        self, images: Tensor, masks: Tensor | None, generator: Generator | None
    ) -> tuple[Tensor, Tensor | None]:
        if self.rand_augment is None:
            return images, masks
        return self.rand_augment(images, masks, generator)

    def _crop_and_flip(
        self, images: Tensor, masks: Tensor | None, generator: Generator | None
    ) -> tuple[Tensor, Tensor | None]:
        height, width = images.shape[-2:]
        top, left, rows, columns = draw_crop(height, width, self.scale, self.ratio, generator)
        flip = torch.rand((), generator=generator).item() < self.horizontal_flip
        images = images[..., top : top + rows, left : left + columns]
        images = _resize(images, self.size, self.size, self.interpolation)
        if masks is not None:
            masks = masks[..., top : top + rows, left : left + columns]
            masks = resize_masks(masks, self.size, self.size)
        if flip:
            images = images.flip(-1)
            masks = None if masks is None else masks.flip(-1)
        return images, masks


class EvalTransform:
    """The short side resized to `size`, then `num_crops` squares evenly placed along the long.

    One crop is the central one; with more, the first and the last touch the ends. Nothing is
    random.
    """

    def __init__(self, size: int, num_crops: int = 1, interpolation: str = "bilinear") -> None:
        if num_crops < 1:
            raise ValueError(f"num_crops must be at least 1, got {num_crops}")
        self.size = size
        self.num_crops = num_crops
        self.interpolation = InterpolationMode(interpolation)

    def __call__(self, frames: Tensor, masks: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """`frames` uint8 `[V, T, H, W, 3]` → uint8 `[V·num_crops, 3, T, size, size]`, a view.

        The crops of one clip are neighbors. `masks` bool `[V, P, H, W]` →
        bool `[V·num_crops, P, size, size]`.
        """
        images = frames.flatten(0, 1).permute(0, 3, 1, 2)
        images = resize_short_side(images, self.size, self.interpolation)
        images = images.permute(0, 2, 3, 1).unflatten(0, frames.shape[:2])
        video = self._crops(images).permute(0, 4, 1, 2, 3)
        if masks is None:
            return video, None
        planes = resize_masks(masks.flatten(0, 1), *images.shape[2:4]).unsqueeze(-1)
        return video, self._crops(planes.unflatten(0, masks.shape[:2])).squeeze(-1)

    def _crops(self, images: Tensor) -> Tensor:
        """`[V, T, H, W, C]` → `[V·num_crops, T, size, size, C]`."""
        size, gaps = self.size, self.num_crops - 1
        spare = images.shape[2] - size, images.shape[3] - size  # one of them is 0
        crops = []
        for i in range(self.num_crops):
            top, left = (s * i // gaps if gaps else s // 2 for s in spare)
            crops.append(images[:, :, top : top + size, left : left + size])
        return torch.stack(crops, dim=1).flatten(0, 1)


def draw_crop(
    height: int,
    width: int,
    scale: Sequence[float],
    ratio: Sequence[float],
    generator: Generator | None = None,
) -> tuple[int, int, int, int]:
    """A random crop → (top, left, height, width), as torchvision's RandomResizedCrop draws it.

    The area is uniform in `scale`, the ratio log-uniform in `ratio`. Should none fit, the
    largest central crop of an allowed ratio is taken.
    """
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(CROP_TRIES):
        area, shape, down, right = torch.rand(4, generator=generator).tolist()
        area = height * width * (scale[0] + (scale[1] - scale[0]) * area)
        aspect = math.exp(low + (high - low) * shape)
        columns, rows = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < columns <= width and 0 < rows <= height:
            top, left = int(down * (height - rows + 1)), int(right * (width - columns + 1))
            return top, left, rows, columns
    columns = min(width, round(height * ratio[1]))
    rows = min(height, round(width / ratio[0]))
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def short_side_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width once the shorter side is `size` and the aspect ratio is kept."""
    if height <= width:
        return size, max(size, size * width // height)
    return max(size, size * height // width), size


def resize_short_side(
    images: Tensor, size: int, interpolation: InterpolationMode = InterpolationMode.BILINEAR
) -> Tensor:
    """Images `[…, C, H, W]` with a short side of `size` pixels, antialiased."""
    height, width = images.shape[-2:]
    return _resize(images, *short_side_size(height, width, size), interpolation)


def resize_masks(masks: Tensor, height: int, width: int) -> Tensor:
    """Bool `[…, H, W]`, nearest by pixel centers, as frames are resized."""
    planes = masks.to(torch.uint8)
    return tvf.resize(planes, [height, width], InterpolationMode.NEAREST_EXACT).bool()


def _resize(images: Tensor, height: int, width: int, interpolation: InterpolationMode) -> Tensor:
    return tvf.resize(images, [height, width], interpolation=interpolation, antialias=True)
