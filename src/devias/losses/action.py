"""Action recognition: the action half of L_DE."""

from __future__ import annotations

from torch import Tensor

from devias.losses.base import LossTerm, cross_entropy_of_known
from devias.structures import ClipBatch, Roles, SlotPrediction


class ActionRecognition(LossTerm):
    """Cross-entropy of the action slot's N_A + N_S logits with the action label.

    Clips without an action label do not count.

    Args:
        smoothing: share of the target that is spread evenly over all classes.
    """

    def __init__(
        self, smoothing: float = 0.0, weight: float = 1.0, name: str = "action_recognition"
    ) -> None:
        super().__init__(weight, name)
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing must be at least 0 and below 1, not {smoothing}")
        self.smoothing = smoothing

    def __call__(self, prediction: SlotPrediction, roles: Roles, batch: ClipBatch) -> Tensor:
        """Raise `LossTermError` when the head has no action classes."""
        if prediction.num_actions == 0:
            self.require(None, "a head with action classes")
        logits = Roles.pick(prediction.logits, roles.action)
        return cross_entropy_of_known(logits, batch.per_clip(batch.action), self.smoothing)
