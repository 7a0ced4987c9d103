"""The runs of a table: what each is started with, where it lies and how it stands."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hydra.errors import HydraException

from devias.config import compose
from devias.config.identity import file_name
from devias.config.messages import explain_words
from devias.config.overrides import as_value
from devias.files import write_text
from devias.reporting.results import RunResult, result_of
from devias.sweeps.specification import Row, Table, TableError
from devias.training.run_folder import is_held

FAILURE_FILE = "failed.json"


class State(StrEnum):
    """How a run stands."""

    FINISHED = "finished"
    """Its result is there."""
    RUNNING = "running"
    """A process is at it."""
    FAILED = "failed"
    """It ended with an error, which is written down."""
    MISSING = "missing"
    """Not begun, or interrupted."""


@dataclass(frozen=True)
class PlannedRun:
    """One method with one seed."""

    label: str
    """Of the row; of several rows with this method, the first's."""
    seed: int
    overrides: tuple[str, ...]
    """Of `devias train`, all that the method is made of."""
    run_id: str
    folder: Path

    @property
    def words(self) -> list[str]:
        """What `devias train` is given."""
        return [
            *self.overrides,
            f"seed={self.seed}",
            f"names.model={as_value(self.label)}",
            f"paths.run_dir={as_value(str(self.folder))}",
            "ckpt_path=auto",
        ]

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.label}, seed {self.seed}"

    def result(self) -> RunResult | None:
        """Its result, if it has one.

        Raises:
            ResultError: it cannot be read.
        """
        return result_of(self.folder, self.run_id, self.seed)

    def state(self) -> State:
        """How it stands at this moment, told from its folder alone."""
        if self.result():
            return State.FINISHED
        if is_held(self.folder):
            return State.RUNNING
        if self.result():  # it ended between the two looks
            return State.FINISHED
        return State.FAILED if self.failure() else State.MISSING

    def failure(self) -> str | None:
        """The last line of the error that it ended with."""
        try:
            content = json.loads((self.folder / FAILURE_FILE).read_text(encoding="utf-8"))
            return str(content["error"]) if content["run_id"] == self.run_id else None
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, RecursionError):
            return "its record of a failure cannot be read"

    def record_failure(self, error: str) -> None:
        """Write down what it ended with, in one line."""
        content = {"run_id": self.run_id, "error": error, "time": time.strftime("%F %T")}
        write_text(self.folder / FAILURE_FILE, json.dumps(content, indent=2) + "\n")

    def forget_failure(self) -> None:
        """Make it missing again."""
        (self.folder / FAILURE_FILE).unlink(missing_ok=True)


@dataclass(frozen=True)
class Plan:
    """A table's runs."""

    table: Table
    folder: Path
    """What all of them lie in."""
    runs: Sequence[PlannedRun]
    """Each once, though several rows be of its method."""
    of_rows: Mapping[str, Sequence[PlannedRun]]
    """Label of a row → its runs, one a seed."""
    protocols: Mapping[str, tuple[str, int]]
    """Label of a row → name and `scene_topk` of the protocol it is tested under."""
    overrides: Sequence[str] = ()
    """Of this call, for all rows."""


def plan(table: Table, overrides: Sequence[str] = ()) -> Plan:
    """Compose every row and tell its runs.

    Args:
        table: perhaps a selection of its rows.
        overrides: for all rows, behind their own.

    Raises:
        TableError: a row cannot be composed, or two that stand together are the same method.
    """
    runs: dict[tuple[str, int], PlannedRun] = {}
    of_rows, protocols = {}, {}
    seen: dict[tuple[str, str], str] = {}
    folder = Path()
    for row in table.rows:
        words = (*table.base, *row.overrides, *overrides)
        try:
            # Name and folder are given, as finding them out takes longer than all the rest.
            config = compose(*words, "names.model=row", "paths.run_dir=.")
        except HydraException as error:
            reason = explain_words(error, "train", words)
            raise TableError(f"{table.path}: row {row.label!r}: {reason}") from error
        identity = config.names.run_id
        _refuse_twins(table, row, seen.setdefault((_part(table, row), identity), row.label))
        folder = Path(config.paths.runs).absolute() / "tables" / table.folder
        for seed in table.seeds:
            place = _run_folder(folder, row.label, identity, seed)
            run = PlannedRun(row.label, seed, words, identity, place)
            runs.setdefault((identity, seed), run)
        of_rows[row.label] = [runs[identity, seed] for seed in table.seeds]
        protocols[row.label] = config.protocol.name, config.protocol.scene_topk
        _refuse_mixing(table, row, protocols)
    return Plan(table, folder, [*runs.values()], of_rows, protocols, overrides)


def _run_folder(folder: Path, label: str, run_id: str, seed: int) -> Path:
    """Where a run lies: known by hash and seed, so that a row may be called otherwise later."""
    own = folder / f"{file_name(label, run_id)}-s{seed}"
    others = sorted(folder.glob(f"*{run_id}-s{seed}"))
    return own if own in others or not others else others[0]


def _part(table: Table, row: Row) -> str:
    """What rows are compared within."""
    return row.group if table.separate_groups else ""


def _refuse_mixing(table: Table, row: Row, protocols: Mapping[str, tuple[str, int]]) -> None:
    """Numbers of different protocols cannot be compared."""
    name, topk = protocols[row.label]
    part = [other for other in table.rows if _part(table, other) == _part(table, row)]
    for other in part:
        first, first_topk = protocols.get(other.label, (name, topk))
        if (first, first_topk) != (name, topk):
            raise TableError(
                f"{table.path}: row {row.label!r} is tested by {name!r}, others by {first!r} "
                f"(scene top-{topk} and top-{first_topk}): their numbers make no table"
            )


def _refuse_twins(table: Table, row: Row, first: str) -> None:
    if first != row.label:
        raise TableError(
            f"{table.path}: rows {first!r} and {row.label!r} are the same method and would be one "
            "run under two names"
        )
