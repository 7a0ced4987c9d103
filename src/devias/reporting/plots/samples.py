"""Some clips of a batch, taken to the CPU with all that a figure shows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from devias.evaluation.views import VideoScores
from devias.structures import UNKNOWN, ClipBatch, Roles, SlotPrediction

Map = NDArray[np.float32]
"""`[h, w]` values in [0, 1], at any resolution."""


@dataclass
class ClipSample:
    """One clip, its labels, and what the model made of it."""

    frames: NDArray[np.uint8]
    """`[T, H, W, 3]`."""
    true_action: str | None
    """`None` where the label is unknown."""
    predicted_action: str | None
    """`None` where the model has no actions."""
    true_scene: str | None
    predicted_scene: str | None
    """`None` where the model has no scenes."""
    pseudo_mask: Map | None = None
    action_attention: Map | None = None
    """Of the action slot, the mean over heads and time."""
    scene_attention: Map | None = None
    decoded_mask: Map | None = None
    """Of the action slot."""
    note: str = ""
    """What else is to be said of it."""


@torch.no_grad()
def samples_from(
    batch: ClipBatch,
    prediction: SlotPrediction,
    roles: Roles,
    scores: VideoScores,
    *,
    action_names: Sequence[str],
    scene_names: Sequence[str],
    videos: Sequence[int],
) -> list[ClipSample]:
    """Take one view of some videos of a batch: of three crops, the central one.

    Args:
        batch: Of B videos in V views, normalized (or still `uint8`), with any pseudo masks.
        prediction: Of the `B·V` clips.
        roles: Of the `B·V` clips.
        scores: Of the B videos; the predictions shown are the ones that the metrics count.
        mean: `[3]` subtracted from the video in [0, 1] when it was normalized.
        std: `[3]` the video was divided by.
        action_names: `[N_A]`.
        scene_names: `[N_S]`.
        videos: Their positions in the batch.
    """
    views = [video * batch.num_views + min(1, batch.num_views - 1) for video in videos]
    clips = torch.tensor(views, dtype=torch.long, device=batch.video.device)
    chosen = Roles(action=roles.action[clips], scene=roles.scene[clips])
    frames = batch.video[clips].permute(0, 2, 3, 4, 1).cpu().numpy()
    # Over all logits a scene class can win the action.
    predicted_action = _answers(scores.action, [*action_names, *scene_names])
    predicted_scene = _answers(scores.scene, scene_names)

    pseudo = None if batch.clip_mask is None else _to_numpy(batch.clip_mask[clips])
    action_attention = scene_attention = decoded = None
    if prediction.attention is not None:
        # [B, heads, K, T'·h·w] → [B, K, h, w]
        attention = prediction.attention[clips].float().mean(1)
        attention = attention.unflatten(-1, prediction.grid).mean(2)
        action_attention = _to_numpy(Roles.pick(attention, chosen.action))
        scene_attention = _to_numpy(Roles.pick(attention, chosen.scene))
    if prediction.mask_logits is not None:
        masks = Roles.pick(prediction.mask_logits[clips], chosen.action).float().sigmoid()
        decoded = _to_numpy(masks.unflatten(-1, prediction.grid[1:]))

    return [
        ClipSample(
            frames=frames[i],
            true_action=_name(action_names, int(batch.action[video])),
            predicted_action=predicted_action[video],
            true_scene=_name(scene_names, int(batch.scene[video])),
            predicted_scene=predicted_scene[video],
            pseudo_mask=None if pseudo is None else pseudo[i],
            action_attention=None if action_attention is None else action_attention[i],
            scene_attention=None if scene_attention is None else scene_attention[i],
            decoded_mask=None if decoded is None else decoded[i],
        )
        for i, video in enumerate(videos)
    ]


def _to_numpy(maps: Tensor) -> Map:
    return maps.float().cpu().numpy()


def _answers(scores: Tensor, names: Sequence[str]) -> Sequence[str | None]:
    """The names of the most probable classes, for scores `[B, C]`."""
    if not scores.shape[-1]:
        return [None] * len(scores)
    return [names[label] for label in scores.argmax(-1).tolist()]


def _name(names: Sequence[str], label: int) -> str | None:
    return None if label == UNKNOWN else names[label]
