"""A search for better settings: one worker of those that may share it."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO

import optuna

from devias.config.overrides import as_value, quoted
from devias.errors import ConfigError, DeviasError
from devias.reporting.search import SearchResults, SearchTrial
from devias.sweeps.jobs import OUTPUT_FILE, last_error
from devias.sweeps.locks import try_to_hold, waiting_for
from devias.sweeps.space import Space
from devias.sweeps.study import (
    PrunerSettings,
    importances,
    make_sampler,
    open_study,
    suggest,
)
from devias.sweeps.trial import PRUNED_AFTER, TrialFile, best_value
from devias.training.ranks import PAUSED
from devias.training.run_folder import is_held

log = logging.getLogger(__name__)

State = optuna.trial.TrialState
STATES = {State.COMPLETE: "complete", State.PRUNED: "pruned", State.FAIL: "failed"}
STARTS, ERROR = "starts", "error"
"""Of a trial: how often it was started, and why it failed."""
POLL = 1.0
"""Seconds between looks at a run that is about to end with its dead worker."""
HOPELESS = 3
"""If so many trials fail before any other ended, something is wrong with all."""
STOPPED = (PAUSED, 128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGINT, -signal.SIGTERM)
"""Exit codes of a run that was asked to stop."""

Start = Callable[[Sequence[str], Path], int]
"""Runs `devias train` with some words, for a trial's folder → exit code."""


class SearchError(DeviasError, RuntimeError):
    """A search cannot go on; says why."""


@dataclass(frozen=True)
class SearchSettings:
    """What is searched for, and how."""

    name: str
    folder: Path
    """Of the search; its trials are below it."""
    space: Space
    overrides: tuple[str, ...] = ()
    """Of this call, for all trials, behind the space's own."""
    method: str = ""
    """Hash and seed of what is trained; trials of another method cannot be compared."""
    trials: int = 20
    """In all."""
    metric: str = "val/harmonic_mean"
    direction: str = "maximize"
    sampler: str = "tpe"
    sampler_seed: int = 0
    pruner: PrunerSettings = field(default_factory=PrunerSettings)
    startup_trials: int = 5
    restarts: int = 3
    """How often a trial is taken up again whose worker died."""
    storage: str | None = None
    """Default: a journal file in the folder."""

    @property
    def place(self) -> str:
        """Where the study is stored."""
        return self.storage or str(self.folder / "journal.log")

    def words(self, parameters: Sequence[str], trials_too: bool = True) -> list[str]:
        """Of `devias train`: the space's, this call's, those of parameters."""
        own = self.space.trials if trials_too else ()
        return [*self.space.base, *own, *self.overrides, *parameters]


@dataclass
class Claim:
    """A trial that this worker is at; nobody else takes it while the lock is held."""

    trial: optuna.Trial
    folder: Path
    lock: IO[str]


def start_training(words: Sequence[str], folder: Path) -> int:
    """`devias train` as a process of its own, whose output goes into the folder.

    SIGTERM, and Ctrl-C, stop it as well, and are waited for while it saves.
    """
    process: subprocess.Popen[bytes] | None = None
    stopped = 0

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        stopped = number  # an exception here could lose a process that is just being started
        if process is not None:
            process.terminate()

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with (folder / OUTPUT_FILE).open("a", encoding="utf-8") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "devias", "train", *words], stdout=output, stderr=output
            )
        if stopped:
            process.terminate()
        code = process.wait()
    except BaseException:
        if process is not None:
            process.terminate()
            process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    if stopped:
        sys.exit(128 + stopped)
    return code


class Search:
    """One worker of a search.

    Whether a trial is somebody's is told by a lock on its folder, which dies with its holder. A
    trial whose worker died is taken up where it stood, since its run is resumed.

    Args:
        settings: what to search.
        start: runs a trial.

    Raises:
        ConfigError: the search was begun with other settings; or the storage cannot be opened.
    """

    def __init__(self, settings: SearchSettings, start: Start = start_training) -> None:
        self.settings = settings
        self.start = start
        settings.folder.mkdir(parents=True, exist_ok=True)
        self._lock = settings.folder / ".search.lock"
        with waiting_for(self._lock):
            self.study = open_study(
                settings.place, settings.name, settings.direction, settings.pruner, create=True
            )
            self._check_settings()

    def run(self) -> None:
        """Do trials until there are as many as wanted.

        Raises:
            SearchError: the first trials all failed, or a trial was stopped from outside.
        """
        while True:
            with waiting_for(self._lock):
                claim, wait = self._next()
            if claim is not None:
                with claim.lock:
                    self._do(claim)
                self._refuse_hopeless()
            elif wait:
                time.sleep(POLL)
            else:
                return

    def results(self) -> SearchResults:
        """What was found so far, by all workers."""
        trials = self.study.get_trials(deepcopy=False)
        return SearchResults(
            self.settings.name,
            self.settings.metric,
            self.settings.direction == "maximize",
            [self._as_result(trial) for trial in trials if trial.state != State.WAITING],
            importances(self.study),
        )

    def _as_result(self, trial: optuna.trial.FrozenTrial) -> SearchTrial:
        tidy = {p.key: p.tidy(trial.params.get(p.key)) for p in self.settings.space.parameters}
        values = trial.intermediate_values
        return SearchTrial(
            trial.number,
            STATES.get(trial.state, "running"),
            tidy,
            best_value(values, self.settings.direction),
            max(values, default=0),
            str(trial.user_attrs.get(ERROR, "")),
        )

    def _check_settings(self) -> None:
        """Trials of other settings cannot be compared; where things lie does not matter."""
        own = self.settings
        now = {
            "parameters": json.loads(json.dumps([asdict(p) for p in own.space.parameters])),
            "method": own.method,
            "metric": own.metric,
            "direction": own.direction,
        }
        begun = self.study.user_attrs.get("settings")
        if begun is None:
            self.study.set_user_attr("settings", now)
            self.study.set_user_attr("words", own.words([]))
            for values in own.space.grid() if own.sampler == "grid" else ():
                self.study.enqueue_trial(values)
            return
        changed = [key for key, value in now.items() if begun.get(key) != value]
        if changed:
            words = " ".join(self.study.user_attrs.get("words", []))
            raise ConfigError(
                f"the search in {own.folder} was begun with another {' and '.join(changed)} "
                f"(devias train {words}): choose another name=…"
            )

    def _next(self) -> tuple[Claim | None, bool]:
        """What this worker does next, and whether it shall look again where that is nothing."""
        own, wait = self.settings, False
        trials = self.study.get_trials(deepcopy=False)
        for frozen in trials:
            if frozen.state == State.RUNNING:
                lock = try_to_hold(self._folder(frozen.number) / ".trial.lock")
                if lock is None:  # another worker is at it
                    continue
                if is_held(self._folder(frozen.number)):  # its run ends within a second
                    lock.close()
                    wait = True
                elif claim := self._take_up(frozen, lock):
                    return claim, False
        waiting = sum(trial.state == State.WAITING for trial in trials)
        begun = len(trials) - waiting
        if begun >= own.trials or (own.sampler == "grid" and not waiting):
            return None, wait
        seed = own.sampler_seed
        self.study.sampler = make_sampler(own.sampler, seed, own.startup_trials, begun)
        trial = self.study.ask()
        lock = try_to_hold(self._folder(trial.number) / ".trial.lock")
        assert lock is not None  # claims are made one at a time
        return self._claim(trial, lock), False

    def _folder(self, number: int) -> Path:
        folder = self.settings.folder / f"trial-{number}"
        folder.mkdir(exist_ok=True)
        return folder

    def _take_up(self, frozen: optuna.trial.FrozenTrial, lock: IO[str]) -> Claim | None:
        """Go on with a trial whose worker died, unless that happened too often."""
        trial = optuna.Trial(self.study, frozen._trial_id)
        claim = self._claim(trial, lock)
        starts = trial.user_attrs[STARTS]
        if starts <= 1 + self.settings.restarts:
            log.info("trial %d goes on: its worker died", trial.number)
            return claim
        with lock:
            self._tell(claim, State.FAIL, error=f"its worker died {starts - 1} times")
        return None

    def _claim(self, trial: optuna.Trial, lock: IO[str]) -> Claim:
        """Give a trial its values, and count that it starts."""
        suggest(trial, self.settings.space)
        trial.set_user_attr(STARTS, trial.user_attrs.get(STARTS, 0) + 1)
        claim = Claim(trial, self._folder(trial.number), lock)
        self._file(claim).save(claim.folder)
        return claim

    def _file(self, claim: Claim) -> TrialFile:
        own = self.settings
        return TrialFile(
            claim.trial.number,
            "running",
            suggest(claim.trial, own.space),
            own.metric,
            own.direction,
            study=own.name,
            storage=own.place,
            pruner=asdict(own.pruner),
        )

    def _do(self, claim: Claim) -> None:
        """Run a trial, and tell what came of it."""
        if not self._frozen(claim).user_attrs.get(PRUNED_AFTER):  # else only telling is left
            code = self.start(self._words(claim), claim.folder)
            if code in STOPPED:
                raise SearchError(
                    f"trial {claim.trial.number} was stopped; the same command goes on with it"
                )
            if code != 0:
                self._tell(claim, State.FAIL, error=_why(claim.folder, code))
                return
        frozen = self._frozen(claim)
        if frozen.user_attrs.get(PRUNED_AFTER):
            self._tell(claim, State.PRUNED)
        elif (value := best_value(frozen.intermediate_values, self.settings.direction)) is None:
            self._tell(claim, State.FAIL, error=f"it has no value of {self.settings.metric}")
        else:
            self._tell(claim, State.COMPLETE, value)

    def _frozen(self, claim: Claim) -> optuna.trial.FrozenTrial:
        return self.study.get_trials(deepcopy=False)[claim.trial.number]

    def _words(self, claim: Claim) -> list[str]:
        """What `devias train` is given for a trial."""
        own = self.settings
        values = suggest(claim.trial, own.space)
        report = f"_target_: devias.sweeps.trial.ReportTrial, folder: {quoted(str(claim.folder))}"
        return [
            *own.words(own.space.overrides(values)),
            "test=false",
            f"names.model=trial-{claim.trial.number}",
            f"paths.run_dir={as_value(str(claim.folder))}",
            "ckpt_path=auto",
            f"+callbacks.search={{{report}}}",
        ]

    def _tell(
        self, claim: Claim, state: State, value: float | None = None, error: str = ""
    ) -> None:
        """Write down how a trial ended, in the storage and in its folder, and say so."""
        number = claim.trial.number
        if error:
            claim.trial.set_user_attr(ERROR, error)
        self.study.tell(number, value, state)
        frozen = self._frozen(claim)
        result = self._as_result(frozen)
        note = error
        if state == State.PRUNED:
            note = f"pruned after {frozen.user_attrs[PRUNED_AFTER]} epochs"
        file = replace(self._file(claim), state=STATES[state], value=result.value, note=note)
        file.save(claim.folder)
        told = note or f"{self.settings.metric} {value:.4f}"
        trials = self.study.get_trials(deepcopy=False)
        done = sum(trial.state in STATES for trial in trials)
        best = self.results().best
        reached = f"; best {best.value:.4f} in trial {best.number}" if best else ""
        print(f"trial {number}: {told} ({done} of {self.settings.trials}{reached})", flush=True)

    def _refuse_hopeless(self) -> None:
        ended = [t for t in self.study.get_trials(deepcopy=False) if t.state in STATES]
        if len(ended) >= HOPELESS and all(trial.state == State.FAIL for trial in ended):
            raise SearchError(
                f"all of the first {len(ended)} trials failed; the last one: "
                f"{ended[-1].user_attrs.get(ERROR)}"
            )


def _why(folder: Path, code: int) -> str:
    """Why a run failed: the signal that ended it, or the last error that it told."""
    if code < 0:
        return f"it ended with {signal.Signals(-code).name}"
    output = folder / OUTPUT_FILE
    told = output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""
    return last_error(told) if told.strip() else f"it ended with code {code}"


def best_command(settings: SearchSettings, parameters: Mapping[str, object]) -> list[str]:
    """The words of the command that trains with some parameters, and tests."""
    values = {p.key: parameters[p.key] for p in settings.space.parameters}
    words = settings.words(settings.space.overrides(values), trials_too=False)  # type: ignore[arg-type]
    return ["devias", "train", *words]
