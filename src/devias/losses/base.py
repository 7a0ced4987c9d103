"""What every loss term is: a callback with a name, a weight and a value."""

from __future__ import annotations

from collections.abc import Set

import lightning.pytorch as pl
import torch.nn.functional as F
from torch import Tensor

from devias.errors import DeviasError
from devias.models.heads import IMPOSSIBLE
from devias.structures import UNKNOWN, ClipBatch, Requirement, Roles, SlotPrediction


class LossTermError(DeviasError, ValueError):
    """A term that the model or the data cannot serve; says which one, what it needs, what to do."""


class LossTerm(pl.Callback):
    """One term of the training loss: `loss += term.weight * term(prediction, roles, batch)`.

    A term is a Lightning callback, so it can use every hook (change its weight over time, log
    images, keep state in the checkpoint), and works without a Trainer as well.

    Args:
        weight: factor of the term in the total loss.
        name: its key in the configuration and in the log.
    """

    requires: Set[Requirement] = frozenset()
    """What the term looks at beside the model's answers and the labels; see `Requirement`."""

    def __init__(self, weight: float, name: str) -> None:
        self.weight = weight
        self.name = name

    @property
    def state_key(self) -> str:
        """Two terms of one class keep separate state, as long as their names differ."""
        return self._generate_state_key(name=self.name)

    def __call__(self, prediction: SlotPrediction, roles: Roles, batch: ClipBatch) -> Tensor:
        """The mean over the clips, unweighted: a scalar with gradient."""
        raise NotImplementedError

    def require(self, value: Tensor | None, what: str) -> Tensor:
        """Return `value`; raise `LossTermError` where the model or the data lacks it."""
        if value is None:
            raise LossTermError(f"{self.name} needs {what}; drop it with ~loss.{self.name}")
        return value

    def __repr__(self) -> str:
        return f"{type(self).__name__}(weight={self.weight}, name={self.name!r})"


def cross_entropy_of_known(logits: Tensor, target: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of `logits [B, C]` over the clips whose `target [B]` is not `UNKNOWN`.

    It is 0 where no target is known. Smoothing spreads that share of the target evenly over the
    classes that the slot can predict.
    """
    known = target != UNKNOWN
    total = F.cross_entropy(logits.float(), target, ignore_index=UNKNOWN, reduction="sum")
    if smoothing:
        possible = can_predict(logits)
        surprise = -logits.float().log_softmax(-1).where(possible, 0).sum(-1) / possible.sum(-1)
        total = (1 - smoothing) * total + smoothing * (surprise * known).sum()
    return total / known.sum().clamp(min=1)


def can_predict(logits: Tensor) -> Tensor:
    """Which classes a slot has a say in, bool as `logits`: of separate heads its own half."""
    return logits > IMPOSSIBLE / 2


def pool_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Average masks `[B, C, H, W]` over each cell of an h×w grid → `[B, C·h·w]`."""
    if masks.shape[-2:] != size:
        masks = F.adaptive_avg_pool2d(masks.float(), size)
    return masks.float().flatten(1)
