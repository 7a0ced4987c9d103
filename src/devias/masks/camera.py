"""The camera's motion across a clip, and frames seen from where it was at another time."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

STEPS = 5
"""Gauss-Newton steps for every pair of frames."""


def camera_path(video: Tensor) -> Tensor:
    """How far the view has moved since the middle frame: `[B, C, T, H, W]` → pixels `[B, T, 2]`.

    What is at (y, x) of the middle frame is at (y, x) + path of another. Neighbouring frames are
    registered by a translation of a few pixels with the method of Lucas and Kanade. Pixels that
    disagree with it, such as those of an actor, weigh little: Cauchy's weights, relative to the
    median error.
    """
    clips, _, frames, height, width = video.shape
    gray = gaussian_blur(video.mean(1), sigma=1.0)
    here = gray[:, :-1].reshape(-1, 1, height, width)
    there = gray[:, 1:].reshape(-1, 1, height, width)
    slope_y = F.pad(here[..., 2:, :] - here[..., :-2, :], (0, 0, 1, 1)) / 2
    slope_x = F.pad(here[..., 2:] - here[..., :-2], (1, 1)) / 2
    steps = gray.new_zeros(len(here), 2)
    for _ in range(STEPS):
        error = shift(there, steps)[0] - here
        # Every fourth pixel tells the median well enough.
        typical = error[..., ::2, ::2].abs().flatten(1).median(1).values[:, None, None, None] + 1e-3
        weight = 1 / (1 + (error / typical) ** 2)
        pairs = (
            (slope_y, slope_y),
            (slope_x, slope_x),
            (slope_y, slope_x),
            (slope_y, error),
            (slope_x, error),
        )
        yy, xx, yx, ey, ex = ((weight * a * b).sum((1, 2, 3)) for a, b in pairs)
        # The last terms keep a picture without structure, or of stripes only, in its place.
        determinant = yy * xx - yx * yx + 1e-6 * (yy + xx) ** 2 + 1e-9
        step = torch.stack([xx * ey - yx * ex, yy * ex - yx * ey], 1) / determinant[:, None]
        steps = (steps - step).clamp(-height / 8, height / 8)
    path = F.pad(steps.view(clips, frames - 1, 2).cumsum(1), (0, 0, 1, 0))
    return path - path[:, frames // 2, None]


def shift(images: Tensor, by: Tensor) -> tuple[Tensor, Tensor]:
    """Images `[N, C, H, W]` read at every pixel's place + `by [N, 2]` (y, x), bilinearly.

    Returns:
        The images, their edge repeated outside, and where they are inside `[N, 1, H, W]` bool.
    """
    height, width = images.shape[-2:]
    y = torch.arange(height, device=images.device) + by[:, :1]
    x = torch.arange(width, device=images.device) + by[:, 1:]
    # grid_sample counts from −1 at the outer edge of the first pixel to 1 at that of the last.
    grid_y, grid_x = (2 * y + 1) / height - 1, (2 * x + 1) / width - 1
    grid = torch.stack(
        [grid_x[:, None].expand(-1, height, -1), grid_y[:, :, None].expand(-1, -1, width)], -1
    )
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    inside_y, inside_x = (y >= 0) & (y <= height - 1), (x >= 0) & (x <= width - 1)
    return moved, (inside_y[:, :, None] & inside_x[:, None])[:, None]


def gaussian_blur(maps: Tensor, sigma: float) -> Tensor:
    """Blur `[…, H, W]` by a Gaussian of `sigma` pixels; at the border its weights are renewed."""
    rows, columns = (gaussian_weights(size, sigma, maps.device) for size in maps.shape[-2:])
    return rows @ maps @ columns.mT


@lru_cache(maxsize=32)
def gaussian_weights(size: int, sigma: float, device: torch.device) -> Tensor:
    """`[size, size]`: row i holds the weights, of sum 1, with which i's neighbors enter it."""
    place = torch.arange(size, device=device)
    weights = torch.exp(-0.5 * ((place[:, None] - place) / sigma) ** 2)
    return weights / weights.sum(1, keepdim=True)
