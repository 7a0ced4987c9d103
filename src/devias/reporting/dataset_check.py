"""What a check of a dataset found: in the terminal, and as files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from devias.data.check.lists import Pair, Problem, Records, count_classes, count_pairs
from devias.data.datamodule import VideoDataModule
from devias.files import write_text
from devias.reporting.text_tables import csv_table

SHOWN = 5
"""Problems of a kind that are printed; the file has all."""
RARE = 5
"""A pair that training holds up to this many times counts as rare."""


def report_check(
    folder: Path, problems: Sequence[Problem], records: Records, data: VideoDataModule
) -> None:
    """Print what was found, and write problems.csv, classes.csv and pairs.csv into `folder`.

    Args:
        folder: made if needed.
        problems: sorted by kind.
        records: of each split.
        data: the dataset.
    """
    console = Console(highlight=False, soft_wrap=True)
    console.print(_splits_table(records, data.action_names))
    classes = count_classes(records, data.action_names)
    titles = ["class", *records]
    write_text(folder / "classes.csv", csv_table(titles, [[*row.values()] for row in classes]))
    pairs = count_pairs(records, data.train_split)
    if pairs:
        console.print(_pairs_table(pairs))
        names = data.action_names, data.scene_names
        titles = ["split", "action", "scene", "videos", "in_training"]
        rows = [
            [split, names[0][action], names[1][scene], *counts]
            for split, found in pairs.items()
            for (action, scene), counts in found.items()
        ]
        write_text(folder / "pairs.csv", csv_table(titles, rows))
    else:
        console.print("No split has labels of both kinds, so pairs are not audited.")
    for kind, group in groupby(problems, attrgetter("kind")):
        found = list(group)
        console.print(f"[bold]{kind}[/]: {len(found)}")
        for problem in found[:SHOWN]:
            place = f" ({problem.source})" if problem.source not in ("", problem.video) else ""
            console.print(escape(f"  {problem.video}{place}: {problem.detail}"))
        if len(found) > SHOWN:
            console.print(f"  … and {len(found) - SHOWN} more")
    titles = ["kind", "split", "video", "source", "detail"]
    rows = [[p.kind, p.split, p.video, p.source, p.detail] for p in problems]
    write_text(folder / "problems.csv", csv_table(titles, rows))
    plural = "" if len(problems) == 1 else "s"
    summary = f"{len(problems)} problem{plural}" if problems else "No problem"
    console.print(f"{summary}; everything is in {escape(str(folder))}")


def _splits_table(records: Records, action_names: Sequence[str]) -> Table:
    """Videos and classes of each split, and its smallest and largest class."""
    table = Table("Split", box=None)
    for title in ("Videos", "Classes", "Smallest class", "Largest class"):
        table.add_column(title, justify="right")
    for split, listed in records.items():
        counts = Counter(record.action for record in listed if record.action >= 0)
        extremes = [f(counts.values()) for f in (min, max)] if counts else ["–", "–"]
        shares = [len(listed), f"{len(counts)} of {len(action_names)}", *extremes]
        table.add_row(split, *map(str, shares))
    return table


def _pairs_table(pairs: dict[str, dict[Pair, tuple[int, int]]]) -> Table:
    """How many videos of each split show a pair that training never, rarely or often holds."""
    table = Table("Split", box=None)
    for title in ("Pairs", "Videos", "never in training", f"1–{RARE} times", "more often"):
        table.add_column(title, justify="right")
    for split, found in pairs.items():
        never = sum(count for count, trained in found.values() if not trained)
        rare = sum(count for count, trained in found.values() if 0 < trained <= RARE)
        videos = sum(count for count, _ in found.values())
        table.add_row(split, *map(str, (len(found), videos, never, rare, videos - never - rare)))
    return table
