"""Learning curves of several runs, from their CSV metrics."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from devias.reporting.plots.style import FAINT, MUTED, STYLE, new_figure

COLORS = ("#3a8fd0", "#cc4e00", "#00856a", "#c164a9", "#e69f00", "#1f2933", "#6b7280")
"""Of the rows of a table; all seeds of a row have one."""

Curve = list[tuple[float, float]]
"""Steps and values."""


def read_curves(run: Path, metrics: Sequence[str]) -> dict[str, Curve]:
    """What a run's `metrics.csv` says of some metrics; those that it lacks are left out.

    Values that are not finite are passed over. Of steps that an interrupted run took again, the
    latest attempt counts. A run without the file has no curves.
    """
    curves: dict[str, dict[float, float]] = {}
    paths = run.glob("metrics/**/metrics.csv")
    for path in sorted(paths, key=lambda path: (len(str(path)), path)):  # version_10 after _9
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                for metric in metrics:
                    step, value = _number(row.get("step")), _number(row.get(metric))
                    if math.isfinite(step) and math.isfinite(value):
                        curves.setdefault(metric, {})[step] = value
    return {metric: sorted(points.items()) for metric, points in curves.items()}


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


@rc_context(STYLE)
def curves_figure(curves: Mapping[str, Sequence[Curve]], title: str) -> Figure:
    """Draw one metric of several runs over training.

    Args:
        curves: by row of the table, one a seed.
        title: of the metric.
    """
    figure = new_figure(5.2, 3.0)
    axes = figure.add_subplot()
    for place, (name, seeds) in enumerate(curves.items()):
        color = COLORS[place % len(COLORS)]
        for number, curve in enumerate(seeds):
            steps, values = zip(*curve, strict=True)
            alone = "o" if len(steps) == 1 else None  # no line leads to it
            label = "" if number else name
            axes.plot(steps, values, color=color, label=label, linewidth=1.4, marker=alone)
    axes.set_xlabel("step", color=MUTED)
    axes.set_title(title, loc="left", weight="bold")
    axes.grid(color=FAINT, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if curves:
        axes.legend(frameon=False)
    figure.tight_layout()
    return figure
