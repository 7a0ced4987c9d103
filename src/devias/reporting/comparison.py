"""Two rows of a table on the same videos: which is right where the other is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from devias.errors import ConfigError, did_you_mean
from devias.evaluation.intervals import Interval, Videos
from devias.evaluation.metrics import Values, video_metrics
from devias.evaluation.paired import McNemar, difference, mcnemar
from devias.evaluation.protocol import Protocol
from devias.reporting.predictions import (
    PREDICTIONS_FILE,
    Answers,
    SetPredictions,
    load_predictions,
)
from devias.reporting.results import RunResult, group_runs
from devias.reporting.text_tables import csv_table, markdown_table

TITLES = ("Set", "Task", "Videos", "First alone", "Second alone", "p")

SHOWN = 4
"""Up to so many comparisons are shown in full in the terminal."""


@dataclass
class Comparison:
    """Two runs of one seed, held against each other."""

    first: str
    """What tables call it."""
    second: str
    seed: int
    why_not: str = ""
    """Why they cannot be compared; empty where they can."""
    tests: dict[tuple[str, str], McNemar] = field(default_factory=dict)
    """By set and task."""
    gain: tuple[float, Interval] | None = None
    """How much more H.M. the second has, as a fraction, and its 95 % interval."""

    @property
    def title(self) -> str:
        """Who is compared, and what it comes to."""
        title = f"{self.first} (first) and {self.second} (second), seed {self.seed}"
        if self.why_not:
            return f"{title}: not compared, {self.why_not}."
        if self.gain is None:
            return f"{title}."
        gain, (low, high) = self.gain
        return f"{title}: H.M. {_points(gain)} points ({_points(low)} to {_points(high)})."

    def rows(self) -> list[list[str]]:
        """The cells under `TITLES`, a row a set and task."""
        return [
            [name, task, f"{t.videos}", f"{t.first_only}", f"{t.second_only}", f"{t.p:.2g}"]
            for (name, task), t in self.tests.items()
        ]


def compare_runs(
    results: Mapping[Path, RunResult],
    load: Callable[[Path], Answers] = load_predictions,
    against: str | None = None,
) -> list[Comparison]:
    """Compare one row of each protocol's table with all its others, seed by seed.

    Args:
        results: as `find_results` returns them.
        load: reads a file of predictions.
        against: the row's name; by default the one with the highest H.M., mean over seeds.

    Raises:
        ConfigError: no row is called so.
        ResultError: a seed stands twice (see `group_runs`).
        ParquetError, PredictionsError: predictions cannot be read.
    """
    folders = {id(result): path.parent for path, result in results.items()}
    protocols: dict[tuple[str, int], list[RunResult]] = {}
    for result in results.values():
        protocols.setdefault((result.protocol, result.scene_topk), []).append(result)
    tables = [_rows(group) for group in protocols.values()]
    names = [name for rows in tables for name in rows]
    if against is not None and against not in names:
        raise ConfigError(f"no row is called {against!r}{did_you_mean(against, names)}")
    comparisons = []
    for rows in tables:
        first = against or max(rows, key=lambda name: _mean_harmonic(rows[name]))
        others = [name for name in rows if name != first and first in rows]
        for second, a, b in ((n, a, b) for n in others for a in rows[first] for b in rows[n]):
            if a.seed == b.seed:
                comparison = Comparison(first, second, a.seed)
                _fill(comparison, load, folders[id(a)], folders[id(b)])
                comparisons.append(comparison)
    return comparisons


def _rows(results: Sequence[RunResult]) -> dict[str, list[RunResult]]:
    """The runs of each row of a table, by its name; experiment and data tell same names apart."""
    groups = group_runs(results)
    names = [key[2] for key in groups]
    return {
        key[2] if names.count(key[2]) == 1 else " ".join(key): runs for key, runs in groups.items()
    }


def _mean_harmonic(runs: Sequence[RunResult]) -> float:
    return fmean(run.metrics.get("harmonic_mean", -1.0) for run in runs)


def _fill(comparison: Comparison, load: Callable[[Path], Answers], *folders: Path) -> None:
    """Compare the predictions in two folders, if they are of the same videos."""
    files = [folder / PREDICTIONS_FILE for folder in folders]
    if absent := [path for path in files if not path.exists()]:
        comparison.why_not = f"there is no {absent[0]}"
        return
    (protocol, first), (_, second) = map(load, files)
    sets = [s for s in protocol.sets if s.name in second]
    different = [s.name for s in sets if first[s.name].videos != second[s.name].videos]
    if different or len(sets) < max(len(first), len(second)):
        what = different[0] if different else min(first.keys() ^ second.keys())
        comparison.why_not = f"the videos of {what} are not the same"
        return
    a, b = _both_known(protocol, first, second)
    for s in sets:
        for task, metric in zip(("action", "scene"), protocol.headline, strict=True):
            if metric in a[s.name] and metric in b[s.name]:
                test = mcnemar(a[s.name][metric], b[s.name][metric])
                comparison.tests[s.name, task] = test
    comparison.gain = difference(protocol, a, b)


def _both_known(
    protocol: Protocol, first: Mapping[str, SetPredictions], second: Mapping[str, SetPredictions]
) -> tuple[Videos, Videos]:
    """What videos count for in the metrics that both have, of those that both could read."""
    sides: tuple[dict[str, dict[str, Values]], ...] = ({}, {})
    for s in protocol.sets:
        found = [video_metrics(side[s.name].predictions, s.tasks) for side in (first, second)]
        for i, side in enumerate(sides):
            side[s.name] = {
                metric: np.where(np.isnan(found[1 - i][metric]), np.nan, values)
                for metric, values in found[i].items()
                if metric in found[1 - i]
            }
    return sides[0], sides[1]


def print_comparisons(comparisons: Iterable[Comparison], console: Console | None = None) -> None:
    """Show them in the terminal, one below the other; of many only what each comes to."""
    console, comparisons = console or Console(), [*comparisons]
    for comparison in comparisons:
        console.print(f"\n{escape(comparison.title)}")
        if comparison.tests and len(comparisons) <= SHOWN:
            table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
            for place, title in enumerate(TITLES):
                table.add_column(title, justify="left" if place < 2 else "right")
            for row in comparison.rows():
                table.add_row(*map(escape, row))
            console.print(table)


def comparisons_to_markdown(comparisons: Iterable[Comparison]) -> str:
    """One table for each, below what it comes to."""
    return "\n".join(
        f"{c.title}\n" + (f"\n{markdown_table(TITLES, c.rows(), 2)}" if c.tests else "")
        for c in comparisons
    )


def comparisons_to_csv(comparisons: Iterable[Comparison]) -> str:
    """A row for each set and task of all."""
    rows = ([c.first, c.second, c.seed, *row] for c in comparisons for row in c.rows())
    return csv_table(["First", "Second", "Seed", *TITLES], rows)


def _points(share: float) -> str:
    """`+1.3`, with a minus sign that is one."""
    return f"{100 * share:+.1f}".replace("-", "−")
