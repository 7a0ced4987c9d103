"""What a model answered on the videos of a set: a row a video, gathered over all ranks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, distributed

from devias.errors import DeviasError
from devias.evaluation.views import ActionSpace, VideoScores, score_videos
from devias.structures import UNKNOWN, ClipBatch, Roles, SlotPrediction

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

KEPT = 5
"""Highest scores of a video that are kept at least: top-5 accuracy is computed from them."""


class RepeatedVideoError(DeviasError, RuntimeError):
    """A video of a set was evaluated twice."""


class NonFiniteScoresError(DeviasError, ValueError):
    """Scores are NaN or infinite."""


@dataclass
class Predictions:
    """The answers on M videos of a set, of V views each, in the order of the set's records.

    Of a video that could not be read (`error`) only labels are known: its classes and slots are
    `UNKNOWN`, its other values NaN. A model without classes of a task has k = 0 of them.
    """

    index: Ints
    """`[M]` position in the set's records, rising."""
    error: NDArray[np.str_]
    """`[M]` why the video could not be read; empty where it was."""
    action: Ints
    """`[M]` label, or `UNKNOWN`."""
    scene: Ints
    """`[M]` likewise."""
    action_classes: Ints
    """`[M, k]` the most probable classes, the first being the answer; those of scenes come behind
    the actions where the action space is `"all"`."""
    action_scores: Floats
    """`[M, k]` their probabilities, averaged over the views."""
    scene_classes: Ints
    """`[M, k]`."""
    scene_scores: Floats
    """`[M, k]`."""
    action_agreement: Floats
    """`[M]` share of the views that answer by themselves what the video is answered with."""
    action_spread: Floats
    """`[M]` standard deviation over the views of the answer's probability."""
    scene_agreement: Floats
    """`[M]`."""
    scene_spread: Floats
    """`[M]`."""
    action_slots: Ints
    """`[M, V]` the slot that took the role in each view."""
    scene_slots: Ints
    """`[M, V]`."""
    slot_collision: Floats
    """`[M]` share of the views in which one slot took both roles; NaN for models of one task or
    one slot."""
    mask_iou: Floats
    """`[M]` of the action slot's decoded mask against the ground truth; NaN without either."""
    pseudo_mask_iou: Floats
    """`[M]` of the pseudo-human mask, likewise."""

    def __len__(self) -> int:
        return len(self.index)

    @property
    def read(self) -> NDArray[np.bool_]:
        """`[M]` which videos could be read."""
        return self.error == ""

    @property
    def skipped(self) -> list[str]:
        """Why videos could not be read, one message each."""
        return [str(message) for message in self.error[~self.read]]

    def answers(self, task: str) -> Ints:
        """`[M]` what the videos are answered with, `UNKNOWN` where there is no answer."""
        classes: Ints = getattr(self, f"{task}_classes")
        return classes[:, 0] if classes.shape[1] else np.full(len(self), UNKNOWN)


def video_rows(
    prediction: SlotPrediction,
    roles: Roles,
    scores: VideoScores,
    batch: ClipBatch,
    kept: int = KEPT,
) -> dict[str, Tensor]:
    """The fields of `Predictions` of B videos but their errors, on their device and without a sync.

    Args:
        prediction: of the `B·V` clips.
        roles: likewise.
        scores: of the B videos.
        batch: labels `[B]` and masks `[B·V, …]`.
        kept: k, the highest scores to keep; all where there are fewer classes.
    """
    rows = {"index": batch.index, "action": batch.action, "scene": batch.scene}
    for task, views in (("action", scores.action_views), ("scene", scores.scene_views)):
        rows |= {f"{task}_{name}": value for name, value in _best(views, kept).items()}
    action_slots = roles.action.unflatten(0, (-1, batch.num_views))
    scene_slots = roles.scene.unflatten(0, (-1, batch.num_views))
    collision = (action_slots == scene_slots).float().mean(1)
    if not (scores.action.shape[1] and scores.scene.shape[1] and prediction.slots.shape[1] > 1):
        collision = torch.full_like(collision, torch.nan)
    rows |= {
        "action_slots": action_slots,
        "scene_slots": scene_slots,
        "slot_collision": collision,
    }
    return rows | _mask_rows(prediction, roles, batch)


def _best(views: Tensor, kept: int) -> dict[str, Tensor]:
    """Of probabilities `[B, V, C]` the most probable classes and how far the views agree."""
    mean = views.mean(1)
    # Stable, so that of equal scores the lowest class wins, as with `argmax`.
    order = mean.sort(stable=True, dim=-1, descending=True).indices[:, :kept]
    if not views.shape[-1]:
        nothing = views.new_full((len(views),), torch.nan)
        return {"classes": order, "scores": mean, "agreement": nothing, "spread": nothing}
    answer = order[:, :1]
    of_answer = views.gather(2, answer[:, None].expand(-1, views.shape[1], -1)).squeeze(2)
    return {
        "classes": order,
        "scores": mean.gather(1, order),
        "agreement": (views.argmax(-1) == answer).float().mean(1),
        "spread": of_answer.std(1, correction=0),
    }


def _mask_rows(prediction: SlotPrediction, roles: Roles, batch: ClipBatch) -> dict[str, Tensor]:
    """The IoU of decoded and pseudo masks with the ground truth, NaN where one is missing."""
    nothing = torch.full((len(batch),), torch.nan, device=batch.index.device)
    rows = {"mask_iou": nothing, "pseudo_mask_iou": nothing}
    if batch.ground_truth_masks is None:
        return rows
    size = prediction.grid[1:]
    truth = F.adaptive_avg_pool2d(batch.ground_truth_masks.float().mean(1), size).flatten(1)
    if prediction.mask_logits is not None:
        decoded = Roles.pick(prediction.mask_logits, roles.action).float().sigmoid()
        rows["mask_iou"] = _video_iou(decoded, truth, batch.num_views)
    if batch.clip_mask is not None:
        pseudo = F.adaptive_avg_pool2d(batch.clip_mask.float(), size).flatten(1)
        rows["pseudo_mask_iou"] = _video_iou(pseudo, truth, batch.num_views)
    return rows


def _video_iou(mask: Tensor, truth: Tensor, num_views: int) -> Tensor:
    """`[B]` the mean over those views of each video that show the actor; NaN if none does."""
    shown = (truth.sum(-1) > 0).unflatten(0, (-1, num_views))
    iou = soft_iou(mask, truth).unflatten(0, (-1, num_views))
    return (iou * shown).sum(-1) / shown.sum(-1)


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


class Recorder:
    """Collects the rows of one set, batch by batch, and gathers them over all ranks.

    Args:
        action_space: see `ActionSpace`.
        kept: scores to keep of every video.
    """

    def __init__(self, action_space: ActionSpace = "half", kept: int = KEPT) -> None:
        self.action_space: ActionSpace = action_space
        self.kept = kept
        self._batches: list[dict[str, Tensor]] = []
        self._errors: dict[int, str] = {}

    def add(self, prediction: SlotPrediction, roles: Roles, batch: ClipBatch) -> VideoScores:
        """Score the videos of a batch, which stay on their device, and return their scores."""
        scores = score_videos(prediction, roles, batch.num_views, self.action_space)
        self._batches.append(video_rows(prediction, roles, scores, batch, self.kept))
        self._errors |= batch.errors
        return scores

    def gather(self) -> Predictions:
        """What all ranks have recorded, in the order of the records, and forget it.

        All ranks must call this together. The result depends neither on their number nor on the
        batches.

        Raises:
            RepeatedVideoError: a video was evaluated twice.
            NonFiniteScoresError: some scores are NaN or infinite, which has no place in a ranking.
        """
        own = {
            name: torch.cat([rows[name] for rows in self._batches]).cpu().numpy()
            for name in (self._batches[0] if self._batches else ())
        }
        parts = _all_ranks((own, self._errors))
        self._batches, self._errors = [], {}
        errors = {index: message for _, part in parts for index, message in part.items()}
        return join_rows([rows for rows, _ in parts if rows], errors)


def join_rows(
    parts: Sequence[Mapping[str, NDArray[Any]]], errors: Mapping[int, str]
) -> Predictions:
    """The rows of all ranks as one, in the order of the records; see `Recorder.gather`.

    Args:
        parts: the fields of `Predictions` but for the errors, at least one.
        errors: why videos could not be read, by index.
    """
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(columns["index"], kind="stable")
    columns = {name: values[order] for name, values in columns.items()}
    index = columns["index"]
    if len(twice := index[1:][np.diff(index) == 0]):
        raise RepeatedVideoError(f"video {twice[0]} of a set was evaluated twice")
    error = np.array([errors.get(place, "") for place in index.tolist()], dtype=str)
    _blank(columns, error != "")
    bad = sum(
        int((~np.isfinite(columns[name][error == ""])).any(1).sum())
        for name in ("action_scores", "scene_scores")
    )
    if bad:
        raise NonFiniteScoresError(f"{bad} scores of videos are not finite")
    return Predictions(error=error, **columns)


def _blank(columns: Mapping[str, NDArray[Any]], rows: NDArray[np.bool_]) -> None:
    """Forget what was answered on videos that could not be read."""
    for name, values in columns.items():
        if name not in ("index", "action", "scene"):
            values[rows] = np.nan if values.dtype.kind == "f" else UNKNOWN


def _all_ranks(own: Any) -> Iterable[Any]:
    """The plain values of every rank, in their order."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [own]
    parts = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, own)
    return parts


FIELDS = tuple(field.name for field in fields(Predictions))
"""The columns of `Predictions`."""
