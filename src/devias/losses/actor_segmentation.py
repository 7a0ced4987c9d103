"""Actor segmentation: a dense task for pretraining."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from devias.losses.base import LossTerm, pool_masks
from devias.structures import ClipBatch, Requirement, Roles, SlotPrediction


class ActorSegmentation(LossTerm):
    """Binary cross-entropy of the decoded masks with the ground truth, pooled to their size."""

    requires = frozenset({Requirement.GROUND_TRUTH_MASKS})

    def __init__(self, weight: float = 1.0, name: str = "actor_segmentation") -> None:
        super().__init__(weight, name)

    def __call__(self, prediction: SlotPrediction, roles: Roles, batch: ClipBatch) -> Tensor:
        """Raise `LossTermError` when the model does not decode masks or the data has none."""
        logits = self.require(prediction.segmentation_logits, "a model with a segmentation decoder")
        truth = self.require(batch.ground_truth_masks, "data with ground-truth masks")
        target = pool_masks(truth, (logits.shape[2], logits.shape[3]))
        return F.binary_cross_entropy_with_logits(logits.flatten(1).float(), target)
