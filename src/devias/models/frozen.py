"""A pretrained network that is only ever looked through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from torch import nn

from devias.models.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize


class Frozen(nn.Module):
    """Holds a network that is never trained: no gradient, always in evaluation mode.

    Args:
        model: the network.
        mean: normalization of its input, one number a channel, in units of [0, 1].
        std: likewise.
    """

    def __init__(
        self,
        model: nn.Module,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.model = model.requires_grad_(False)
        self.normalize = Normalize(mean, std)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever mode the owner enters."""
        return super().train(False)
