"""The runs that a report is about: what they are called in it, and what they answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from devias.reporting.predictions import PREDICTIONS_FILE, Answers
from devias.reporting.results import RunResult


@dataclass(frozen=True)
class ReportedRun:
    """A run or an evaluation of one."""

    row: str
    """What tables call it; experiment and data are named where one row stands in several."""
    folder: Path
    result: RunResult
    answers: Answers | None
    """Of runs that kept their predictions."""

    @property
    def name(self) -> str:
        """Tells it from all others of the report."""
        return f"{self.row}, seed {self.result.seed}"

    @property
    def is_evaluation(self) -> bool:
        """Rather than a run's own result."""
        return self.result.evaluation is not None


def reported_runs(
    results: Mapping[Path, RunResult], load: Callable[[Path], Answers]
) -> list[ReportedRun]:
    """Name the runs apart.

    Args:
        results: by their files, as `find_results` returns them.
        load: reads a file of predictions.
    """
    places: dict[str, set[tuple[str, str]]] = {}
    for result in results.values():
        places.setdefault(result.row, set()).add((result.experiment, result.data))
    runs = []
    for file, result in results.items():
        where = "" if len(places[result.row]) == 1 else f" ({result.experiment}, {result.data})"
        predictions = file.parent / PREDICTIONS_FILE
        answers = load(predictions) if predictions.exists() else None
        runs.append(ReportedRun(f"{result.row}{where}", file.parent, result, answers))
    return runs
