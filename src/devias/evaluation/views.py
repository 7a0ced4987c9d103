"""From the predictions of a video's views to the scores of the video.

The paper tests every video on several views (2 temporal × 3 spatial) and averages the class
probabilities. Roles are settled before that, view by view: each view picks its own action and
scene slot, so a slot that changes its role between two views does no harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from devias.structures import Roles, SlotPrediction

ActionSpace = Literal["half", "all"]
"""Where the arg-max of the action is taken: over the head's action half, as in the paper, or over
all N_A + N_S logits, as in the released code, where a scene class can win and counts as wrong."""


@dataclass
class VideoScores:
    """The scores of B videos, each the mean over its views."""

    action: Tensor
    """`[B, N_A]` probabilities of the action slots, or `[B, N_A + N_S]` in the space `"all"` if
    the model has actions."""
    scene: Tensor
    """`[B, N_S]` probabilities of the scene slots over the scene half, in either space."""
    collided: Tensor
    """`[B]` share of the video's views in which one slot took both roles."""


def average_views(logits: Tensor, num_views: int) -> Tensor:
    """Average the class probabilities over the views of each video.

    Args:
        logits: `[B·V, C]`, the views of a video being neighbors.
        num_views: V.

    Returns:
        `[B, C]` probabilities in float32 (or float64 for float64 logits).

    Raises:
        ValueError: The rows don't divide by `num_views`.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return _mean_over_views(logits.softmax(-1, dtype=dtype), num_views)


def score_videos(
    prediction: SlotPrediction,
    roles: Roles,
    num_views: int = 1,
    action_space: ActionSpace = "half",
) -> VideoScores:
    """Score B videos of V views from the slots chosen in every view.

    Args:
        prediction: Of the `B·V` clips.
        roles: Of the `B·V` clips, decided per view.
        num_views: V.
        action_space: See `ActionSpace`; the scene half alone is scored for scenes in both.

    Raises:
        ValueError: The clips don't divide by `num_views`, or the action space is unknown.
    """
    if action_space not in ("half", "all"):
        raise ValueError(f"action_space is {action_space!r}; choose 'half' or 'all'")
    half = action_space == "half" or not prediction.num_actions
    candidates = prediction.action_logits if half else prediction.logits
    return VideoScores(
        action=average_views(Roles.pick(candidates, roles.action), num_views),
        scene=average_views(Roles.pick(prediction.scene_logits, roles.scene), num_views),
        collided=_mean_over_views((roles.action == roles.scene).float(), num_views),
    )


def _mean_over_views(values: Tensor, num_views: int) -> Tensor:
    """`[B·V, …]` → `[B, …]`."""
    if num_views < 1 or len(values) % num_views:
        raise ValueError(f"{len(values)} clips can't be grouped into videos of {num_views} views")
    return values.unflatten(0, (-1, num_views)).mean(1)
