"""Which actions are answered in which scenes: one in each, if a model looks at the scene alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from devias.evaluation.protocol import Protocol
from devias.reporting.predictions import SetPredictions
from devias.structures import UNKNOWN

MOST = 20
"""Scenes and answers that are told apart: the most frequent ones."""
OTHERS = "other actions"


@dataclass
class AnswersByScene:
    """Counts of videos, as `confusion_figure` draws them."""

    counts: NDArray[np.int64]
    """`[S, A]` videos of a scene that were answered by an action."""
    scenes: list[str]
    actions: list[str]
    usual: list[int]
    """`[S]` the column of the action that training mostly shows in the scene; −1 for none."""


def answers_by_scene(
    protocol: Protocol, sets: Mapping[str, SetPredictions]
) -> AnswersByScene | None:
    """Of the videos of unseen combinations, or of all where no set has such.

    Args:
        protocol: of the sets.
        sets: what was answered.

    Returns:
        `None` where no video with a known scene was asked for its action.
    """
    asked = [s for s in protocol.sets if "action" in s.tasks and not s.lower_is_better]
    unseen = [s for s in asked if s.combination == "unseen"]
    pairs: Counter[tuple[str, str]] = Counter()
    usual: dict[str, str] = {}
    for s in unseen or asked:
        names, predictions = sets[s.name].names, sets[s.name].predictions
        known = (predictions.scene != UNKNOWN) & (predictions.answers("action") != UNKNOWN)
        for place in np.flatnonzero(known).tolist():
            scene = names["scene"][place] or str(predictions.scene[place])
            pairs[scene, names["predicted_action"][place] or "?"] += 1
            if home := names["usual_action"][place]:
                usual[scene] = home
    return _counted(pairs, usual) if pairs else None


def _counted(pairs: Counter[tuple[str, str]], usual: Mapping[str, str]) -> AnswersByScene:
    totals: list[Counter[str]] = [Counter(), Counter()]
    for pair, count in pairs.items():
        for total, name in zip(totals, pair, strict=True):
            total[name] += count
    scenes, actions = ([name for name, _ in total.most_common(MOST)] for total in totals)
    columns = actions + [OTHERS] * (len(totals[1]) > MOST)
    # Scenes of one usual action stand together, in the order of the columns.
    places = {name: place for place, name in enumerate(actions)}
    scenes.sort(key=lambda scene: (places.get(usual.get(scene, ""), MOST), scene))
    counts = np.zeros((len(scenes), len(columns)), np.int64)
    rows = {name: place for place, name in enumerate(scenes)}
    for (scene, action), count in pairs.items():
        if scene in rows:
            counts[rows[scene], places.get(action, len(columns) - 1)] += count
    return AnswersByScene(
        counts, scenes, columns, [places.get(usual.get(scene, ""), -1) for scene in scenes]
    )
