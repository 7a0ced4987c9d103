"""A trained model on other actions: its action and scene slot under a new classifier (Table 5)."""

from __future__ import annotations

from typing import Literal, Self, get_args

import torch
from torch import Tensor, nn
from torch.nn.init import trunc_normal_

from devias.models.architecture import recorded
from devias.models.backbone import VideoViT
from devias.models.matching import Assignment, SlotMatcher
from devias.structures import Roles, SlotPrediction

Features = Literal["action", "scene", "concat", "weighted"]
Projection = Literal["none", "half"]


@recorded
class SlotClassifier(nn.Module):
    """From the action and the scene slot to the logits of new actions.

    Args:
        dim: D of the slots.
        num_actions: N_A of the new data.
        features: which slots it looks at: one, or both, `weighted` by how much either matters.
        emphasis: the action slot's share of the weights, from 0 to 1; `None` learns it, from 1/2.
            For `weighted` alone.
        projection: `none` puts each slot under a layer norm of its own. `half` is the released
            code's: one linear layer to D/2 and its layer norm for both slots, and a ReLU.
        input_norm: a layer norm over what both slots make together.
        dropout: before the last layer.

    Raises:
        ValueError: unknown features or projection, or an emphasis that cannot be.
    """

    num_scenes = 0

    def __init__(
        self,
        dim: int,
        num_actions: int,
        features: Features = "concat",
        emphasis: float | None = None,
        projection: Projection = "none",
        input_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value, choices in (
            ("features", features, Features),
            ("projection", projection, Projection),
        ):
            if value not in get_args(choices):
                known = ", ".join(get_args(choices))
                raise ValueError(f"{name} must be one of {known}, not {value!r}")
        if emphasis is not None and (features != "weighted" or not 0 <= emphasis <= 1):
            raise ValueError(
                f"emphasis is a share from 0 to 1 for features=weighted, not {emphasis} for "
                f"{features}"
            )
        if num_actions < 1:
            raise ValueError(f"a classifier cannot predict {num_actions} actions")
        self.dim, self.num_actions = dim, num_actions
        self.projection, self.emphasis = projection, emphasis
        self.roles = [features] if features in ("action", "scene") else ["action", "scene"]
        self.weighted = features == "weighted"
        if self.weighted and emphasis is None:
            self.emphasis_logit = nn.Parameter(torch.zeros(1))  # a vector, which does not decay
        width = dim if projection == "none" else dim // 2
        if projection == "half":
            self.to_half = _linear(dim, width)
            self.norm_half = nn.LayerNorm(width)
        else:
            for role in self.roles:
                self.add_module(f"norm_{role}", nn.LayerNorm(dim))
        self.width = width * len(self.roles)
        self.norm_joined = nn.LayerNorm(self.width) if input_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.fc = _linear(self.width, num_actions)

    def forward(self, action: Tensor, scene: Tensor) -> tuple[Tensor, Tensor]:
        """Slots `[B, D]` each → the joined feature `[B, F]` and logits `[B, N_A]`."""
        slots = {"action": action, "scene": scene}
        weights = self.weights() if self.weighted else {"action": 1, "scene": 1}
        parts = [weights[role] * self._normalized(role, slots[role]) for role in self.roles]
        feature = self.norm_joined(torch.cat(parts, dim=1))
        if self.projection == "half":
            feature = feature.relu()
        return feature, self.fc(self.dropout(feature))

    def weights(self) -> dict[str, Tensor | float]:
        """The factors of both slots; they add up to 2."""
        share = self.emphasis_logit.sigmoid() if self.emphasis is None else self.emphasis
        return {"action": 2 * share, "scene": 2 * (1 - share)}

    def _normalized(self, role: str, slot: Tensor) -> Tensor:
        if self.projection == "half":
            return self.norm_half(self.to_half(slot))
        return self.get_submodule(f"norm_{role}")(slot)


@recorded
class TransferModel(nn.Module):
    """A trained model whose slots a new classifier reads.

    The source's own head stays as it was and goes on giving the roles, over the classes that it was
    trained for. What is predicted is one slot, the classifier's feature, of actions alone.

    Args:
        source: any model that returns a `SlotPrediction`.
        classifier: of the new actions.
        assignment: of slots to roles at inference; see `SlotMatcher`.
        linear_probe: train the classifier alone; the source stays in evaluation mode.
    """

    def __init__(
        self,
        source: nn.Module,
        classifier: SlotClassifier,
        assignment: Assignment = "hungarian",
        linear_probe: bool = False,
    ) -> None:
        super().__init__()
        self.source = source
        self.classifier = classifier
        self.matcher = SlotMatcher(assignment=assignment)
        self.linear_probe = linear_probe
        self.frozen.requires_grad_(False)

    def forward(self, video: Tensor) -> SlotPrediction:
        """Predict from normalized clips `[B, 3, T, H, W]`."""
        prediction = self.source(video)
        roles = self.matcher.infer(prediction)
        feature, logits = self.classifier(
            Roles.pick(prediction.slots, roles.action), Roles.pick(prediction.slots, roles.scene)
        )
        return SlotPrediction(
            slots=feature[:, None],
            logits=logits[:, None],
            num_actions=self.classifier.num_actions,
            grid=prediction.grid,
        )

    def train(self, mode: bool = True) -> Self:
        """What is not trained stays in evaluation mode: no dropout moves the roles."""
        super().train(mode)
        self.frozen.eval()
        return self

    @property
    def frozen(self) -> nn.Module:
        """What is not trained."""
        return self.source if self.linear_probe else self.source.get_submodule("head")

    @property
    def backbone(self) -> VideoViT:
        """The source's."""
        return self.source.backbone  # type: ignore[return-value]

    @property
    def slot_attention(self) -> nn.Module | None:
        """The source's, which has a learning rate of its own; `None` where it has none."""
        return getattr(self.source, "slot_attention", None)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay must leave alone (timm's protocol)."""
        return {f"source.{name}" for name in self.source.no_weight_decay()}  # type: ignore[operator]

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """The source's layers for layer-wise learning-rate decay; the classifier is the last."""
        groups = self.source.group_matcher(coarse)  # type: ignore[operator]
        return {layer: pattern.replace("^", r"^source\.", 1) for layer, pattern in groups.items()}


def _linear(dim: int, out: int) -> nn.Linear:
    layer = nn.Linear(dim, out)
    trunc_normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer
