"""What a search found, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from devias.reporting.text_tables import csv_table, markdown_table

STATES = ("complete", "pruned", "failed", "running")
SHOWN = 10
"""Rows of the terminal's table."""


@dataclass(frozen=True)
class SearchTrial:
    """One trial."""

    number: int
    state: str
    """One of `STATES`."""
    parameters: Mapping[str, object]
    """Key → value."""
    value: float | None = None
    """Of the metric; of a pruned trial, its best until then."""
    epochs: int = 0
    note: str = ""
    """Why it failed."""


@dataclass(frozen=True)
class SearchResults:
    """The trials of a search."""

    name: str
    metric: str
    maximize: bool
    trials: Sequence[SearchTrial]
    importances: Mapping[str, float]
    """Key → share of the differences that it accounts for; empty where unknown."""

    @property
    def best(self) -> SearchTrial | None:
        """The best of the whole trials."""
        return next((t for t in self.ranked() if t.state == "complete"), None)

    def ranked(self) -> list[SearchTrial]:
        """Whole trials from the best to the worst, then pruned ones, then what has no value."""

        def rank(trial: SearchTrial) -> tuple[int, float, int]:
            value = 0.0 if trial.value is None else trial.value
            place = STATES.index(trial.state)
            return place, -value if self.maximize else value, trial.number

        return sorted(self.trials, key=rank)

    @property
    def caption(self) -> str:
        """What the search came to, in one or two sentences."""
        counts = {state: sum(t.state == state for t in self.trials) for state in STATES}
        told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        aim = "highest" if self.maximize else "lowest"
        text = f"Search {self.name}, {aim} {self.metric}: {told or 'no trials'}."
        if self.importances:
            shares = ", ".join(f"{key} {share:.0%}" for key, share in self.importances.items())
            text += f" Differences between whole trials come from {shares}."
        return text

    def rows(self) -> list[list[str]]:
        """The cells of all trials below `titles`."""
        keys = self.keys
        return [
            [
                str(trial.number),
                trial.state,
                "" if trial.value is None else f"{trial.value:.4f}",
                str(trial.epochs or ""),
                *(_text(trial.parameters.get(key)) for key in keys),
                trial.note,
            ]
            for trial in self.ranked()
        ]

    @property
    def keys(self) -> list[str]:
        """The parameters."""
        return [*dict.fromkeys(key for trial in self.trials for key in trial.parameters)]

    @property
    def titles(self) -> list[str]:
        """Of the columns."""
        return ["trial", "state", self.metric, "epochs", *short_names(self.keys), "note"]

    def print(self, console: Console | None = None) -> None:
        """Show the first rows in the terminal."""
        table = Table(box=box.SIMPLE_HEAD, caption=escape(self.caption), caption_justify="left")
        for title in self.titles[:-1]:
            side: Any = "left" if title == "state" else "right"
            table.add_column(escape(title), justify=side, no_wrap=True)
        rows = self.rows()
        for row in rows[:SHOWN]:
            table.add_row(*map(escape, row[:-1]))
        console = console or Console()
        needed = Measurement.get(console, console.options.update(max_width=1000), table).maximum
        if needed > console.width:  # numbers that are cut are no use
            table.width = needed
        console.print(table, crop=False)
        if len(rows) > SHOWN:
            console.print(f"… and {len(rows) - SHOWN} more")

    def to_markdown(self) -> str:
        """All rows and the caption."""
        cells = [[" ".join(cell.split()) for cell in row] for row in self.rows()]
        return f"{markdown_table(self.titles, cells, 2)}\n{self.caption}\n"

    def to_csv(self) -> str:
        """All rows, with whole keys and numbers as they are."""
        titles = ["trial", "state", self.metric, "epochs", *self.keys, "note"]
        rows = [
            [
                t.number,
                t.state,
                t.value,
                t.epochs,
                *(t.parameters.get(k) for k in self.keys),
                t.note,
            ]
            for t in self.ranked()
        ]
        return csv_table(titles, rows)


def short_names(keys: Sequence[str]) -> list[str]:
    """The fewest last parts of each key that no other ends with; a weight is that of something."""
    names = []
    for key in keys:
        parts = key.split(".")
        for length in range(1, len(parts) + 1):
            name = ".".join(parts[-length:])
            own = sum(f".{other}".endswith(f".{name}") for other in keys) == 1
            if own and name != "weight":
                break
        names.append(name)
    return names


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
