"""How well each action is recognized on seen and on unseen combinations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from devias.evaluation.protocol import Protocol
from devias.reporting.plots.style import ACTION, MUTED, SCENE, STYLE, fit_text, new_figure
from devias.reporting.predictions import SetPredictions
from devias.structures import UNKNOWN

MOST = 30
"""Classes that are drawn: those with the largest differences."""
NAME_WIDTH = 1.6
"""Inches."""

Accuracy = dict[str, dict[str, float]]
"""By class, then `seen` and `unseen`: the share of its videos that is recognized."""


def class_accuracy(protocol: Protocol, sets: Mapping[str, SetPredictions]) -> Accuracy:
    """Of the actions that both kinds of sets show.

    Args:
        protocol: of the sets.
        sets: what was answered.
    """
    hits: dict[str, dict[str, list[bool]]] = {}
    for s in protocol.sets:
        if s.combination is None or "action" not in s.tasks:
            continue
        answered = sets[s.name]
        labels, answers = answered.predictions.action, answered.predictions.answers("action")
        for place in np.flatnonzero((labels != UNKNOWN) & (answers != UNKNOWN)).tolist():
            name = answered.names["action"][place] or str(labels[place])
            own = hits.setdefault(name, {}).setdefault(s.combination, [])
            own.append(bool(labels[place] == answers[place]))
    return {
        name: {combination: float(np.mean(own)) for combination, own in by.items()}
        for name, by in hits.items()
        if len(by) == 2
    }


@rc_context(STYLE)
def class_figure(accuracy: Accuracy) -> Figure:
    """Draw a line a class from its unseen to its seen accuracy, the largest fall on top.

    Args:
        accuracy: as `class_accuracy`, of one class at least.
    """
    falls = sorted(accuracy.items(), key=lambda item: item[1]["unseen"] - item[1]["seen"])
    falls = falls[:MOST]
    height = 0.9 + 0.2 * len(falls)
    figure = new_figure(5.2, height)
    axes = figure.add_axes((0.36, 0.5 / height, 0.6, 0.2 * len(falls) / height))
    for place, (_, shares) in enumerate(falls):
        axes.plot([shares["unseen"], shares["seen"]], [place, place], color=MUTED, linewidth=1)
    for combination, color in (("seen", SCENE), ("unseen", ACTION)):
        places = [by[combination] for _, by in falls]
        axes.scatter(places, range(len(falls)), color=color, label=combination, zorder=3, s=22)
    axes.set(xlim=(-0.03, 1.03), ylim=(len(falls) - 0.4, -0.6), xticks=(0, 0.5, 1))
    axes.set_xticklabels(["0", "50", "100 %"])
    axes.set_yticks(range(len(falls)), [fit_text(name, NAME_WIDTH, 9.0) for name, _ in falls])
    axes.tick_params(length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    if len(falls) < len(accuracy):
        axes.set_title(f"the first {MOST} of {len(accuracy)} classes", loc="left", color=MUTED)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(-0.6, 1.0), handletextpad=0.2)
    return figure
