"""Anti-aliased drawing of rounded parts over the frames of a clip."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from devias.data.datasets.synthetic.arrays import Bools, Floats


@dataclass(frozen=True)
class Parts:
    """P tapered capsules over T frames; lengths in pixels."""

    start: Floats
    """`[T, P, 2]` (x, y)."""
    end: Floats
    """`[T, P, 2]`."""
    radius: Floats
    """`[P, 2]` at the start and at the end."""
    depth: Floats
    """`[T, P]`; larger is nearer and hides what is behind."""
    color: Floats
    """`[P, 3]`."""
    roundness: Floats
    """`[P]` in [0, 1]: how much darker a part is towards its outline."""

    def moved(self, shift: Floats) -> Parts:
        """The same parts, every frame moved by `shift [T, 2]` pixels."""
        step = shift[:, None]
        return replace(self, start=self.start + step, end=self.end + step)

    def ordered(self) -> Parts:
        """The same parts, in every frame the farthest first.

        Radius, color and roundness of each slot then change over time: `[T, P, 2]`, `[T, P, 3]`,
        `[T, P]`.
        """
        order = np.argsort(self.depth, axis=1, kind="stable")
        rows = np.arange(len(order))[:, None]
        return Parts(
            start=self.start[rows, order],
            end=self.end[rows, order],
            radius=self.radius[order],
            depth=self.depth[rows, order],
            color=self.color[order],
            roundness=self.roundness[order],
        )


def paint(frames: Floats, parts: Parts) -> Bools:
    """Draw the parts into `frames [3, T, H, W]` in place → their silhouette `[T, H, W]`.

    A pixel is covered by `0.5 − distance` of its center to the outline, clipped to [0, 1]; it
    belongs to the silhouette from half coverage on. Each part is drawn inside the box that holds
    it over all frames.
    """
    silhouette = np.zeros(frames.shape[1:], bool)
    parts = parts.ordered()
    # Far limbs are a little darker, which tells them from near ones in the same clothes.
    depth = parts.depth - parts.depth[:, :1]
    nearness = depth / np.maximum(depth[:, -1:], 1e-6)
    tone = (0.80 + 0.20 * nearness)[..., None] * parts.color
    for p in range(depth.shape[1]):
        start, end, radius = parts.start[:, p], parts.end[:, p], parts.radius[:, p]
        ys, xs = _box(start, end, float(radius.max()), frames.shape[2:])
        distance, local = _tapered_capsule(xs, ys, start, end, radius)
        coverage = np.clip(0.5 - distance, 0, 1)
        # Round shading: full light inside, darker towards the outline.
        distance /= local
        distance += 1
        edge = np.clip(distance, 0, 1, out=distance)
        shade = 1.05 - (0.42 * parts.roundness[:, p, None, None]) * (edge * edge * edge)
        window = frames[:, :, ys, xs]
        for channel in range(3):
            layer = shade * tone[:, p, channel, None, None]
            layer -= window[channel]
            layer *= coverage
            window[channel] += layer
        silhouette[:, ys, xs] |= coverage >= 0.5
    return silhouette


def _box(start: Floats, end: Floats, radius: float, size: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a picture of `size` (H, W) that the part reaches in any frame."""
    low = np.minimum(start, end).min(0) - radius - 1
    high = np.maximum(start, end).max(0) + radius + 2
    ys, xs = (
        slice(min(max(0, int(low[axis])), limit), max(0, min(limit, int(high[axis]))))
        for axis, limit in ((1, size[0]), (0, size[1]))
    )
    return ys, xs


def _tapered_capsule(
    xs: slice, ys: slice, start: Floats, end: Floats, radius: Floats
) -> tuple[Floats, Floats]:
    """Signed distance `[T, h, w]` of pixel centers to the outline, and the radius there."""
    x = np.arange(xs.start, xs.stop, dtype=np.float32) + 0.5
    y = np.arange(ys.start, ys.stop, dtype=np.float32) + 0.5
    axis = (end - start)[:, :, None, None]
    square = np.maximum((axis * axis).sum(1), 1e-6)
    dx = x[None, None, :] - start[:, 0, None, None]
    dy = y[None, :, None] - start[:, 1, None, None]
    along = dx * (axis[:, 0] / square) + dy * (axis[:, 1] / square)
    np.clip(along, 0, 1, out=along)
    across, down = along * -axis[:, 0], along * -axis[:, 1]
    across += dx
    down += dy
    across *= across
    down *= down
    across += down
    distance = np.sqrt(across, out=across)
    local = along
    local *= (radius[:, 1] - radius[:, 0])[:, None, None]
    local += radius[:, 0, None, None]
    distance -= local
    return distance, local
