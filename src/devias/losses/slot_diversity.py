"""Slot diversity: L_cos."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from devias.losses.base import LossTerm
from devias.structures import ClipBatch, Roles, SlotPrediction


class SlotDiversity(LossTerm):
    """Mean cosine similarity of the slots over all pairs i ≠ j; 0 for a single slot.

    The paper writes 1 − cos, whose minimum makes slots equal, and means the opposite.
    """

    def __init__(self, weight: float = 1.0, name: str = "slot_diversity") -> None:
        super().__init__(weight, name)

    def __call__(self, prediction: SlotPrediction, roles: Roles, batch: ClipBatch) -> Tensor:
        """Use the slots alone; their roles and the batch do not matter."""
        direction = F.normalize(prediction.slots.float(), dim=-1)
        num_slots = direction.shape[1]
        if num_slots == 1:
            return direction.new_zeros(())
        # |Σ nᵢ|² = K + Σ nᵢ·nⱼ over i ≠ j for unit vectors, so no K×K products are needed.
        cosines = direction.sum(1).square().sum(-1) - num_slots
        return cosines.mean() / (num_slots * (num_slots - 1))
