"""Classification heads: from slots to action and scene logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.init import trunc_normal_

from devias.models.architecture import recorded

IMPOSSIBLE = -1e4
"""The logit of a class that a slot does not predict: its probability is exactly 0 in float32, and
the value is finite in half precision."""


class _Head(nn.Module):
    """What both heads share: class counts, dropout, and the first weights of their layers.

    Args:
        dim: D of the slots.
        num_actions: N_A.
        num_scenes: N_S.
        dropout: of the slots, in training.
        init_scale: factor on the initial weights.

    Raises:
        ValueError: there are fewer classes than the head can do with.
    """

    min_slots: int
    """Slots that the head reads at least."""
    min_classes: int
    """Classes that either task must have; of both together, one."""

    def __init__(
        self,
        dim: int,
        num_actions: int,
        num_scenes: int,
        dropout: float = 0.0,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if min(num_actions, num_scenes) < self.min_classes or num_actions + num_scenes == 0:
            kind = "separate heads" if self.min_classes else "a head"
            raise ValueError(
                f"{kind} cannot predict {num_actions} action and {num_scenes} scene classes"
            )
        self.dim = dim
        self.num_actions = num_actions
        self.num_scenes = num_scenes
        self.dropout = nn.Dropout(dropout)
        self.add_layers(init_scale)

    def add_layers(self, init_scale: float) -> None:
        raise NotImplementedError


@recorded
class UnifiedHead(_Head):
    """One linear layer over actions and scenes alike; any slot may take either role.

    Args: see `_Head`; one of the counts may be 0, for a model of one task.
    """

    min_slots = 1
    min_classes = 0

    def add_layers(self, init_scale: float) -> None:
        """One."""
        self.fc = _linear(self.dim, self.num_actions + self.num_scenes, init_scale)

    def forward(self, slots: Tensor) -> Tensor:
        """Slots `[B, K, D]` → logits `[B, K, N_A + N_S]`, actions first."""
        return self.fc(self.dropout(slots))


@recorded
class SeparateHeads(_Head):
    """One linear layer for actions, read from slot 0, and one for scenes, read from slot 1.

    Each slot's other half holds `IMPOSSIBLE`, so the softmax over all classes is the softmax over
    the slot's own and everything that reads a unified head's logits reads these.

    Args: see `_Head`; both counts must be positive.
    """

    min_slots = 2
    min_classes = 1

    def add_layers(self, init_scale: float) -> None:
        """One a task."""
        self.action = _linear(self.dim, self.num_actions, init_scale)
        self.scene = _linear(self.dim, self.num_scenes, init_scale)

    def forward(self, slots: Tensor) -> Tensor:
        """Slots `[B, 2, D]` → logits `[B, 2, N_A + N_S]`."""
        action, scene = self.dropout(slots).unbind(1)
        action = F.pad(self.action(action), (0, self.num_scenes), value=IMPOSSIBLE)
        scene = F.pad(self.scene(scene), (self.num_actions, 0), value=IMPOSSIBLE)
        return torch.stack([action, scene], dim=1)


def _linear(dim: int, classes: int, init_scale: float) -> nn.Linear:
    layer = nn.Linear(dim, classes)
    trunc_normal_(layer.weight, std=0.02)
    with torch.no_grad():
        layer.weight.mul_(init_scale)
    nn.init.zeros_(layer.bias)
    return layer
