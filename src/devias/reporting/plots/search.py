"""A search in pictures: how the best value grew, and which values of each parameter are good."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from devias.reporting.plots.style import (
    FAINT,
    INK,
    MUTED,
    RIGHT,
    SCENE,
    STYLE,
    WRONG,
    fit_text,
    new_figure,
)
from devias.reporting.search import SearchResults, SearchTrial, short_names

COLUMNS = 3
WIDTH, HEIGHT = 3.0, 2.5
"""Of a panel, in inches."""


@rc_context(STYLE)
def search_figure(results: SearchResults) -> Figure:
    """Draw the value of every trial over its number and over each parameter.

    Trials without a value are left out; pruned ones are hollow, and the best is marked.

    Args:
        results: of a search, with one trial or more that has a value.
    """
    trials = [t for t in results.trials if t.value is not None and math.isfinite(t.value)]
    keys = results.keys
    count = len(keys) + 1
    rows = math.ceil(count / COLUMNS)
    figure = new_figure(WIDTH * min(count, COLUMNS), HEIGHT * rows + 0.5)
    grid = figure.subplots(rows, min(count, COLUMNS), squeeze=False)
    panels = [axes for line in grid for axes in line]
    _history(panels[0], trials, results)
    for axes, key, name in zip(panels[1:], keys, short_names(keys), strict=False):
        _parameter(axes, trials, key, results)
        axes.set_xlabel(fit_text(name, WIDTH - 0.6, 9.0), color=MUTED)
    for place, axes in enumerate(panels[:count]):
        if place % COLUMNS == 0:
            axes.set_ylabel(results.metric, color=MUTED)
        axes.grid(color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[count:]:
        axes.set_visible(False)
    height = HEIGHT * rows + 0.5
    figure.text(
        0.1 / (WIDTH * min(count, COLUMNS)), 1 - 0.2 / height,
        fit_text(f"Search {results.name}", WIDTH * min(count, COLUMNS) - 0.2, 11, "bold"),
        size=11, weight="bold", va="center",
    )  # fmt: skip
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.4 / height))
    return figure


def _history(axes: Axes, trials: Sequence[SearchTrial], results: SearchResults) -> None:
    """Over the trials' numbers, with the best so far as a line."""
    _points(axes, [(float(t.number), t) for t in trials], results)
    best = max if results.maximize else min
    numbers: list[int] = []
    values: list[float] = []
    for trial in sorted(trials, key=lambda t: t.number):
        if trial.state == "complete" and trial.value is not None:
            numbers.append(trial.number)
            values.append(best([*values[-1:], trial.value]))
    axes.step(numbers, values, where="post", color=RIGHT, linewidth=1.4, label="best so far")
    axes.set_xlabel("trial", color=MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if any(t.state == "pruned" for t in trials):
        axes.plot([], [], "o", mfc="none", color=SCENE, markersize=4, label="pruned")
    if numbers:
        axes.legend(frameon=False, fontsize=7.5)


def _parameter(axes: Axes, trials: Sequence[SearchTrial], key: str, results: SearchResults) -> None:
    """Over the values of one parameter; those that are no numbers stand side by side."""
    values = [t.parameters.get(key) for t in trials]
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(values):
        places = [float(v) for v in numbers]
        if min(places, default=0) > 0 and max(places) / min(places) > 20:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{place:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        texts = sorted({str(v) for v in values})
        places = [float(texts.index(str(v))) for v in values]
        axes.set_xticks(range(len(texts)), [fit_text(t, WIDTH / len(texts), 9.0) for t in texts])
        axes.set_xlim(-0.5, len(texts) - 0.5)
    _points(axes, list(zip(places, trials, strict=True)), results)


def _points(
    axes: Axes, points: Sequence[tuple[float, SearchTrial]], results: SearchResults
) -> None:
    best = results.best
    for place, trial in points:
        value = trial.value or 0.0  # those without one are left out
        fill = SCENE if trial.state == "complete" else "none"
        axes.plot(place, value, "o", markersize=4, color=SCENE, mfc=fill)
        if best and trial.number == best.number:
            axes.plot(place, value, "o", markersize=9, mfc="none", color=WRONG)
            axes.annotate(
                f"{value:.3g}", (place, value), (0, 6),
                textcoords="offset points", ha="center", size=7.5, color=INK,
            )  # fmt: skip
