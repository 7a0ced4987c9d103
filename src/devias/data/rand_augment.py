"""RandAugment (Cubuk et al. 2020) as timm applies it, alike to all frames of a clip.

Images are uint8 `[T, 3, H, W]`, fastest where the channels lie last in memory. Colors come out as
Pillow makes them, rounding apart. Two departures from timm keep geometry fast: it interpolates
bilinearly (timm draws bilinear or bicubic), and translations move by whole pixels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as nnf
import torchvision.transforms.v2.functional as tvf
from torch import Generator, Tensor

MAX_MAGNITUDE = 10
"""Magnitudes run from 0 to here; arguments are computed from the fraction of it."""
FILL = 128
"""The gray that geometric operations leave where the image has nothing."""


@dataclass(frozen=True, slots=True)
class ColorOperation:
    """Changes pixel values: `apply(images, argument)`."""

    argument: Callable[[float, int], float]
    """From the fraction of the largest magnitude and a random sign, ±1."""
    apply: Callable[[Tensor, float], Tensor]


@dataclass(frozen=True, slots=True)
class GeometricOperation:
    """Moves pixels: `apply(images, argument, fill, mode)`, mode "bilinear" or "nearest"."""

    argument: Callable[[float, int], float]
    apply: Callable[[Tensor, float, int, str], Tensor]


class RandAugment:
    """Applies a few operations drawn at random, each with one argument for the whole clip.

    Of the 15 operations `OPERATIONS`, `num_ops` are drawn with replacement; each is applied with
    `probability`, at a magnitude drawn from N(`magnitude`, `magnitude_std`²) and clipped to
    0 … 10 (from 0 … `magnitude` uniformly if the deviation is infinite). All grow stronger with
    the magnitude, timm's "increasing" set.
    """

    def __init__(
        self,
        magnitude: float,
        num_ops: int,
        magnitude_std: float = 0.0,
        probability: float = 0.5,
    ) -> None:
        self.magnitude = magnitude
        self.num_ops = num_ops
        self.magnitude_std = magnitude_std
        self.probability = probability

    @classmethod
    def from_string(cls, config: str) -> Self:
        """Read timm's notation, such as `rand-m7-n4-mstd0.5-inc1`.

        Sections: m magnitude, n number of operations, p probability, mstd deviation (over 100:
        infinite), inc1 the increasing set, which must be asked for as it is the only one here.
        Raises `ValueError` for anything else.
        """
        name, *sections = config.split("-")
        values: dict[str, float] = {}
        for section in sections:
            match = re.fullmatch(r"(mstd|inc|m|n|p)(\d+(?:\.\d+)?)", section)
            if match is None:
                raise ValueError(f"RandAugment {config!r}: section {section!r} is not understood")
            values[match[1]] = float(match[2])
        if name != "rand" or values.get("inc") != 1:
            raise ValueError(f"RandAugment {config!r}: expected 'rand-…-inc1'")
        std = values.get("mstd", 0.0)
        return cls(
            magnitude=values.get("m", MAX_MAGNITUDE),
            num_ops=int(values.get("n", 2)),
            magnitude_std=math.inf if std > 100 else std,
            probability=values.get("p", 0.5),
        )

    def draw(self, generator: Generator | None = None) -> list[tuple[str, float]]:
        """The operations of one clip with their arguments, in the order they are applied."""
        drawn = []
        for _ in range(self.num_ops):
            choice, apply, level, sign = torch.rand(4, generator=generator).tolist()
            noise = torch.randn((), generator=generator).item()
            if apply >= self.probability:
                continue
            name = list(OPERATIONS)[int(choice * len(OPERATIONS))]
            if math.isinf(self.magnitude_std):
                magnitude = self.magnitude * level
            else:
                magnitude = self.magnitude + self.magnitude_std * noise
            fraction = min(max(magnitude, 0), MAX_MAGNITUDE) / MAX_MAGNITUDE
            drawn.append((name, OPERATIONS[name].argument(fraction, 1 if sign < 0.5 else -1)))
        return drawn

    def __call__(
        self, images: Tensor, masks: Tensor | None, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """`images` uint8 `[T, 3, H, W]`, `masks` bool `[T, H, W]` or None → the same, augmented."""
        for name, argument in self.draw(generator):
            images, masks = apply_operation(name, argument, images, masks)
        return images, masks


def apply_operation(
    name: str, argument: float, images: Tensor, masks: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """One operation on all frames; masks follow where it moves pixels (nearest, filled with 0)."""
    operation = OPERATIONS[name]
    if isinstance(operation, ColorOperation):
        return operation.apply(images, argument), masks
    if masks is not None:
        planes = masks.to(torch.uint8).unsqueeze(1)
        masks = operation.apply(planes, argument, 0, "nearest").squeeze(1).bool()
    return operation.apply(images, argument, FILL, "bilinear"), masks


def _lookup(images: Tensor, table: Tensor) -> Tensor:
    """Replace every value v by `table[v]` (uint8 `[256]`), or by `table[t, c, v]`."""
    pixels = images.permute(0, 2, 3, 1)
    index = pixels.int()
    if table.ndim == 3:
        rows = torch.arange(table[..., 0].numel(), dtype=torch.int32)
        index += 256 * rows.view(-1, 1, 1, table.shape[1])
    values = table.flatten().index_select(0, index.flatten())
    return values.view(pixels.shape).permute(0, 3, 1, 2)


def _auto_contrast(images: Tensor, _: float) -> Tensor:
    """Stretch each channel of each frame to 0 … 255; a channel of one value stays."""
    low, high = images.permute(0, 2, 3, 1).flatten(1, 2).aminmax(dim=1)
    low, high = low.double()[..., None], high.double()[..., None]
    scale = torch.where(high > low, 255 / (high - low), 1.0)
    offset = torch.where(high > low, -low * scale, 0.0)
    table = torch.arange(256, dtype=torch.float64) * scale + offset
    return _lookup(images, table.clamp_(0, 255).to(torch.uint8))


def _posterize(images: Tensor, bits: float) -> Tensor:
    return tvf.posterize(images, int(bits))


def _solarize(images: Tensor, threshold: float) -> Tensor:
    values = torch.arange(256)
    return _lookup(images, torch.where(values < threshold, values, 255 - values).to(torch.uint8))


def _solarize_add(images: Tensor, addend: float) -> Tensor:
    values = torch.arange(256)
    brighter = (values + int(addend)).clamp(max=255)
    return _lookup(images, torch.where(values < 128, brighter, values).to(torch.uint8))


def _brightness(images: Tensor, factor: float) -> Tensor:
    return _lookup(images, (torch.arange(256) * factor).clamp(max=255).to(torch.uint8))


def _rotate(images: Tensor, degrees: float, fill: int, mode: str) -> Tensor:
    """Anti-clockwise about the center."""
    half_height, half_width = images.shape[-2] / 2, images.shape[-1] / 2
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = (
        (cos, -sin, half_width - cos * half_width + sin * half_height),
        (sin, cos, half_height - sin * half_width - cos * half_height),
    )
    return _warp(images, matrix, fill, mode)


def _shear_x(images: Tensor, factor: float, fill: int, mode: str) -> Tensor:
    return _warp(images, ((1, factor, 0), (0, 1, 0)), fill, mode)


def _shear_y(images: Tensor, factor: float, fill: int, mode: str) -> Tensor:
    return _warp(images, ((1, 0, 0), (factor, 1, 0)), fill, mode)


def _translate_x(images: Tensor, share: float, fill: int, _: str) -> Tensor:
    return _shift(images, -1, round(share * images.shape[-1]), fill)


def _translate_y(images: Tensor, share: float, fill: int, _: str) -> Tensor:
    return _shift(images, -2, round(share * images.shape[-2]), fill)


def _shift(images: Tensor, dim: int, pixels: int, fill: int) -> Tensor:
    """Let place i show what place i + `pixels` showed."""
    kept = images.shape[dim] - abs(pixels)
    shifted = torch.full_like(images, fill)
    source, target = max(pixels, 0), max(-pixels, 0)
    shifted.narrow(dim, target, kept).copy_(images.narrow(dim, source, kept))
    return shifted


Row = tuple[float, float, float]


def _warp(images: Tensor, matrix: tuple[Row, Row], fill: int, mode: str) -> Tensor:
    """Let the point (x, y) show what the point `matrix · (x, y, 1)` showed.

    Points are measured from the corner of the image, so that pixel centers end in .5.
    """
    num_frames, channels, height, width = images.shape
    y = torch.arange(height)[:, None] + 0.5
    x = torch.arange(width) + 0.5
    source_x, source_y = (a * x + b * y + c for a, b, c in matrix)
    outside = (source_x < 0) | (source_x >= width) | (source_y < 0) | (source_y >= height)
    pairs = [
        (row * width + column, row_weight * column_weight)
        for row, row_weight in _taps(source_y, height, mode)
        for column, column_weight in _taps(source_x, width, mode)
    ]
    # Every pixel is a weighted sum of the same few pixels in each frame, an embedding bag: over
    # twice as fast as grid_sample, which wants the channels first. Row H·W is the filling.
    places = torch.stack([place for place, _ in pairs], -1).masked_fill_(
        outside.unsqueeze(-1), height * width
    )
    weights = torch.stack([weight for _, weight in pairs], -1)
    pixels = torch.full((height * width + 1, channels), float(fill))
    warped = images.new_empty(num_frames, height * width, channels)
    for target, image in zip(warped, images.permute(0, 2, 3, 1), strict=True):
        pixels[:-1].view(height, width, channels).copy_(image)
        bags = nnf.embedding_bag(
            places.flatten(0, 1), pixels, per_sample_weights=weights.flatten(0, 1), mode="sum"
        )
        target.copy_(bags.round_())
    return warped.view(num_frames, height, width, channels).permute(0, 3, 1, 2)


def _taps(source: Tensor, length: int, mode: str) -> list[tuple[Tensor, Tensor]]:
    """The pixels along one axis that mix at points `source [H, W]`, each with its weight.

    One for mode "nearest", two for "bilinear".
    """
    if mode == "nearest":
        return [(source.clamp(0, length - 1).int(), torch.ones_like(source))]
    center = (source - 0.5).clamp_(0, length - 1)
    first = center.int()
    share = center - first
    return [(first, 1 - share), ((first + 1).clamp_(max=length - 1), share)]


def _no_argument(_: float, __: int) -> float:
    return 0.0


def _enhancement(fraction: float, sign: int) -> float:
    """A factor around 1, which changes nothing: 0.1 … 1.9."""
    return max(0.1, 1 + sign * 0.9 * fraction)


def _up_to(largest: float) -> Callable[[float, int], float]:
    return lambda fraction, sign: sign * largest * fraction


OPERATIONS: dict[str, ColorOperation | GeometricOperation] = {
    "AutoContrast": ColorOperation(_no_argument, _auto_contrast),
    "Equalize": ColorOperation(_no_argument, lambda images, _: tvf.equalize(images)),
    "Invert": ColorOperation(_no_argument, lambda images, _: tvf.invert(images)),
    "Rotate": GeometricOperation(_up_to(30), _rotate),  # degrees
    "Posterize": ColorOperation(lambda f, _: 4 - int(4 * f), _posterize),  # bits kept
    "Solarize": ColorOperation(lambda f, _: 256 - int(256 * f), _solarize),  # threshold
    "SolarizeAdd": ColorOperation(lambda f, _: int(110 * f), _solarize_add),
    "Color": ColorOperation(_enhancement, tvf.adjust_saturation),
    "Contrast": ColorOperation(_enhancement, tvf.adjust_contrast),
    "Brightness": ColorOperation(_enhancement, _brightness),
    "Sharpness": ColorOperation(_enhancement, tvf.adjust_sharpness),
    "ShearX": GeometricOperation(_up_to(0.3), _shear_x),
    "ShearY": GeometricOperation(_up_to(0.3), _shear_y),
    "TranslateX": GeometricOperation(_up_to(0.45), _translate_x),  # share of the width
    "TranslateY": GeometricOperation(_up_to(0.45), _translate_y),
}
"""timm's increasing set, under its names without "Increasing" and "Rel"."""
