"""How far a table is: a line whenever that changes."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean
from types import TracebackType

from devias.reporting.results import ResultError, RunResult
from devias.sweeps.jobs import in_words
from devias.sweeps.plan import PlannedRun, State


class Progress:
    """Looks at the runs' folders, whoever does the runs, and prints a line when one has changed.

    As a context it does so in a thread of its own, since launchers return only at the end.
    """

    def __init__(
        self,
        runs: Sequence[PlannedRun],
        every: float = 5.0,
        show: Callable[[str], None] | None = None,
    ) -> None:
        """Looks `every` so many seconds; `show` takes the lines, by default standard output."""
        self.runs = runs
        self.every = every
        self.show = show or (lambda line: print(line, flush=True))
        self.results: dict[PlannedRun, RunResult] = {}
        self.begun: dict[PlannedRun, float] = {}
        """When each of those that are at work was first seen to be."""
        self.last = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Progress:
        self.look()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self.look()

    def look(self) -> None:
        """Print a line if a run began or ended since the last one."""
        states = Counter(self._state(run) for run in self.runs)
        counts = f"{states[State.FINISHED]} of {len(self.runs)} runs finished"
        for state in (State.RUNNING, State.FAILED):
            counts += f", {states[state]} {state}" if states[state] else ""
        if counts != self.last:
            self.last = counts
            left = self.seconds_left(states[State.RUNNING])
            self.show(counts + (f"; about {in_words(left)} left" if left else ""))

    def seconds_left(self, at_once: int) -> float | None:
        """An estimate from the finished runs, those of the same row first; `None` before one has.

        Args:
            at_once: how many are at work.
        """
        took: dict[str, list[float]] = {}
        for run, result in self.results.items():
            took.setdefault(run.run_id, []).append(sum(result.seconds.values()))
        if not took:
            return None
        typical = fmean(fmean(seconds) for seconds in took.values())
        left, now = 0.0, time.monotonic()
        for run in self.runs:
            if run not in self.results and not run.failure():
                expected = fmean(took.get(run.run_id, [typical]))
                left += max(expected - (now - self.begun.get(run, now)), 0.0)
        return left / max(at_once, 1)

    def _state(self, run: PlannedRun) -> State:
        if run in self.results:
            return State.FINISHED
        state = run.state()
        if state is State.RUNNING:
            self.begun.setdefault(run, time.monotonic())
        else:
            self.begun.pop(run, None)
        if state is State.FINISHED and (result := run.result()):
            self.results[run] = result
        return state

    def _watch(self) -> None:
        while not self._over.wait(self.every):
            try:
                self.look()
            except (OSError, ResultError):  # the runner meets it as well, and tells
                continue
