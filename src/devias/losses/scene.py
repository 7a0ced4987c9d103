"""Scene recognition: the scene half of L_DE."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from devias.losses.base import LossTerm, can_predict, cross_entropy_of_known
from devias.models.heads import IMPOSSIBLE
from devias.structures import UNKNOWN, ClipBatch, Requirement, Roles, SlotPrediction

Target = Literal["label", "distribution"]
Mean = Literal["clips", "classes"]


class SceneRecognition(LossTerm):
    """Teach the scene slot's N_A + N_S logits the scene.

    Args:
        target: `label` is the cross-entropy with the scene label (the paper); clips without one do
            not count. `distribution` is the KL divergence from the scene model's soft distribution
            (the released code).
        scale: factor of the divergence.
        mean: `clips` is the divergence's mean over the clips, `classes` that divided by N_A + N_S
            as well. The released DEVIAS weighs the second by 4000: it takes the mean clip by clip,
            and so over the classes.
    """

    def __init__(
        self,
        target: Target = "label",
        scale: float = 1.0,
        mean: Mean = "clips",
        weight: float = 1.0,
        name: str = "scene_recognition",
    ) -> None:
        super().__init__(weight, name)
        if target not in get_args(Target):
            raise ValueError(f"target must be label or distribution, not {target!r}")
        if mean not in get_args(Mean):
            raise ValueError(f"mean must be clips or classes, not {mean!r}")
        self.target = target
        self.mean = mean
        if target == "distribution":
            self.requires = frozenset({Requirement.SCENE_LOGITS})
        self.scale = scale

    def __call__(self, prediction: SlotPrediction, roles: Roles, batch: ClipBatch) -> Tensor:
        """Raise `LossTermError` when the head has no scene classes or the teacher is missing."""
        num_actions, classes = prediction.num_actions, prediction.logits.shape[-1]
        if num_actions == classes:
            self.require(None, "a head with scene classes")
        logits = Roles.pick(prediction.logits, roles.scene).float()
        if self.target == "label":
            scene = batch.per_clip(batch.scene)
            target = torch.where(scene == UNKNOWN, UNKNOWN, scene + num_actions)
            return cross_entropy_of_known(logits, target)
        teacher = self.require(
            batch.scene_logits, f"scene_logits (a scene model) or loss.{self.name}.target=label"
        )
        divergence = F.kl_div(
            logits.log_softmax(-1),
            _unified_distribution(teacher, can_predict(logits)),
            reduction="batchmean",
            log_target=True,
        )
        return self.scale * (divergence / classes if self.mean == "classes" else divergence)


def _unified_distribution(teacher: Tensor, possible: Tensor) -> Tensor:
    """The teacher's logits `[B, N_S]` as log-probabilities `[B, N_A + N_S]`.

    The action half gets the least logit of the batch minus 1, as in the released code: a small
    probability, not zero. Classes that the slot can't predict (`possible [B, N_A + N_S]`), as the
    actions of a scene head, get none.
    """
    floor = (teacher.min() - 1).expand(len(teacher), possible.shape[1] - teacher.shape[1])
    logits = torch.cat([floor, teacher], dim=1).float().where(possible, IMPOSSIBLE)
    return logits.log_softmax(-1)
