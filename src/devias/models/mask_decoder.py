"""The action mask decoder (paper, section 3.2): from a slot alone, where the actor is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from devias.models.architecture import recorded


@recorded
class MaskDecoder(nn.Module):
    """An MLP from a slot to one logit per patch of the time-averaged mask H̃.

    Args:
        dim: D of the slots.
        output: patches of a frame, h·w.
        hidden_dims: widths of the hidden layers.
    """

    field = "mask_logits"
    """Where a `SlotPrediction` holds what is decoded."""
    channels = 1
    """Values predicted for every patch."""

    def __init__(self, dim: int, output: int, hidden_dims: Sequence[int] = (512, 256)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width, next_width in pairwise([dim, *hidden_dims]):
            layers += [nn.Linear(width, next_width), nn.ReLU()]
        last = [dim, *hidden_dims][-1]
        self.layers = nn.Sequential(*layers, nn.Linear(last, self.channels * output))
        self.dim = dim

    def forward(self, slots: Tensor) -> Tensor:
        """Slots `[B, K, D]` → `[B, K, channels·output]`; of a mask logits, before any sigmoid."""
        return self.layers(slots)


@recorded
class PixelDecoder(MaskDecoder):
    """The same MLP for the ablation that decodes colors, red, green and blue of every patch."""

    field = "pixels"
    channels = 3


def decode(decoder: MaskDecoder | None, slots: Tensor) -> dict[str, Any]:
    """The fields of a `SlotPrediction` that a decoder fills; none without one."""
    return {} if decoder is None else {decoder.field: decoder(slots)}
