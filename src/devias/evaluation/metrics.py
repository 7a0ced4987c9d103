"""The metrics of one evaluation set, counted in videos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from devias.errors import DeviasError
from devias.evaluation.views import VideoScores
from devias.structures import UNKNOWN, ClipBatch, Roles, SlotPrediction

METRICS = (
    "action_top1",
    "action_top5",
    "scene_top1",
    "scene_top5",
    "slot_collision",
    "scene_bias",
    "mask_iou",
    "pseudo_mask_iou",
)
"""Everything `SetMetrics` can tell of a set, as fractions."""


class NonFiniteScoresError(DeviasError, ValueError):
    """Scores are NaN or infinite."""


class SetMetrics(Metric):
    """What a model does on one set: recognition, scene bias, slot roles, masks.

    `compute()` returns a dict of the metrics for which at least one video was eligible:

    - `action_top1`, `action_top5`, `scene_top1`, `scene_top5`: videos with a known label, for the
      tasks the model has classes of.
    - `slot_collision`: the share of clips (views) whose two roles fell on one slot, for models
      of both tasks and several slots.
    - `scene_bias`: the share of videos recognized as the action at home in their scene, among
      those that show another action. Needs `bias_aligned_action`.
    - `mask_iou`: the decoded mask of the action slot against the true silhouettes, and
      `pseudo_mask_iou`: the pseudo-human mask against them, so that one sees what the decoder
      adds to the labels that it learnt from. See `soft_iou`.

    The states are sums and counts, so ranks that hold distinct videos add up exactly.

    Args:
        bias_aligned_action: `[N_S]` the action each scene goes with in training (`UNKNOWN` for
            none). Give it only for sets of unseen combinations.
        tasks: what the set counts for, of `action` and `scene`.
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False

    sums: Tensor
    counts: Tensor
    non_finite: Tensor
    bias_aligned_action: Tensor | None

    def __init__(
        self,
        bias_aligned_action: Tensor | Sequence[int] | None = None,
        tasks: Sequence[str] = ("action", "scene"),
    ) -> None:
        super().__init__()
        self.tasks = tasks
        home = (
            None
            if bias_aligned_action is None
            else torch.as_tensor(bias_aligned_action, dtype=torch.long)
        )
        self.register_buffer("bias_aligned_action", home, persistent=False)
        self.add_state("sums", torch.zeros(len(METRICS)), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(len(METRICS)), dist_reduce_fx="sum")
        self.add_state("non_finite", torch.zeros(()), dist_reduce_fx="sum")

    def update(
        self,
        scores: VideoScores,
        batch: ClipBatch,
        prediction: SlotPrediction | None = None,
        roles: Roles | None = None,
    ) -> None:
        """Count B videos.

        Args:
            scores: Of the videos.
            batch: Labels `[B]` and masks `[B·V, …]`.
            prediction: Of the `B·V` clips; with `roles` it gives the decoded masks.
            roles: Of the `B·V` clips.
        """
        for task, probabilities, label in (
            ("action", scores.action, batch.action),
            ("scene", scores.scene, batch.scene),
        ):
            if task not in self.tasks or not probabilities.shape[-1]:
                continue
            known = label != UNKNOWN
            self._add(f"{task}_top1", hit_in_top_k(probabilities, label, 1), known)
            self._add(f"{task}_top5", hit_in_top_k(probabilities, label, 5), known)
            self.non_finite += (~probabilities.isfinite()).any(-1).sum()
        both_tasks = scores.action.shape[-1] and scores.scene.shape[-1]
        if both_tasks and (prediction is None or prediction.slots.shape[1] > 1):
            self._add("slot_collision", scores.collided, torch.ones_like(scores.collided))
        self._update_scene_bias(scores, batch)
        self._update_masks(batch, prediction, roles)

    def compute(self) -> dict[str, Tensor]:
        """`{name: fraction}`, without the metrics no video was eligible for.

        Raises:
            NonFiniteScoresError: Some scores were NaN or infinite, which has no place in a ranking.
        """
        if self.non_finite > 0:
            raise NonFiniteScoresError(f"{int(self.non_finite)} scores of videos are not finite")
        pairs = zip(METRICS, self.sums, self.counts, strict=True)
        return {name: total / count for name, total, count in pairs if count > 0}

    def _add(self, name: str, values: Tensor, eligible: Tensor) -> None:
        """Add `values [B]` of the `eligible [B]` videos; a mask, not a selection: no host sync."""
        place = METRICS.index(name)
        self.sums[place] += torch.where(eligible.bool(), values, 0).sum()
        self.counts[place] += eligible.sum()

    def _update_scene_bias(self, scores: VideoScores, batch: ClipBatch) -> None:
        if self.bias_aligned_action is None or "action" not in self.tasks:
            return
        if not scores.action.shape[-1]:
            return
        # An unknown scene borrows scene 0's action and is left out by `eligible`.
        home = self.bias_aligned_action[batch.scene.clamp(min=0)]
        eligible = (batch.scene != UNKNOWN) & (home != UNKNOWN)
        eligible &= (batch.action != UNKNOWN) & (batch.action != home)
        self._add("scene_bias", (scores.action.argmax(-1) == home).float(), eligible)

    def _update_masks(
        self, batch: ClipBatch, prediction: SlotPrediction | None, roles: Roles | None
    ) -> None:
        if batch.ground_truth_masks is None or prediction is None or roles is None:
            return
        size = prediction.grid[1:]
        truth = F.adaptive_avg_pool2d(batch.ground_truth_masks.float().mean(1), size).flatten(1)
        if prediction.mask_logits is not None:
            decoded = Roles.pick(prediction.mask_logits, roles.action).float().sigmoid()
            self._add_iou("mask_iou", decoded, truth, batch.num_views)
        if batch.clip_mask is not None:
            pseudo = F.adaptive_avg_pool2d(batch.clip_mask.float(), size).flatten(1)
            self._add_iou("pseudo_mask_iou", pseudo, truth, batch.num_views)

    def _add_iou(self, name: str, mask: Tensor, truth: Tensor, num_views: int) -> None:
        """Add the mean over those views of each video that show the actor."""
        shown = (truth.sum(-1) > 0).unflatten(0, (-1, num_views))
        iou = soft_iou(mask, truth).unflatten(0, (-1, num_views))
        views = shown.sum(-1)
        self._add(name, (iou * shown).sum(-1) / views.clamp(min=1), views > 0)


class ActionConfusion(Metric):
    """How often each action, or each scene, was recognized as each action.

    With `rows="scene"` the scene bias shows as a pattern: the actions at home in the scenes are
    what a biased model answers, whatever is done there. Videos of unknown label are left out, and
    all of a model without actions.

    `compute()` returns `[num_rows, num_actions]` counts.

    Args:
        num_actions: N_A.
        num_rows: N_A for `rows="action"`, N_S for `rows="scene"`.
        rows: The label that the rows stand for.
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False

    counts: Tensor

    def __init__(
        self, num_actions: int, num_rows: int, rows: Literal["action", "scene"] = "action"
    ) -> None:
        super().__init__()
        self.num_actions = num_actions
        self.rows = rows
        self.add_state("counts", torch.zeros(num_rows, num_actions), dist_reduce_fx="sum")

    def update(self, scores: VideoScores, batch: ClipBatch) -> None:
        """Count B videos by label and by the most probable of the actions."""
        if not scores.action.shape[-1]:
            return
        label = batch.action if self.rows == "action" else batch.scene
        predicted = scores.action[:, : self.num_actions].argmax(-1)
        is_row = label[:, None] == torch.arange(len(self.counts), device=label.device)
        is_column = predicted[:, None] == torch.arange(self.num_actions, device=label.device)
        # One-hot matrix product: the same on every run, which scattered additions on a GPU aren't.
        self.counts += is_row.float().T @ is_column.float()

    def compute(self) -> Tensor:
        """`[num_rows, num_actions]` counts."""
        return self.counts


def hit_in_top_k(scores: Tensor, label: Tensor, k: int) -> Tensor:
    """Whether the label is among the k highest scores.

    Args:
        scores: `[B, C]`, C ≥ the number of classes.
        label: `[B]`; a negative label is never hit.
        k: Cut to C where there are fewer classes.

    Returns:
        `[B]` float32, 1 or 0.
    """
    top = scores.topk(min(k, scores.shape[-1]), dim=-1).indices
    return (top == label[:, None]).any(-1).float()


def soft_iou(mask: Tensor, truth: Tensor) -> Tensor:
    """Intersection over union of masks with values in [0, 1], Σ min / Σ max (Ruzicka).

    On binary masks it is the ordinary IoU. Masks are compared as the decoder is trained: averaged
    over time and pooled to the token grid, where a moving limb thinner than a patch never covers
    half of anything, so that a threshold of 0.5 would compare empty masks.

    Args:
        mask: `[B, N]`.
        truth: `[B, N]`.

    Returns:
        `[B]`; 0 where both are empty.
    """
    union = torch.maximum(mask, truth).sum(-1)
    return torch.minimum(mask, truth).sum(-1) / union.clamp(min=torch.finfo(union.dtype).tiny)
