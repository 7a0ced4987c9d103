"""Charts of numbers: what scene bias does to each model, and which actions are confused."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import ArrayLike, NDArray

from devias.reporting.plots.style import (
    FAINT,
    INK,
    MUTED,
    RIGHT,
    STYLE,
    WRONG,
    fit_text,
    new_figure,
    text_width,
)
from devias.reporting.results import RunResult, group_runs

TITLE_SIZE = 12
BAR_HEIGHT = 0.36  # inches, with the gap to the next bar
LONGEST_NAME = 2.4  # inches, of a model
MOST_NUMBERS = 20
"""Up to so many classes the cells of a confusion matrix bear numbers."""
MOST_NAMES = 40
"""With more classes, only every second, third, … name is written."""
LONGEST_CLASS = 1.5  # inches, of a class name


SCENE_BIAS = {"seen/action_top1", "unseen/action_top1"}
"""The metrics without which a result has no place in `scene_bias_figure`."""


@rc_context(STYLE)
def scene_bias_figure(
    results: Sequence[RunResult],
    title: str = "What the models answer when asked for the action",
) -> Figure:
    """Draw how action accuracy falls from seen to unseen combinations, and what takes its place.

    Two bars for each model, seen and unseen: the share of clips answered rightly, with the action
    at home in their scene (unseen only, where it was measured), and with another action. Means
    over seeds, with the lowest and highest seed as whiskers on the share of right answers.

    Raises:
        ValueError: No result has both `seen/action_top1` and `unseen/action_top1`, or a seed
            stands twice (see `group_runs`).
    """
    groups = group_runs(result for result in results if result.metrics.keys() >= SCENE_BIAS)
    if not groups:
        raise ValueError(f"no result has the metrics {sorted(SCENE_BIAS)}")

    # Experiment and data are named where one model stands in several.
    models = [key[2] for key in groups]
    names = [
        model if models.count(model) == 1 else f"{model} ({experiment}, {data})"
        for experiment, data, model in groups
    ]
    names = [fit_text(name, LONGEST_NAME, 10, "bold") for name in names]
    left = 0.2 + max(text_width(name, 10, "bold") for name in names) + 0.75
    bars, top = 5.0, 0.85
    width = left + bars + 0.95
    units = 3 * len(groups) - 0.8  # two bars and a gap for each model but the last
    height = top + BAR_HEIGHT * units + 0.15

    figure = new_figure(width, height)
    figure.text(0.2 / width, 1 - 0.26 / height, title, size=TITLE_SIZE, weight="bold", va="center")
    axes = figure.add_axes((left / width, 0.15 / height, bars / width, BAR_HEIGHT * units / height))
    axes.set(xlim=(0, 1), ylim=(units - 0.6, -0.6))
    axes.set_axis_off()
    for i, (name, runs) in enumerate(zip(names, groups.values(), strict=True)):
        axes.text((0.2 - left) / bars, 3 * i + 0.5, name, size=10, weight="bold", va="center")
        _draw_model(axes, 3 * i, runs)
    _draw_legend(figure, (left / width, 1 - 0.6 / height), [*groups.values()])
    return figure


def _draw_legend(
    figure: Figure, anchor: tuple[float, float], groups: Sequence[Sequence[RunResult]]
) -> None:
    """Name the colors; what isn't measured of some model isn't claimed of any."""
    measured = [all("unseen/scene_bias" in run.metrics for run in runs) for runs in groups]
    labels = [(RIGHT, "right")]
    if any(measured):
        labels.append((WRONG, "the scene's action"))
    labels.append((FAINT, "another action" if all(measured) else "wrong"))
    figure.legend(
        handles=[Patch(color=color, label=label) for color, label in labels],
        loc="center left", bbox_to_anchor=anchor, borderpad=0, borderaxespad=0,
        ncols=3, frameon=False, handlelength=0.9, handleheight=0.9, columnspacing=1.6,
    )  # fmt: skip


def _draw_model(axes: Axes, y: float, runs: Sequence[RunResult]) -> None:
    """The seen bar at `y`, the unseen one below it, and the fall between them."""
    means = []
    for offset, split in ((0, "seen"), (1, "unseen")):
        values = [run.metrics[f"{split}/action_top1"] for run in runs]
        biases = [run.metrics.get(f"{split}/scene_bias", 0.0) for run in runs]
        means.append(fmean(values))
        axes.text(-0.015, y + offset, split, color=MUTED, ha="right", va="center")
        # In the seen split the scene's action is the right one.
        _draw_bar(axes, y + offset, values, fmean(biases) if split == "unseen" else 0.0)
    change = 100 * (means[1] - means[0])
    axes.text(
        1.02, y + 0.4, f"{change:+.0f}".replace("-", "−"),
        size=14, weight="bold", color=WRONG if change < 0 else RIGHT, va="center",
    )  # fmt: skip
    axes.text(1.02, y + 1.05, "points", size=8, color=MUTED, va="center")


def _draw_bar(axes: Axes, y: float, values: Sequence[float], bias: float) -> None:
    """One bar of the whole: right, the scene's action, another action."""
    right = fmean(values)
    # Clips that show their scene's own action don't count in the bias, so that the parts may
    # exceed the whole by a little.
    bias = min(bias, 1 - right)
    left = 0.0
    for share, color, ink in (
        (right, RIGHT, "white"),
        (bias, WRONG, "white"),
        (1 - right - bias, FAINT, INK),
    ):
        axes.barh(y, share, left=left, height=0.84, color=color, edgecolor="white", linewidth=1)
        if share >= 0.08:  # room for the number
            axes.text(
                left + share / 2, y, f"{100 * share:.0f} %", color=ink, weight="bold",
                ha="center", va="center",
            )  # fmt: skip
        left += share
    if len(values) > 1:
        axes.plot(
            [min(values), max(values)], [y + 0.3, y + 0.3], color=INK, linewidth=1.2,
            marker="|", markersize=5, solid_capstyle="butt",
        )  # fmt: skip


@rc_context(STYLE)
def confusion_figure(
    matrix: ArrayLike,
    names: Sequence[str],
    title: str,
    *,
    row_names: Sequence[str] | None = None,
    row_title: str = "true action",
    marks: Sequence[int] | None = None,
    mark_label: str = "the scene's action",
) -> Figure:
    """Draw what was recognized as what, each row as shares of its clips.

    A row without clips is hatched.

    Args:
        matrix: `[R, C]` counts; rows are true, columns recognized.
        names: C class names.
        title: Above the matrix.
        row_names: R names, if the rows are other classes (scenes, say) than the columns.
        row_title: What the rows are.
        marks: For each row the column to frame, as the action at home in that scene; negative
            for none.
        mark_label: What a frame means.

    Raises:
        ValueError: The shape doesn't fit the names or marks.
    """
    counts = np.asarray(matrix, dtype=float)
    row_names = names if row_names is None else row_names
    if counts.shape != (len(row_names), len(names)):
        raise ValueError(
            f"a matrix of shape {counts.shape} for {len(row_names)} rows and {len(names)} columns"
        )
    if marks is not None and len(marks) != len(row_names):
        raise ValueError(f"{len(marks)} marks for {len(row_names)} rows")
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)

    figure, axes, bar = _confusion_page(counts.shape, names, row_names, title)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_ylabel(row_title, color=MUTED)
    axes.set_xlabel("recognized as", color=MUTED)
    axes.spines[:].set_visible(False)
    if max(counts.shape) <= MOST_NUMBERS:
        _write_shares(axes, shares)
    for row in np.flatnonzero(totals[:, 0] == 0):
        axes.add_patch(
            Rectangle((-0.5, row - 0.5), len(names), 1, fill=False, hatch="////", ec=FAINT, lw=0)
        )
    if marks is not None:
        _frame_cells(axes, marks)
        axes.annotate(
            f"□ {mark_label}", (0, 1), (0, 8), xycoords="axes fraction",
            textcoords="offset points", color=WRONG, weight="bold", va="bottom",
        )  # fmt: skip
    figure.colorbar(image, cax=bar, ticks=[0, 0.5, 1], format="{x:.0%}")
    bar.tick_params(length=0, labelsize=8)
    bar.spines[:].set_visible(False)
    return figure


def _confusion_page(
    shape: tuple[int, ...], names: Sequence[str], row_names: Sequence[str], title: str
) -> tuple[Figure, Axes, Axes]:
    """A figure with the matrix's axes, their class names written, and the color bar's axes."""
    rows, columns = shape
    size = 8.5 if max(rows, columns) <= MOST_NUMBERS else 6.5
    names = [fit_text(name, LONGEST_CLASS, size) for name in names]
    row_names = [fit_text(name, LONGEST_CLASS, size) for name in row_names]
    longest = max(text_width(name, size) for name in names)
    cell = float(np.clip(6.5 / max(rows, columns), 0.06, 0.45))  # inches
    rotation = 0 if longest < cell else 45 if columns <= MOST_NUMBERS else 90

    # Beside the names stands the axis title (0.4), to the right the color bar (0.9).
    left = max(text_width(name, size) for name in row_names) + 0.55
    bottom = 0.5 + longest * np.sin(np.radians(rotation))
    top = 0.75
    inner_width, inner_height = cell * columns, cell * rows
    width = max(left + inner_width + 0.9, text_width(title, TITLE_SIZE, "bold") + 0.4)
    height = bottom + inner_height + top

    figure = new_figure(width, height)
    figure.text(0.15 / width, 1 - 0.24 / height, title, size=TITLE_SIZE, weight="bold", va="center")
    place = (left / width, bottom / height, inner_width / width, inner_height / height)
    axes = figure.add_axes(place)
    bar = figure.add_axes((place[0] + place[2] + 0.15 / width, place[1], 0.1 / width, place[3]))
    for axis, labels in ((axes.xaxis, names), (axes.yaxis, row_names)):
        step = -(-len(labels) // MOST_NAMES)
        axis.set_ticks(range(0, len(labels), step), labels[::step])
        axis.set_tick_params(length=0 if step == 1 else 2, labelsize=size)
    anchors = {0: ("center", "top"), 45: ("right", "top"), 90: ("right", "center")}
    ha, va = anchors[rotation]
    for label in axes.get_xticklabels():
        label.set(rotation=rotation, ha=ha, va=va, rotation_mode="anchor")
    return figure, axes, bar


def _write_shares(axes: Axes, shares: NDArray[np.float64]) -> None:
    """Write each share in per cent, but for those that round to nothing."""
    for row, column in np.argwhere(shares >= 0.005):
        share = shares[row, column]
        axes.text(
            column, row, f"{100 * share:.0f}", ha="center", va="center", size=7.5,
            color="white" if share > 0.55 else INK,
        )  # fmt: skip


def _frame_cells(axes: Axes, marks: Sequence[int]) -> None:
    for row, column in enumerate(marks):
        if column >= 0:
            axes.add_patch(
                Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, fill=False, ec=WRONG, lw=1.6)
            )
