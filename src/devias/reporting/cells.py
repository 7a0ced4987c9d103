"""The cells of result tables: numbers with what marks them, and how a format writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from devias.reporting.columns import Column
from devias.reporting.results import RunResult

MISSING = "–"


@dataclass(frozen=True)
class Cell:
    """Mean and sample standard deviation over seeds, as fractions."""

    mean: float
    std: float | None = None
    """`None` with one seed."""
    best: bool = False
    """Whether no other row of the column is better."""
    second: bool = False
    """Whether only the best are better; told where a table asks for it."""
    interval: tuple[float, float] | None = None
    """Of the one seed's number, by the choice of videos."""

    @classmethod
    def of(cls, metric: str, runs: Sequence[RunResult]) -> Cell | None:
        """The cell of what one metric is in several runs; `None` if some lack it."""
        if not all(metric in run.metrics for run in runs):
            return None
        values = [run.metrics[metric] for run in runs]
        if len(runs) > 1:
            return cls(fmean(values), stdev(values))
        interval = runs[0].intervals.get(metric)
        return cls(values[0], interval=(interval[0], interval[1]) if interval else None)

    def __str__(self) -> str:
        """In per cent with one decimal: `81.3 ± 0.4`."""
        spread = "" if self.std is None else f" ± {100 * self.std:.1f}"
        return f"{100 * self.mean:.1f}{spread}".replace("-", "−")

    @property
    def range(self) -> str:
        """The interval in per cent, `78.9–83.5`; empty where there is none."""
        if self.interval is None:
            return ""
        return "–".join(f"{100 * bound:.1f}".replace("-", "−") for bound in self.interval)


@dataclass(frozen=True)
class CellStyle:
    """How a format writes a cell; `{}` stands for what is marked."""

    best: str
    second: str
    interval: str
    """Goes behind the number."""
    paper: str = " [{}]"
    number: Callable[[str], str] = str
    """Writes a number's signs."""

    def write(self, cell: Cell | None, paper: float | None = None) -> str:
        """A cell, and beside it the paper's number in per cent."""
        text = MISSING
        if cell is not None:
            text = self.number(str(cell))
            if cell.best or cell.second:
                text = (self.best if cell.best else self.second).format(text)
            if cell.range:
                text += self.interval.format(cell.range)
        return text if paper is None else text + self.paper.format(self.number(per_cent(paper)))


def mark_best(
    rows: list[list[Cell | None]], columns: Sequence[Column], seconds: bool = False
) -> list[list[Cell | None]]:
    """Mark the best cells of each column by what is shown, so that equal figures are equal.

    Args:
        rows: of one table.
        columns: say what is better.
        seconds: mark those that come next as well.
    """
    if len(rows) < 2:
        return rows
    marked = [[*row] for row in rows]
    for place, column in enumerate(columns):
        shown = {round(cell.mean, 3) for row in rows if (cell := row[place])}
        ranked = [*sorted(shown, reverse=column.higher_is_better), None, None]
        for row in marked:
            if cell := row[place]:
                value = round(cell.mean, 3)
                second = seconds and value == ranked[1]
                row[place] = replace(cell, best=value == ranked[0], second=second)
    return marked


def per_cent(value: float, minus: str = "−") -> str:
    """A number in per cent with one decimal."""
    return f"{value:.1f}".replace("-", minus)
