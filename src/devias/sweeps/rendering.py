"""A declared table with the results that there are, rendered from their files alone."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from devias.reporting.cells import Cell, mark_best
from devias.reporting.columns import Column
from devias.reporting.results import RESULT_FILE, RunResult
from devias.reporting.tables import ResultsTable, RowSource, remarks
from devias.sweeps.neighbors import PROBE_FILE
from devias.sweeps.plan import Plan, PlannedRun
from devias.sweeps.specification import Row, TableError


def render(plan: Plan, intervals: bool = False) -> list[ResultsTable]:
    """The table, or one for each of its groups where only their rows are compared.

    Every row is there, whether it has results or not.

    Args:
        plan: of all rows to show.
        intervals: show what the choice of videos leaves open, too.

    Raises:
        ResultError: a result cannot be read.
        TableError: results are of another protocol than their row; or a probe cannot be read.
    """
    table = plan.table
    found = {row.label: _results(plan, row) for row in table.rows}
    parts: dict[str, list[Row]] = {}
    for row in table.rows:
        parts.setdefault(row.group if table.separate_groups else "", []).append(row)
    tables = [_table(plan, group, rows, found, intervals) for group, rows in parts.items()]
    if left_out := _left_out(plan):
        tables[-1] = replace(tables[-1], remarks=[*tables[-1].remarks, left_out])
    return tables


def _table(
    plan: Plan,
    group: str,
    rows: Sequence[Row],
    found: Mapping[str, Sequence[RunResult]],
    intervals: bool,
) -> ResultsTable:
    table = plan.table
    results = [result for row in rows for result in found[row.label]]
    lower = {metric for result in results for metric in result.lower_is_better}
    columns = [
        replace(c, higher_is_better=c.higher_is_better and c.metric not in lower)
        for c in table.columns
    ]
    cells = [[_cell(column, found[row.label], intervals) for column in columns] for row in rows]
    counts = [f"{len(found[row.label])}/{len(plan.of_rows[row.label])}" for row in rows]
    marked = mark_best(cells, columns, seconds=True)
    return ResultsTable(
        ["Row", "n"],
        columns,
        [
            ([row.label, count], len(found[row.label]), line)
            for row, count, line in zip(rows, counts, marked, strict=True)
        ],
        plan.protocols[rows[0].label][0],
        [*remarks(results), *_origins(rows, found), *_notes(rows)],
        f"{table.title}: {group}" if group else table.title,
        [_source(row, found[row.label], table.columns, table.separate_groups) for row in rows],
    )


def _results(plan: Plan, row: Row) -> list[RunResult]:
    """The results of a row's runs under its name, each of the protocol that it should be of."""
    results = []
    for run in plan.of_rows[row.label]:
        result = run.result()
        if result is None:
            continue
        if (result.protocol, result.scene_topk) != plan.protocols[row.label]:
            raise TableError(
                f"{run.folder / RESULT_FILE} is of the protocol {result.protocol!r}, the row "
                f"{row.label!r} of {plan.protocols[row.label][0]!r}: their numbers make no table"
            )
        if plan.table.measure == "knn":
            if not (probed := _probed(run)):
                continue
            result = replace(result, **probed)
        results.append(replace(result, model=row.label))
    return results


def _probed(run: PlannedRun) -> dict[str, Any] | None:
    """What `devias knn` told, as metrics and intervals of a result."""
    path = run.folder / PROBE_FILE
    try:
        probes = json.loads(path.read_text(encoding="utf-8"))["rows"]["model"]
        shares = {name: votes["weighted"] for name, votes in probes.items()}
        return {
            "metrics": {name: float(share["accuracy"]) for name, share in shares.items()},
            "intervals": {
                name: [float(share["low"]), float(share["high"])] for name, share in shares.items()
            },
        }
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise TableError(f"{path} is not what `devias knn` writes: {error!r}") from error


def _cell(column: Column, runs: Sequence[RunResult], intervals: bool) -> Cell | None:
    """Over the seeds that there are; the interval of several is the mean of theirs."""
    cell = Cell.of(column.metric, runs) if runs else None
    if cell is None or not intervals:
        return cell and replace(cell, interval=None)
    bounds = [run.intervals[column.metric] for run in runs if column.metric in run.intervals]
    if len(bounds) < len(runs):
        return cell
    low, high = (fmean(ends) for ends in zip(*bounds, strict=True))
    return replace(cell, interval=(low, high))


def _source(
    row: Row, runs: Sequence[RunResult], columns: Sequence[Column], separate: bool
) -> RowSource:
    return RowSource(
        "" if separate else row.group,
        [row.paper.get(column.metric) for column in columns],
        ", ".join(dict.fromkeys(run.commit or "unknown" for run in runs)),
        runs[0].command if runs else "",
    )


def _origins(rows: Sequence[Row], found: Mapping[str, Sequence[RunResult]]) -> list[str]:
    """Which commit and command made each row; what all of the commands share is told once."""
    runs = [run for row in rows for run in found[row.label]]
    words = [shlex.split(run.command) for run in runs]
    shared = [word for word in words[0] if all(word in others for others in words)] if words else []
    lines = (
        [f"Rows are made by `{shlex.join(_telling(shared))}` and what stands here:"] if runs else []
    )
    for row in rows:
        made = found[row.label]
        if not made:
            lines.append(f"{row.label}: no result.")
            continue
        seeds = "|".join(str(run.seed) for run in made)
        own = [w for w in shlex.split(made[0].command) if w not in shared]
        own = [*(w for w in _telling(own) if not w.startswith("seed=")), f"seed={seeds}"]
        commits = ", ".join(dict.fromkeys(_short(run.commit) for run in made))
        lines.append(f"{row.label}: {' '.join(own)} (commit {commits})")
    return lines


def _telling(words: Sequence[str]) -> list[str]:
    """Words of a command without those that say where it is run, and under what name."""
    return [w for w in words if not w.startswith(("paths.run_dir=", "names.model=", "ckpt_path="))]


def _short(commit: str | None) -> str:
    """Twelve digits tell commits apart; that files were changed is kept."""
    if not commit:
        return "unknown"
    return commit[:12] + ("-dirty" if commit.endswith("-dirty") else "")


def _notes(rows: Sequence[Row]) -> list[str]:
    return [f"{row.label}: {row.note}" for row in rows if row.note]


def _left_out(plan: Plan) -> str:
    """That results lie beside these which are of other settings."""
    known = {run.folder for run in plan.runs if run.result()}
    others = [p for p in plan.folder.glob(f"*/{RESULT_FILE}") if p.parent not in known]
    labels = {row.label for row in plan.table.rows}
    seeds = set(plan.table.seeds)
    loaded = [RunResult.load(path) for path in others]
    count = sum(result.model in labels and result.seed in seeds for result in loaded)
    if not count:
        return ""
    return (
        f"Left out are {count} results of other settings in {plan.folder}: they are shown with the "
        "overrides that they were made with."
    )
