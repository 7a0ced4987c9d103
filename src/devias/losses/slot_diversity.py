"""Slot diversity: L_cos."""

from __future__ import annotations

import torch
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
        slots = prediction.slots.float()
        clips, num_slots, _ = slots.shape
        if num_slots == 1:
            return slots.new_zeros(())
        cosine = F.cosine_similarity(slots[:, :, None], slots[:, None], dim=-1)
        itself = torch.eye(num_slots, dtype=torch.bool, device=slots.device)
        return cosine.masked_fill(itself, 0).sum() / (clips * num_slots * (num_slots - 1))
