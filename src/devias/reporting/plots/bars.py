"""A table as bars: every column a panel, every row a bar in each."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from devias.reporting.cells import MISSING, Cell, per_cent
from devias.reporting.columns import arrow
from devias.reporting.plots.style import (
    FAINT,
    INK,
    MUTED,
    RIGHT,
    SCENE,
    STYLE,
    fit_text,
    new_figure,
    text_width,
)
from devias.reporting.tables import ResultsTable, RowSource

TITLE_SIZE = 12
BAR_HEIGHT = 0.26  # inches, with the gap to the next bar
PANEL = 1.25  # inches
GAP = 0.2
LONGEST_NAME = 3.0

Line = tuple[str, list[Cell | None], RowSource]
"""A row's label and numbers; one without numbers is a heading."""


@rc_context(STYLE)
def bars_figure(tables: Sequence[ResultsTable], title: str) -> Figure:
    """Draw the means of all rows, with ± one standard deviation, and the paper's as diamonds.

    The best of a column are dark. What is missing has a dash in its place.

    Args:
        tables: with the same columns; the titles of several stand above their rows.
        title: above all.

    Raises:
        ValueError: there is no table, or their columns differ.
    """
    columns = [[column.metric for column in table.columns] for table in tables]
    if not tables or columns.count(columns[0]) < len(columns):
        raise ValueError("bars need tables with the same columns")
    lines = [line for table in tables for line in _lines(table, title)]
    names = [fit_text(name, LONGEST_NAME, 9) for name, _, _ in lines]
    left = 0.4 + max(text_width(name, 9, "bold") for name in names)
    count = len(columns[0])
    width = max(left + count * (PANEL + GAP), text_width(title, TITLE_SIZE, "bold") + 0.4)
    inner, top = BAR_HEIGHT * len(lines), 0.95
    height = top + inner + 0.35

    figure = new_figure(width, height)
    figure.text(0.2 / width, 1 - 0.26 / height, title, size=TITLE_SIZE, weight="bold", va="center")
    for place, column in enumerate(tables[0].columns):
        corner = ((left + place * (PANEL + GAP)) / width, 0.35 / height)
        axes = figure.add_axes((*corner, PANEL / width, inner / height))
        heading = fit_text(f"{column.title} {arrow(column)}", PANEL + GAP, 8)
        axes.set_title(heading, size=8, loc="left", color=MUTED)
        axes.set(xlim=(0, 1), ylim=(len(lines) - 0.5, -0.5), yticks=[], xticks=[0, 0.5, 1])
        axes.set_xticklabels(["0", "50", "100"], size=7, color=MUTED)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.vlines([0, 0.5, 1], -0.5, len(lines) - 0.5, color=FAINT, lw=0.6, zorder=0)
        for y, (_, cells, source) in enumerate(lines):
            if cells:
                _draw_bar(axes, y, cells[place], source.paper[place])
    for y, (name, (_, cells, _)) in enumerate(zip(names, lines, strict=True)):
        at = 1 - (top + BAR_HEIGHT * (y + 0.5)) / height
        color, weight = (INK, "normal") if cells else (MUTED, "bold")
        figure.text(0.2 / width, at, name, size=9, va="center", color=color, weight=weight)
    return figure


def _lines(table: ResultsTable, title: str) -> list[Line]:
    """The rows of a table below its title and the names of its groups."""
    lines: list[Line] = []
    if table.title not in ("", title):
        lines.append((table.title.removeprefix(f"{title}: "), [], RowSource()))
    for group, rows in table.sections():
        if group:
            lines.append((group, [], RowSource()))
        lines += [(labels[0], cells, source) for labels, cells, source in rows]
    return lines


def _draw_bar(axes: Axes, y: int, cell: Cell | None, paper: float | None) -> None:
    if cell is None:
        axes.text(0.02, y, MISSING, color=MUTED, va="center", size=8)
    else:
        color = RIGHT if cell.best else SCENE
        axes.barh(y, max(cell.mean, 0), height=0.7, color=color, alpha=1 if cell.best else 0.55)
        end = cell.mean + (cell.std or 0)
        if cell.std:
            axes.plot([cell.mean - cell.std, end], [y, y], color=INK, lw=1, solid_capstyle="butt")
        # Inside the bar where there is no room behind it.
        inside = end > 0.7 and 2 * cell.mean - end > 0.3
        axes.text(
            cell.mean - (cell.std or 0) - 0.03 if inside else max(end, 0) + 0.03, y,
            per_cent(100 * cell.mean), ha="right" if inside else "left", va="center", size=7.5,
            color="white" if inside and cell.best else INK, weight="bold" if cell.best else None,
        )  # fmt: skip
    if paper is not None:
        axes.plot(paper / 100, y, marker="D", color="white", mec=INK, ms=4.5, zorder=3)
