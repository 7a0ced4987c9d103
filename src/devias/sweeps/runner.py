"""Doing the runs of a table that are missing, beside others who do the same."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from hydra.core.utils import JobReturn, JobStatus

from devias.config.messages import explain
from devias.sweeps.jobs import JobFailedError
from devias.sweeps.plan import Plan, PlannedRun, State
from devias.sweeps.progress import Progress
from devias.training.run_folder import HELD_MESSAGE

log = logging.getLogger(__name__)

Launch = Callable[[Sequence[Sequence[str]], int], Sequence[JobReturn]]
"""`hydra.plugins.launcher.Launcher.launch`: words of each job, number of the first → outcomes."""

POLL = 2.0
"""Seconds between looks at runs that others are at."""


def run_table(
    plan: Plan,
    launch: Launch,
    *,
    one_by_one: bool = False,
    retry_failed: bool = False,
    wait: bool = True,
) -> dict[PlannedRun, State]:
    """Launch what is missing until nothing is → how each run stands.

    Whether a run is done is told from its folder, at any moment, and whoever holds the folder's
    lock does it. So a call may be killed and repeated, and several may be at one table. What fails
    is written down in its folder, and the others go on.

    Args:
        plan: of `devias.sweeps.plan.plan`.
        launch: starts jobs of `devias train` and returns when all have ended, or with nothing
            where it does not wait for them.
        one_by_one: each job is launched by itself, so that what others have begun meanwhile is
            not tried; for launchers that do one at a time anyway.
        retry_failed: runs that failed before are missing ones.
        wait: until those end that others are at, and take over what these leave.
    """
    if retry_failed:
        for run in plan.runs:
            if run.state() is State.FAILED:
                run.forget_failure()
    launched = 0
    with Progress(plan.runs):
        while True:
            states = {run: run.state() for run in plan.runs}
            missing = [run for run, state in states.items() if state is State.MISSING]
            if missing:
                if State.RUNNING in states.values():
                    missing.reverse()  # others began at the other end
                batch = missing[:1] if one_by_one else missing
                outcomes = launch([run.words for run in batch], launched)
                if not outcomes:  # the launcher has handed the jobs to others and does not wait
                    return states
                launched += len(batch)
                for run, outcome in zip(batch, outcomes, strict=True):
                    _record(run, outcome)
            elif wait and State.RUNNING in states.values():
                time.sleep(POLL)
            else:
                return states


def _record(run: PlannedRun, outcome: JobReturn) -> None:
    """Write down that a run failed, unless another process is at it or did it."""
    error = _error(outcome)
    if error is not None and HELD_MESSAGE in error:
        log.info("%s: another process is at it", run.name)
        return
    if run.state() is State.MISSING:
        run.record_failure(error or "it ended without a result")


def _error(outcome: JobReturn) -> str | None:
    """In one line, why a job failed; `None` if it did not."""
    if outcome.status is JobStatus.COMPLETED:
        return None
    error = outcome._return_value  # asking for `return_value` prints all words of the job
    if isinstance(error, JobFailedError) and error.own:
        return error.own
    told = isinstance(error, Exception) and explain(error)
    lines = [line.strip() for line in (told or str(error)).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
