"""What trackers get of a finished test: numbers, the surest mistakes, files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from devias.evaluation.protocol import Task
from devias.reporting.loggers.tracker import Tracker
from devias.reporting.mistakes import TITLES, confident_mistakes
from devias.reporting.predictions import PREDICTIONS_FILE, load_predictions
from devias.reporting.results import RESULT_FILE, RunResult

TASKS: tuple[Task, ...] = ("action", "scene")


def track_result(
    loggers: Iterable[Any], result: RunResult, folder: Path, checkpoint: Path | None = None
) -> None:
    """Hand a result to those of the loggers that are trackers.

    Args:
        loggers: of the Trainer.
        result: of the test.
        folder: where the result and the predictions lie.
        checkpoint: the one that was tested, if any.
    """
    for tracker in loggers:
        if not isinstance(tracker, Tracker):
            continue
        if result.evaluation is not None:
            tracker.log_hyperparams({"evaluation": result.evaluation})
        tracker.log_summary(summary(result))
        if tracker.mistakes:
            _track_mistakes(tracker, folder / PREDICTIONS_FILE)
        if tracker.files:
            tracker.log_files("result", [folder / RESULT_FILE, folder / PREDICTIONS_FILE])
            if checkpoint is not None:
                tracker.log_files("checkpoint", [checkpoint])


def summary(result: RunResult) -> dict[str, float]:
    """`result/<metric>`, the ends of its interval as `low/…` and `high/…`, and times."""
    values = {f"result/{name}": value for name, value in result.metrics.items()}
    for name, (low, high) in result.intervals.items():
        values |= {f"low/{name}": low, f"high/{name}": high}
    return values | {f"seconds/{phase}": spent for phase, spent in result.seconds.items()}


def _track_mistakes(tracker: Tracker, path: Path) -> None:
    protocol, sets = load_predictions(path)
    for task in TASKS:
        if mistakes := confident_mistakes(protocol, sets, task, tracker.mistakes):
            rows = [mistake.row for mistake in mistakes]
            tracker.log_table(f"mistakes/{task}", TITLES, rows)
