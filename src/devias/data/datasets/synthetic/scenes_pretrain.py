"""The pretraining set's scenes: patterns that share nothing with the benchmark's places."""

from __future__ import annotations

import math

import numpy as np

from devias.data.datasets.synthetic.arrays import Floats, floats, hsv
from devias.data.datasets.synthetic.canvas import Canvas, mix, step, wave
from devias.data.datasets.synthetic.scenes import Scene


def _pair(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Two colors that differ in hue or in lightness."""
    hue = rng.uniform()
    first = hsv(hue, rng.uniform(0.15, 0.8), rng.uniform(0.25, 0.7))
    second = hsv(hue + rng.uniform(0.05, 0.5), rng.uniform(0.1, 0.7), rng.uniform(0.6, 1.0))
    return first, second


def _rotated(rng: np.random.Generator, canvas: Canvas) -> tuple[Floats, Floats]:
    """Coordinates `[H', W']` about a random point, turned by a random angle."""
    angle = rng.uniform(0, math.pi)
    x, y = canvas.x - rng.uniform(0, canvas.width), canvas.y - rng.uniform(0, canvas.height)
    c, s = math.cos(angle), math.sin(angle)
    return c * x + s * y, c * y - s * x


def blobs(rng: np.random.Generator, canvas: Canvas) -> Floats:
    """Soft balls of light that drift over a gradient."""
    u, _ = _rotated(rng, canvas)
    first, second = _pair(rng)
    picture = mix(first, second, np.clip(0.5 + u / 90, 0, 1))[:, None]
    for _ in range(int(rng.integers(3, 6))):
        x = canvas.x - rng.uniform(0, 80) - rng.uniform(-6, 6) * canvas.t
        y = canvas.y - rng.uniform(0, 64) - rng.uniform(-6, 6) * canvas.t
        size = rng.uniform(6, 13)
        # A Gaussian is the product of one across and one down.
        near = np.exp(-((x / size) ** 2)) * np.exp(-((y / size) ** 2))
        picture = mix(picture, hsv(rng.uniform(), rng.uniform(0.3, 0.8), rng.uniform(0.5, 1)), near)
    return picture


def plaid(rng: np.random.Generator, canvas: Canvas) -> Floats:
    """Woven bands of two widths across and down."""
    first, second = _pair(rng)
    period = rng.uniform(13, 24)
    u = wave((canvas.x + rng.uniform(0, 30)) / period) - rng.uniform(0.4, 0.7)
    v = wave((canvas.y + rng.uniform(0, 30)) / period) - rng.uniform(0.4, 0.7)
    picture = mix(first, second, 0.5 * step(u, 0.08) + 0.5 * step(v, 0.08))
    thin = hsv(rng.uniform(), rng.uniform(0.2, 0.8), rng.uniform(0.6, 1))
    lines = step(0.8 - np.abs(canvas.x % period - 0.3 * period)) + 0 * canvas.y
    lines = np.maximum(lines, step(0.8 - np.abs(canvas.y % period - 0.6 * period)))
    return mix(picture, thin, 0.7 * lines) * (0.92 + 0.08 * wave((canvas.x + canvas.y) / 2.5))


def clouds(rng: np.random.Generator, canvas: Canvas) -> Floats:
    """Marbled noise in three colors."""
    first, second = _pair(rng)
    coarse, fine = canvas.noise(rng, rng.uniform(16, 30), 4), canvas.noise(rng, 9, 3)
    vein = wave(rng.uniform(1.2, 2.5) * coarse + 0.5 * fine)
    third = hsv(rng.uniform(), rng.uniform(0.2, 0.6), rng.uniform(0.3, 0.9))
    return mix(mix(first, second, vein), third, step(fine - 0.6, 0.15))


def dots(rng: np.random.Generator, canvas: Canvas) -> Floats:
    """Rows of discs, every second row shifted, in a random direction."""
    u, v = _rotated(rng, canvas)
    first, second = _pair(rng)
    period = rng.uniform(7.5, 13)
    row = np.floor(v / period)
    u = u + 0.5 * period * (row % 2)
    far = np.hypot(u % period - period / 2, v % period - period / 2)
    return mix(first, second, step(rng.uniform(0.22, 0.36) * period - far))


def maze(rng: np.random.Generator, canvas: Canvas) -> Floats:
    """Quarter arcs in random square tiles, which join to winding paths."""
    first, second = _pair(rng)
    cell = rng.uniform(7, 11)
    x, y = canvas.x + 10 + 0 * canvas.y, canvas.y + 10 + 0 * canvas.x
    flip = rng.uniform(size=(20, 20)) < 0.5
    flipped = flip[np.floor(y / cell).astype(int), np.floor(x / cell).astype(int)]
    u, v = x % cell, y % cell
    u = np.where(flipped, cell - u, u)
    arc = np.minimum(np.hypot(u, v), np.hypot(cell - u, cell - v))
    return mix(first, second, step(rng.uniform(1.0, 1.8) - np.abs(arc - cell / 2)))


def rings(rng: np.random.Generator, canvas: Canvas) -> Floats:
    """Concentric rings that slowly widen."""
    first, second = _pair(rng)
    x, y = canvas.x - rng.uniform(10, 70), canvas.y - rng.uniform(8, 56)
    far = np.sqrt(x * x + rng.uniform(0.7, 1.4) * y * y)
    ring = wave(far / rng.uniform(8, 16) - rng.uniform(0.0, 0.35) * canvas.t)
    return mix(first, second, step(ring - 0.5, 0.25))


def mosaic(rng: np.random.Generator, canvas: Canvas) -> Floats:
    """Cells around random points, each of its own tone, with dark joints."""
    count = int(rng.integers(25, 45))
    at = floats(rng.uniform((-8, -4), (88, 68), (count, 2)))
    far = np.hypot(canvas.x[None] - at[:, 0, None, None], canvas.y[None] - at[:, 1, None, None])
    nearest = far.argmin(0)
    first, second = np.partition(far, 1, axis=0)[:2]
    hue, spread = rng.uniform(), rng.uniform(0.05, 0.3)
    tones = [
        hsv(hue + rng.uniform(-spread, spread), rng.uniform(0.3, 0.7), rng.uniform(0.4, 1))
        for _ in range(count)
    ]
    cells = np.stack(tones, 1)[:, nearest]
    return mix(hsv(hue, 0.3, float(rng.choice([0.15, 0.95]))), cells, step(second - first - 1.2))


def zigzag(rng: np.random.Generator, canvas: Canvas) -> Floats:
    """Chevron stripes in a random direction."""
    u, v = _rotated(rng, canvas)
    first, second = _pair(rng)
    period = rng.uniform(12, 20)
    teeth = np.abs(u % period - period / 2)
    stripe = wave((v + teeth) / rng.uniform(8, 14))
    return mix(first, second, step(stripe - 0.5, 0.25))


PRETRAIN_SCENES: dict[str, Scene] = {
    scene.__name__: scene for scene in (blobs, plaid, clouds, dots, maze, rings, mosaic, zigzag)
}
"""Class name → scene, in class order."""
