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


@recorded
class UnifiedHead(nn.Module):
    """One linear layer over actions and scenes alike; any slot may take either role.

    Args:
        dim: D of the slots.
        num_actions: N_A; 0 for a scene-only model.
        num_scenes: N_S; 0 for an action-only model.
        dropout: of the slots, in training.
        init_scale: factor on the initial weights.

    Raises:
        ValueError: there is no class to predict.
    """

    min_slots = 1

    def __init__(
        self,
        dim: int,
        num_actions: int,
        num_scenes: int,
        dropout: float = 0.0,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        _check_counts(num_actions, num_scenes, least=0)
        self.dim = dim
        self.num_actions = num_actions
        self.num_scenes = num_scenes
        self.dropout = nn.Dropout(dropout)
        self.fc = _linear(dim, num_actions + num_scenes, init_scale)

    def forward(self, slots: Tensor) -> Tensor:
        """Slots `[B, K, D]` → logits `[B, K, N_A + N_S]`, actions first."""
        return self.fc(self.dropout(slots))


@recorded
class SeparateHeads(nn.Module):
    """One linear layer for actions, read from slot 0, and one for scenes, read from slot 1.

    Each slot's other half holds `IMPOSSIBLE`, so the softmax over all classes is the softmax over
    the slot's own and everything that reads a unified head's logits reads these.

    Args: as `UnifiedHead`; both counts must be positive.
    """

    min_slots = 2

    def __init__(
        self,
        dim: int,
        num_actions: int,
        num_scenes: int,
        dropout: float = 0.0,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        _check_counts(num_actions, num_scenes, least=1)
        self.dim = dim
        self.num_actions = num_actions
        self.num_scenes = num_scenes
        self.dropout = nn.Dropout(dropout)
        self.action = _linear(dim, num_actions, init_scale)
        self.scene = _linear(dim, num_scenes, init_scale)

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


def _check_counts(num_actions: int, num_scenes: int, least: int) -> None:
    if min(num_actions, num_scenes) < least or num_actions + num_scenes == 0:
        kind = "separate heads" if least else "a head"
        raise ValueError(
            f"{kind} cannot predict {num_actions} action and {num_scenes} scene classes"
        )
