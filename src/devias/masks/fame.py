"""FAME: human masks from frame differences and color statistics, without a learned model.

Ding et al., "Motion-aware Contrastive Video Representation Learning via Foreground-background
Merging", CVPR 2022; here as DEVIAS uses it, for the whole clip and for every tubelet.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from devias.masks.base import MaskExtractor

COLOR_LEVELS = 10
"""Bins along each of the three axes of the color histogram."""


class FAME(MaskExtractor):
    """Marks the share β of pixels that move most and whose colors occur where things move.

    Per motion map: the colors of its highest 50 % of pixels (foreground) and lowest 10 %
    (background) are counted; every pixel is as much foreground as its color is; of the blurred
    result exactly β of the pixels become the mask.

    Args:
        beta: share of foreground pixels.
        crop_size: sets the blur: about a tenth of it, odd. The released code keeps 112 (an
            11×11 kernel) for clips of 224².
        tubelet_size: frames that share one frame mask, made from the first two of them.
    """

    cut_out = "clip"  # of the published zeros and ones

    def __init__(self, beta: float = 0.5, crop_size: int = 112, tubelet_size: int = 2) -> None:
        if not 0 < beta <= 1:
            raise ValueError(f"beta is a share of the pixels in (0, 1], not {beta}")
        if tubelet_size < 2:
            raise ValueError(f"tubelet_size must be at least 2 to see motion, not {tubelet_size}")
        self.beta = beta
        self.tubelet_size = tubelet_size
        self.kernel_size = int(0.1 * crop_size) // 2 * 2 + 1

    @torch.no_grad()
    def __call__(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Mask clips `[B, 3, T, H, W]` with values in [0, 1].

        Returns:
            The clip masks `[B, H, W]` and the frame masks `[B, T', H, W]`, float32 zeros and ones.
        """
        frames = video.shape[2]
        if frames == 0 or frames % self.tubelet_size:
            raise ValueError(f"{frames} frames do not divide into tubelets of {self.tubelet_size}")
        with torch.autocast(video.device.type, enabled=False):
            video = video.float()
            # One motion map for the clip, then one a tubelet: [B, 1 + T', H, W].
            change = (video[:, :, 1:] - video[:, :, :-1]).abs().sum(1)
            motion = torch.cat([change.mean(1, True), change[:, :: self.tubelet_size]], dim=1)
            masks = self._segment(self._blur(motion), color_index(video.mean(2)))
        return masks[:, 0], masks[:, 1:]

    def _segment(self, motion: Tensor, colors: Tensor) -> Tensor:
        """Motion maps `[B, M, H, W]` and colors `[B, H, W]` of their clip → masks of 0 and 1.

        The published min-max normalizations are left out: they do not change which pixels are
        highest.
        """
        pixels = motion.shape[-2] * motion.shape[-1]
        flat = motion.flatten(2)
        colors = colors.flatten(1)[:, None].expand_as(flat)
        moving = flat.topk(int(0.5 * pixels), sorted=False).indices
        still = flat.topk(int(0.1 * pixels), largest=False, sorted=False).indices
        foreground = _histogram(colors.gather(2, moving))
        background = _histogram(colors.gather(2, still)) + 1
        foreground = foreground / foreground.sum(2, keepdim=True)
        background = background / background.sum(2, keepdim=True)
        likeness = (foreground / (foreground + background)).gather(2, colors)
        likeness = self._blur(likeness.view_as(motion)).flatten(2)
        chosen = likeness.topk(int(self.beta * pixels), sorted=False).indices
        return torch.zeros_like(likeness).scatter_(2, chosen, 1).view_as(motion)

    def _blur(self, maps: Tensor) -> Tensor:
        """Blur `[…, H, W]` by a separable Gaussian, as two products with banded matrices."""
        rows, columns = (
            gaussian_band(size, self.kernel_size, maps.device) for size in maps.shape[-2:]
        )
        return rows @ maps @ columns.mT


@lru_cache(maxsize=16)
def gaussian_band(size: int, kernel_size: int, device: torch.device) -> Tensor:
    """The `[size, size]` matrix that blurs a vector of `size` pixels, mirrored at the border.

    σ is a third of the kernel's size. Raises `ValueError` when the kernel reaches beyond the
    mirrored border.
    """
    radius = kernel_size // 2
    if size <= radius:
        raise ValueError(
            f"FAME's blur of {kernel_size} pixels needs frames of more than {radius}, not {size}; "
            "choose a smaller crop_size"
        )
    offset = torch.arange(-radius, radius + 1, device=device)
    weight = torch.exp(-0.5 * (offset / (kernel_size / 3)) ** 2)
    source = (torch.arange(size, device=device)[:, None] + offset).abs()
    source = (size - 1) - (size - 1 - source).abs()
    band = torch.zeros(size, size, device=device)
    return band.scatter_add_(1, source, (weight / weight.sum()).expand(size, -1))


def color_index(image: Tensor) -> Tensor:
    """The histogram bin of every pixel of RGB images `[B, 3, H, W]` in [0, 1] → int64 `[B, H, W]`.

    The bins divide the color cone (saturation as radius, hue as angle, value as height). As in
    the released code the angle is 2π times the hue although that is in radians already, so the
    hue winds 2π times around the cone.
    """
    hue, saturation, value = _rgb_to_hsv(image)
    angle = hue * 2 * math.pi
    axes = (saturation * angle.cos() + 1) / 2, (saturation * angle.sin() + 1) / 2, value
    # Bins count from 1 when rounded: it decides which way the halves of gray pixels go.
    x, y, z = ((axis * (COLOR_LEVELS - 1) + 1).round().long() - 1 for axis in axes)
    return x + COLOR_LEVELS * (y + COLOR_LEVELS * z)


def _rgb_to_hsv(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue in radians, saturation and value in [0, 1], `[B, H, W]` each."""
    red, green, blue = image.unbind(1)
    value, channel = image.max(1)
    chroma = value - image.amin(1)
    # Sixths of the circle counted from red, by the channel that dominates.
    sixths = torch.stack(
        [green - blue, blue - red + 2 * chroma, red - green + 4 * chroma], dim=1
    ).gather(1, channel[:, None])[:, 0]
    hue = (sixths / chroma.where(chroma > 0, 1) / 6) % 1 * 2 * math.pi
    return hue, chroma / (value + 1e-8), value


def _histogram(colors: Tensor) -> Tensor:
    """Count the colors along the last dimension: int64 `[…, P]` → float32 `[…, 1000]`."""
    counts = torch.zeros(*colors.shape[:-1], COLOR_LEVELS**3, device=colors.device)
    return counts.scatter_add_(-1, colors, torch.ones_like(colors, dtype=counts.dtype))
