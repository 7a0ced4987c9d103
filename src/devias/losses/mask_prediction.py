"""Mask prediction: L_AMD."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from devias.losses.base import pool_masks
from devias.losses.decoding import Decoding, Slots
from devias.structures import ClipBatch, SlotPrediction


class MaskPrediction(Decoding):
    """Binary cross-entropy of the mask decoded from the action slot with H̃, pooled to patches.

    Args:
        double_sigmoid: apply the sigmoid twice, as the released code does by handing
            probabilities to a loss that expects logits.
        slots: see `Decoding`; the scene slot's mask is 1 − H̃.
    """

    def __init__(
        self,
        double_sigmoid: bool = False,
        slots: Slots = "action",
        weight: float = 1.0,
        name: str = "mask_prediction",
    ) -> None:
        super().__init__(slots, weight, name)
        self.double_sigmoid = double_sigmoid

    def decoded(self, prediction: SlotPrediction) -> Tensor:
        """`[B, K, h·w]` logits."""
        return self.require(prediction.mask_logits, "a model with a mask decoder")

    def compare(
        self, decoded: Tensor, mask: Tensor, prediction: SlotPrediction, batch: ClipBatch
    ) -> Tensor:
        """The mean over clips and patches."""
        logits = decoded.float()
        if self.double_sigmoid:
            logits = logits.sigmoid()
        target = pool_masks(mask[:, None], prediction.grid[1:])
        return F.binary_cross_entropy_with_logits(logits, target)
