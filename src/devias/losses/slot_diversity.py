"""Slot diversity: L_cos, and other forms of it."""

from __future__ import annotations

from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor

from devias.errors import ConfigError
from devias.losses.base import LossTerm
from devias.structures import ClipBatch, Roles, SlotPrediction

Form = Literal["cosine", "squared", "absolute", "hinge", "covariance"]


class SlotDiversity(LossTerm):
    """Keeps the slots of a clip apart; 0 for a single slot.

    The forms are means over clips and pairs of slots i ≠ j, but for the last:

    - `cosine`: cos(Sᵢ, Sⱼ), the paper's and the released code's. Two slots reach its minimum as
      mirror images, so that either tells the other. (The paper writes 1 − cos, whose minimum makes
      slots equal, and means the opposite.)
    - `squared`, `absolute`: cos² and |cos|, least where slots are orthogonal.
    - `hinge`: max(cos, 0), which leaves alone what points apart.
    - `covariance`: of the action slots and the scene slots of a batch, how far one follows the
      other linearly, whatever their directions: linear CKA, ‖AᵀS‖² / (‖AᵀA‖ ‖SᵀS‖) of the centered
      slots, from 0 to 1. Of each process's own clips.

    Args:
        form: one of these.
        weight: factor of the term in the total loss (γ).
        name: its key in the configuration and in the log.

    Raises:
        ConfigError: there is no such form.
    """

    def __init__(
        self, form: Form = "cosine", weight: float = 1.0, name: str = "slot_diversity"
    ) -> None:
        super().__init__(weight, name)
        if form not in get_args(Form):
            raise ConfigError(f"loss.{name}.form must be one of {get_args(Form)}, not {form!r}")
        self.form = form

    def __call__(self, prediction: SlotPrediction, roles: Roles, batch: ClipBatch) -> Tensor:
        """Use the slots alone, and their roles for the covariance."""
        slots = prediction.slots.float()
        if slots.shape[1] == 1:
            return slots.new_zeros(())
        if self.form == "covariance":
            return linear_cka(Roles.pick(slots, roles.action), Roles.pick(slots, roles.scene))
        direction = F.normalize(slots, dim=-1)
        cosines = (direction @ direction.mT).triu(1)  # each pair once, 0 elsewhere
        match self.form:
            case "squared":
                cosines = cosines.square()
            case "absolute":
                cosines = cosines.abs()
            case "hinge":
                cosines = cosines.relu()
        clips, num_slots, _ = slots.shape
        return cosines.sum() / (clips * num_slots * (num_slots - 1) / 2)


def linear_cka(a: Tensor, b: Tensor) -> Tensor:
    """How far two sets of features `[B, D]`, `[B, E]` of the same clips agree, 0 to 1.

    Constant features agree with nothing.
    """
    a, b = a - a.mean(0), b - b.mean(0)
    a, b = a @ a.T, b @ b.T  # ‖XᵀY‖² = ⟨X Xᵀ, Y Yᵀ⟩, and a batch is smaller than D
    return (a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-12)
