"""From the predictions of a video's views to the scores of the video.

The paper tests every video on several views (2 temporal × 3 spatial) and averages the class
probabilities. Roles are settled before that, view by view: each view picks its own action and
scene slot, so a slot that changes its role between two views does no harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from devias.structures import Roles, SlotPrediction

ActionSpace = Literal["half", "all"]
"""Where the arg-max of the action is taken: over the head's action half, as in the paper, or over
all N_A + N_S logits, as in the released code, where a scene class can win and counts as wrong."""


@dataclass
class VideoScores:
    """The scores of B videos, each the mean over its V views."""

    action_views: Tensor
    """`[B, V, N_A]` probabilities of each view's action slot, or `[B, V, N_A + N_S]` in the space
    `"all"` if the model has actions."""
    scene_views: Tensor
    """`[B, V, N_S]` probabilities of each view's scene slot over the scene half, in either
    space."""

    @cached_property
    def action(self) -> Tensor:
        """`[B, N_A]`, or `[B, N_A + N_S]`."""
        return self.action_views.mean(1)

    @cached_property
    def scene(self) -> Tensor:
        """`[B, N_S]`."""
        return self.scene_views.mean(1)


def view_probabilities(logits: Tensor, num_views: int) -> Tensor:
    """The class probabilities of every view.

    Args:
        logits: `[B·V, C]`, the views of a video being neighbors.
        num_views: V.

    Returns:
        `[B, V, C]` in float32 (or float64 for float64 logits).

    Raises:
        ValueError: The rows don't divide by `num_views`.
    """
    if num_views < 1 or len(logits) % num_views:
        raise ValueError(f"{len(logits)} clips can't be grouped into videos of {num_views} views")
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return logits.softmax(-1, dtype=dtype).unflatten(0, (-1, num_views))


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
        action_views=view_probabilities(Roles.pick(candidates, roles.action), num_views),
        scene_views=view_probabilities(Roles.pick(prediction.scene_logits, roles.scene), num_views),
    )
