"""The metrics of one evaluation set: what every video counts for, and their means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from devias.evaluation.composition import Reference, count_pairs
from devias.evaluation.predictions import Predictions
from devias.structures import UNKNOWN

Values = NDArray[np.float64]
"""`[M]` what each video of a set counts for in a metric; NaN for those it says nothing of."""


def video_metrics(
    predictions: Predictions,
    tasks: Sequence[str] = ("action", "scene"),
    reference: Reference | None = None,
) -> dict[str, Values]:
    """What every video counts for in each metric; the metrics are the means (`mean_metrics`).

    - `action_top1`, `action_top5`, `scene_top1`, `scene_top5`: 1 if the answer is right, of videos
      with a known label, for the tasks the model has classes of.
    - `slot_collision`: the share of views whose two roles fell on one slot.
    - `scene_bias`: 1 for the usual action of the scene, of videos that show another action.
    - `wrong_pair_seen`: 1 if training shows the answered action in the scene, of videos whose
      action is answered wrongly; `wrong_pair_frequent`: 1 if it does so often
      (`TrainingPairs.frequent_from`).
    - `mask_iou`, `pseudo_mask_iou`: see `Predictions`.

    Args:
        predictions: of M videos; those that could not be read count for nothing.
        tasks: what the set counts for.
        reference: what training shows; only for sets of unseen combinations.

    Returns:
        `{name: [M]}`, without the metrics no video is eligible for.
    """
    metrics: dict[str, Values] = {}
    for task in tasks:
        label, classes = getattr(predictions, task), getattr(predictions, f"{task}_classes")
        if not classes.shape[1]:
            continue
        for k in (1, 5):
            hit = (classes[:, :k] == label[:, None]).any(1)
            metrics[f"{task}_top{k}"] = _only(label != UNKNOWN, hit)
    metrics["slot_collision"] = predictions.slot_collision.astype(np.float64)
    if "action" in tasks and predictions.action_classes.shape[1]:
        metrics |= _composition_metrics(predictions, reference or Reference())
    metrics["mask_iou"] = predictions.mask_iou.astype(np.float64)
    metrics["pseudo_mask_iou"] = predictions.pseudo_mask_iou.astype(np.float64)
    counted = {name: _only(predictions.read, values) for name, values in metrics.items()}
    return {name: values for name, values in counted.items() if not np.isnan(values).all()}


def _composition_metrics(predictions: Predictions, reference: Reference) -> dict[str, Values]:
    """Whether wrong answers follow from the scene."""
    action, scene = predictions.action, predictions.scene
    answer = predictions.answers("action")
    known = (action != UNKNOWN) & (scene != UNKNOWN)
    metrics = {}
    if reference.usual_actions is not None:
        # An unknown scene borrows scene 0's action and is left out by `known`.
        usual = np.asarray(reference.usual_actions)[scene.clip(min=0)]
        eligible = known & (usual != UNKNOWN) & (action != usual)
        metrics["scene_bias"] = _only(eligible, answer == usual)
    if (pairs := reference.pairs) is not None:
        shown, wrong = pairs.shown(answer, scene), known & (answer != action)
        metrics["wrong_pair_seen"] = _only(wrong, shown > 0)
        metrics["wrong_pair_frequent"] = _only(wrong, shown > pairs.frequent_from)
    return metrics


def mean_metrics(values: Mapping[str, Values]) -> dict[str, float]:
    """`{metric: mean}` over the videos that each is about, given what `video_metrics` returns."""
    return {name: float(np.nanmean(of_videos)) for name, of_videos in values.items()}


def confusion(
    predictions: Predictions, num_rows: int, num_actions: int, rows: str = "action"
) -> NDArray[np.int64]:
    """How often each action, or each scene, was recognized as each action.

    With `rows="scene"` the scene bias shows as a pattern: the usual actions of the scenes are
    what a biased model answers, whatever is done there. Videos of unknown label are left out, and
    answers that are no action.

    Args:
        predictions: of the videos.
        num_rows: N_A for `rows="action"`, N_S for `rows="scene"`.
        num_actions: N_A.
        rows: the label that the rows stand for.

    Returns:
        `[num_rows, num_actions]` counts.
    """
    labels, answers = getattr(predictions, rows), predictions.answers("action")
    return count_pairs(labels, answers, num_rows, num_actions)


def _only(eligible: NDArray[np.bool_], values: NDArray[np.generic]) -> Values:
    """The values of the eligible videos, NaN for the others."""
    return np.where(eligible, values, np.nan).astype(np.float64)
