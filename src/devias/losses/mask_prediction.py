"""Mask prediction: L_AMD."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from devias.losses.base import LossTerm, pool_masks
from devias.structures import ClipBatch, Roles, SlotPrediction


class MaskPrediction(LossTerm):
    """Binary cross-entropy of the mask decoded from the action slot with H̃, pooled to patches.

    Args:
        double_sigmoid: apply the sigmoid twice, as the released code does by handing
            probabilities to a loss that expects logits.
    """

    def __init__(
        self, double_sigmoid: bool = False, weight: float = 1.0, name: str = "mask_prediction"
    ) -> None:
        super().__init__(weight, name)
        self.double_sigmoid = double_sigmoid

    def __call__(self, prediction: SlotPrediction, roles: Roles, batch: ClipBatch) -> Tensor:
        """Raise `ValueError` when the model decodes no mask or the batch has no `clip_mask`."""
        decoded = self.require(prediction.mask_logits, "a model with a mask decoder")
        mask = self.require(batch.clip_mask, "clip masks (pseudo labels)")
        logits = Roles.pick(decoded, roles.action).float()
        if self.double_sigmoid:
            logits = logits.sigmoid()
        target = pool_masks(mask[:, None], prediction.grid[1:])
        return F.binary_cross_entropy_with_logits(logits, target)
