"""What scenes are painted on and with: a canvas larger than the frame, noise, edges, mixing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from devias.data.datasets.synthetic.arrays import Floats, floats

MARGIN = (4, 8)
"""Rows and columns by which the canvas exceeds the frame on every side: room for the camera."""


@dataclass(frozen=True)
class Canvas:
    """Pixel centers in frame coordinates, and the time of every frame."""

    width: int
    """Of the frame, in pixels; as is `height`."""
    height: int
    times: Floats
    """`[T]` seconds."""

    @property
    def x(self) -> Floats:
        """`[1, W']`, from −margin."""
        return np.arange(-MARGIN[1], self.width + MARGIN[1], dtype=np.float32)[None] + 0.5

    @property
    def y(self) -> Floats:
        """`[H', 1]`, from −margin."""
        return np.arange(-MARGIN[0], self.height + MARGIN[0], dtype=np.float32)[:, None] + 0.5

    @property
    def t(self) -> Floats:
        """`[T, 1, 1]` seconds."""
        return self.times[:, None, None]

    def noise(self, rng: np.random.Generator, cell: float, octaves: int = 3) -> Floats:
        """Smooth noise `[H', W']` in about [0, 1]; `cell` is the size of its largest features."""
        return noise(rng, self.y[:, 0], self.x[0], cell, octaves)


def noise(
    rng: np.random.Generator, rows: Floats, columns: Floats, cell: float, octaves: int = 3
) -> Floats:
    """Value noise `[len(rows), len(columns)]`, each octave half as large and half as strong."""
    total = np.zeros((len(rows), len(columns)), np.float32)
    for octave in range(octaves):
        top, down = _grid(rows, cell / 2**octave)
        left, across = _grid(columns, cell / 2**octave)
        values = rng.random((top[-1] + 2, left[-1] + 2), np.float32)
        values = values[top] + down[:, None] * (values[top + 1] - values[top])
        total += 0.5**octave * (values[:, left] + across * (values[:, left + 1] - values[:, left]))
    return total / (2 - 0.5 ** (octaves - 1))


def _grid(coordinates: Floats, cell: float) -> tuple[NDArray[np.intp], Floats]:
    """The grid point before every coordinate, and the smoothed way to the next in [0, 1]."""
    position = (coordinates - coordinates[0]) / cell
    before = position.astype(int)
    way = position - before
    return before, way * way * (3 - 2 * way)


def step(value: Floats, softness: float = 0.7) -> Floats:
    """0 below zero, 1 above, over a soft edge of ±`softness`."""
    ramp = np.clip(value / (2 * softness) + 0.5, 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def wave(value: Floats) -> Floats:
    """A cosine of period 1, in [0, 1]."""
    return 0.5 + 0.5 * np.cos(2 * np.pi * value)


def mix(first: Floats, second: Floats, weight: Floats) -> Floats:
    """Blend two pictures or colors by `weight […]` → planar `[3, …]`."""
    first, second = (_planar(picture, weight.ndim) for picture in (first, second))
    return first + weight * (second - first)


def _planar(picture: Floats, ndim: int) -> Floats:
    """A color `[3]` or picture `[3, H', W']`, ready to broadcast with weights of `ndim` axes."""
    if picture.ndim == 1:
        return picture.reshape(3, *[1] * ndim)
    if picture.ndim < ndim + 1:
        return picture[:, None]
    return picture


def sprinkle(picture: Floats, x: Floats, y: Floats, size: ArrayLike, color: Floats) -> None:
    """Draw n small dots into `picture [3, T, H', W']` in place.

    Args:
        picture: changed in place.
        x: `[T, n]` centers in canvas pixels; those outside are left out.
        y: likewise.
        size: radius, a number or `[n]`, at most 1 pixel.
        color: `[3]` or `[3, n]`.
    """
    _, _, height, width = picture.shape
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    inside = (column >= 1) & (column < width - 1) & (row >= 1) & (row < height - 1)
    frame, dot = np.nonzero(inside)
    column, row = column[inside], row[inside]
    dx, dy = floats(x[inside] - column), floats(y[inside] - row)
    radius = np.broadcast_to(floats(size), x.shape[1:])[dot]
    ink = np.broadcast_to(floats(color).reshape(3, -1), (3, x.shape[1]))[:, dot]
    for v in (-1, 0, 1):
        for u in (-1, 0, 1):
            cover = np.clip(radius + 0.5 - np.hypot(u + 0.5 - dx, v + 0.5 - dy), 0, 1)
            at = (slice(None), frame, row + v, column + u)
            under = picture[at]
            picture[at] = under + cover * (ink - under)
