"""Channel normalization of images and clips."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Normalize(nn.Module):
    """Turn values in [0, 1] into (value − mean) / std, channel by channel.

    Args:
        mean: one number a channel, in units of [0, 1].
        std: likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """`[B, C, …]` → the same shape, a new tensor."""
        shape = (-1, *[1] * (images.ndim - 2))
        return (images - self.mean.view(shape)).div_(self.std.view(shape))

    def undo(self, images: Tensor) -> Tensor:
        """Normalized `[B, C, …]` → values in [0, 1]."""
        shape = (-1, *[1] * (images.ndim - 2))
        return images * self.std.view(shape) + self.mean.view(shape)
