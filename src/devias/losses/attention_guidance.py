"""Attention guidance: L_AG."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from devias.losses.base import LossTerm, LossTermError, pool_masks
from devias.structures import ClipBatch, Requirement, Roles, SlotPrediction


class AttentionGuidance(LossTerm):
    """Mean squared difference between the action slot's attention and Ĥ, pooled to patches.

    The attention is the mean over heads of the last iteration, before the key normalization.
    """

    requires = frozenset({Requirement.MASKS})

    def __init__(self, weight: float = 1.0, name: str = "attention_guidance") -> None:
        super().__init__(weight, name)

    def __call__(self, prediction: SlotPrediction, roles: Roles, batch: ClipBatch) -> Tensor:
        """Raise `LossTermError` without slot attention, `frame_masks`, or one mask a tubelet."""
        attention = self.require(prediction.attention, "a model with slot attention")
        masks = self.require(batch.frame_masks, "frame masks (pseudo labels)")
        tubelets, *size = prediction.grid
        if masks.shape[1] != tubelets:
            raise LossTermError(
                f"{self.name}: the batch has {masks.shape[1]} frame masks a clip, "
                f"the model {tubelets} tubelets"
            )
        # The mean over heads, divided after the pick: K × heads fewer divisions, and backward.
        guided = Roles.pick(attention.float().sum(1), roles.action) / attention.shape[1]
        return F.mse_loss(guided, pool_masks(masks, (size[0], size[1])))
