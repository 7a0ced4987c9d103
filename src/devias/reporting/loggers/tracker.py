"""What every tracker is to the Trainer: a logger that can neither fail nor delay the run."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from lightning.pytorch.loggers.logger import DummyExperiment, Logger
from lightning.pytorch.utilities import rank_zero_only

from devias.errors import ConfigError
from devias.files import write_text
from devias.reporting.loggers.patient import NoAnswerError, PatientCaller

log = logging.getLogger(__name__)

T = TypeVar("T")

FAILURES = 3
"""So many calls that fail one after the other end a tracker."""


class Backend(Protocol):
    """What a `Tracker` guards: most often one of Lightning's loggers with a few words more."""

    @property
    def experiment(self) -> Any:
        """The library's own object of the run; the run begins with the first use."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Values at an optimizer step."""

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """The configuration, as nested mappings of plain values."""

    def log_image(self, key: str, images: list[str]) -> None:
        """Picture files."""

    def log_table(self, key: str, columns: list[str], data: list[list[Any]]) -> None:
        """Rows of values."""

    def log_summary(self, values: Mapping[str, float]) -> None:
        """What the run reached in the end."""

    def log_files(self, kind: str, paths: list[str]) -> None:
        """Copies of files that are one thing, such as a `checkpoint` or a `result`."""

    def finish(self, failed: bool) -> None:
        """Write all there is, and end the run."""


class Tracker(Logger):
    """Hands everything on to a backend, whose failures and delays stay its own.

    What fails is left out; the first failure is told in a warning. A backend that cannot begin,
    that fails `FAILURES` times on end or does not answer in time is let alone for the rest of the
    run. Every rank has a tracker; only the first hands anything on.

    Args:
        title: what messages call it.
        make: the backend; called on first use.
        mistakes: rows of the table of the surest wrong answers, for each task; 0: no table.
        files: hand on the best checkpoint and the result's files.
        patience: seconds that a call may take.
        last_patience: seconds that the end may take.
    """

    def __init__(
        self,
        title: str,
        make: Callable[[], Backend],
        mistakes: int = 0,
        files: bool = False,
        patience: float = 60,
        last_patience: float = 150,
    ) -> None:
        super().__init__()
        self.title, self.mistakes, self.files = title, mistakes, files
        self.backend: Backend | None = None
        """As soon as the run has begun."""
        self._make = make
        self._patience, self._last_patience = patience, last_patience
        self._caller = PatientCaller(title)
        self._failures, self._warned, self._off, self._failed = 0, False, False, False

    @property
    def name(self) -> str:
        """The tracker's, not the run's, which would begin it."""
        return self.title

    @property
    def version(self) -> None:
        """None, as that of the run would begin it."""
        return

    @property
    def experiment(self) -> Any:
        """The library's own object; one that ignores everything where there is none.

        What is called on it is not guarded.
        """
        found = self._call(lambda backend: backend.experiment)
        return DummyExperiment() if found is None else found

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Values at an optimizer step."""
        metrics = dict(metrics)
        self._call(lambda backend: backend.log_metrics(metrics, step))

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The configuration, as nested mappings of plain values."""
        self._call(lambda backend: backend.log_hyperparams(params))

    @rank_zero_only
    def log_image(self, key: str, images: list[str]) -> None:
        """Picture files."""
        self._call(lambda backend: backend.log_image(key, images))

    @rank_zero_only
    def log_table(self, key: str, columns: Sequence[str], data: Sequence[Sequence[Any]]) -> None:
        """Rows of values."""
        rows = [[*row] for row in data]
        self._call(lambda backend: backend.log_table(key, [*columns], rows))

    @rank_zero_only
    def log_summary(self, values: Mapping[str, float]) -> None:
        """What the run reached in the end."""
        self._call(lambda backend: backend.log_summary(values))

    @rank_zero_only
    def log_files(self, kind: str, paths: Sequence[Path]) -> None:
        """Copies of files that are one thing, such as a `checkpoint` or a `result`."""
        self._call(lambda backend: backend.log_files(kind, [str(path) for path in paths]))

    def finalize(self, status: str) -> None:
        """Remember how the Trainer ended; the run itself goes on until `close`."""
        self._failed = self._failed or status == "failed"

    def close(self) -> None:
        """End the run, if it was begun, and wait until all is written, for a while."""
        if self.backend is not None:
            self._call(lambda backend: backend.finish(self._failed), self._last_patience)
        self._caller.end()
        self.backend, self._off = None, True

    def _call(self, function: Callable[[Backend], T], patience: float | None = None) -> T | None:
        """What the function returns; `None` where it fails."""
        if self._off or rank_zero_only.rank:  # type: ignore[attr-defined]
            return None
        try:
            if self.backend is None:
                self.backend = self._caller.call(self._begin, self._patience)
            begun = self.backend
            found = self._caller.call(lambda: function(begun), patience or self._patience)
        except NoAnswerError as error:
            self._fail(error, last=True)
        except Exception as error:
            self._failures += 1
            self._fail(error, last=self.backend is None or self._failures == FAILURES)
        else:
            self._failures = 0
            return found
        return None

    def _begin(self) -> Backend:
        backend = self._make()
        _ = backend.experiment
        return backend

    def _fail(self, error: Exception, last: bool) -> None:
        ending = "without it" if last else "without what it did not take"
        text = " ".join(str(error).split())
        level = logging.INFO if self._warned else logging.WARNING
        kind = "" if isinstance(error, NoAnswerError) else f"{type(error).__name__}: "
        log.log(level, "%s: %s%.300s; the run goes on %s", self.title, kind, text, ending)
        self._warned = True
        if last:
            self._off = True
            self._caller.end()


def need(package: str, who: str) -> None:
    """Raise a `ConfigError` where a package that somebody needs is not installed."""
    if importlib.util.find_spec(package) is None:
        raise ConfigError(f"{who} needs the package {package}: pip install 'devias[trackers]'")


def id_file(run_dir: str, tracker: str) -> Path:
    """Where a run's folder keeps the id that the run has at a tracker.

    A run that is continued has its id again, so that the tracker continues it, too.
    """
    return Path(run_dir) / f".{tracker}_id"


def read_id(path: Path) -> str | None:
    """What the file says, if it is there and says anything."""
    text = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    return text or None


def kept_id(path: Path) -> str:
    """What the file says; where it says nothing, an id that is written to it."""
    known = read_id(path)
    if known is None:
        known = secrets.token_hex(4)
        write_text(path, known)
    return known


def shortened(text: str, limit: int) -> str:
    """A text of at most so many characters; one that is cut ends with its hash."""
    if len(text) <= limit:
        return text
    return f"{text[: limit - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
