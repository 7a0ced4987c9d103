"""Consistency of the action between two views of a clip (background erasing)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from devias.losses.base import LossTerm
from devias.structures import ClipBatch, Requirement, Roles, SlotPrediction


class Consistency(LossTerm):
    """Squared distance of the action slots of the two views, as vectors of unit length.

    Background Erasing pulls the features of a clip and of its second view together; of unit
    length, so that it is not fulfilled by making them small. The scene slot may see the added
    background.
    """

    requires = frozenset({Requirement.SECOND_VIEW})

    def __init__(self, weight: float = 1.0, name: str = "consistency") -> None:
        super().__init__(weight, name)

    def __call__(self, prediction: SlotPrediction, roles: Roles, batch: ClipBatch) -> Tensor:
        """Raise `LossTermError` when the batch has no second view."""
        if prediction.second_view is None:
            self.require(None, "a second view of every clip (augment=be)")
        assert prediction.second_view is not None
        # The same slot of both views: slots start from the same learnt vectors in either.
        views = (prediction.slots, prediction.second_view.slots)
        first, second = (F.normalize(Roles.pick(x, roles.action).float(), dim=-1) for x in views)
        return (first - second).square().sum(-1).mean()
