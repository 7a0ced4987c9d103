"""The action mask decoder (paper, section 3.2): from a slot alone, where the actor is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from devias.models.architecture import recorded


@recorded
class MaskDecoder(nn.Module):
    """An MLP from a slot to one logit per patch of the time-averaged mask H̃.

    Args:
        dim: D of the slots.
        output: values to predict, h·w for a mask of patches.
        hidden_dims: widths of the hidden layers.
    """

    def __init__(self, dim: int, output: int, hidden_dims: Sequence[int] = (512, 256)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width, next_width in pairwise([dim, *hidden_dims]):
            layers += [nn.Linear(width, next_width), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear([dim, *hidden_dims][-1], output))
        self.dim = dim

    def forward(self, slots: Tensor) -> Tensor:
        """Slots `[B, K, D]` → logits `[B, K, output]`, before any sigmoid."""
        return self.layers(slots)
