"""What the losses of the decoders share: from which slots, against what."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, get_args

from torch import Tensor

from devias.losses.base import LossTerm, LossTermError
from devias.structures import ClipBatch, Requirement, Roles, SlotPrediction

Slots = Literal["action", "scene", "both"]


class Decoding(LossTerm):
    """Compares what is decoded from a slot with its share of the clip.

    The action slot's is where H̃ is, the scene slot's where it is not.

    Args:
        slots: decode from the `action` slot (the paper), the `scene` slot, or `both`, whose
            losses are added.
    """

    requires = frozenset({Requirement.MASKS})

    def __init__(self, slots: Slots, weight: float, name: str) -> None:
        super().__init__(weight, name)
        if slots not in get_args(Slots):
            raise ValueError(f"slots must be one of {', '.join(get_args(Slots))}, not {slots!r}")
        self.slots = slots

    def __call__(self, prediction: SlotPrediction, roles: Roles, batch: ClipBatch) -> Tensor:
        """The loss of the slots that `slots` names.

        Raises:
            LossTermError: there is no decoder of this kind or no `clip_mask`, or the only slot
                should be told from itself.
        """
        decoded = self.decoded(prediction)
        mask = self.require(batch.clip_mask, "clip masks (pseudo labels)")
        if self.slots != "action" and decoded.shape[1] == 1:
            raise LossTermError(
                f"{self.name}: slots={self.slots} needs two slots, the model has one"
            )
        losses = []
        if self.slots in ("action", "both"):
            own = Roles.pick(decoded, roles.action)
            losses.append(self.compare(own, mask, prediction, batch))
        if self.slots in ("scene", "both"):
            own = Roles.pick(decoded, roles.scene)
            losses.append(self.compare(own, 1 - mask, prediction, batch))
        return sum(losses[1:], losses[0])

    @abstractmethod
    def decoded(self, prediction: SlotPrediction) -> Tensor:
        """What the model decodes from every slot, `[B, K, …]`."""

    @abstractmethod
    def compare(
        self, decoded: Tensor, mask: Tensor, prediction: SlotPrediction, batch: ClipBatch
    ) -> Tensor:
        """The loss of one slot's `decoded [B, …]`, which `mask [B, H, W]` belongs to."""
