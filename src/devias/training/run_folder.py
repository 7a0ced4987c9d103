"""The folder of a run, which no other run writes to at the same time."""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lightning.fabric.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig

from devias.errors import DeviasError
from devias.files import remove_temporary

log = logging.getLogger(__name__)

LOCK_FILE = ".lock"
LOG_FILE = "train.log"
_RANK_ZERO = "DEVIAS_RANK_ZERO_RUN_DIR"
"""Environment variable that tells the processes which rank 0 starts where it runs."""
HELD_MESSAGE = "another run is writing to"
"""How the message of a `RunFolderError` begins."""

_held: set[Path] = set()
"""The folders that this process holds."""
_guard = threading.Lock()
"""While a lock file is opened, locked or closed: closing one frees the process's own lock of it."""


class RunFolderError(DeviasError, FileExistsError):
    """A run is writing to the folder."""


@contextmanager
def claimed_folder(config: DictConfig, new: bool = False) -> Iterator[Path]:
    """Hold `paths.run_dir` for one run and copy the log to a file in it.

    Ranks other than 0 make nothing; where rank 0 started them they take its folder.

    Args:
        config: `paths.run_dir` is set to the absolute path of the claimed folder.
        new: the folder must be this run's own: where it exists, a number is added to its name.

    Raises:
        RunFolderError: another process holds it.
    """
    folder = Path(config.paths.run_dir).absolute()
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        folder = Path(os.environ.get(_RANK_ZERO, folder))
        config.paths.run_dir = str(folder)
        yield folder
        return
    if new:
        folder = _make_new(folder)
    config.paths.run_dir = str(folder)
    with locked(folder):
        for part in (folder, folder / "checkpoints", folder / "figures"):
            remove_temporary(part)  # of a run that was killed here
        _log_to(folder / LOG_FILE)
        os.environ[_RANK_ZERO] = str(folder)
        try:
            yield folder
        finally:
            del os.environ[_RANK_ZERO]


def _make_new(folder: Path) -> Path:
    """Make the folder, or the first of `folder-2`, `folder-3`, … that nobody has made."""
    for number in itertools.count(2):
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            stem = folder.name if number == 2 else folder.name.rpartition("-")[0]
            folder = folder.with_name(f"{stem}-{number}")
    raise AssertionError("there are numbers enough")


def is_held(folder: Path) -> bool:
    """Whether a run is writing to a folder at this moment, in this process or another."""
    folder = folder.absolute()
    with _guard:
        if folder in _held:
            return True
        try:
            file = (folder / LOCK_FILE).open("r")
        except OSError:
            return False
        with file:
            try:
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                return True
            except OSError:  # it cannot be locked at all
                return False
    return False


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder, which is made if need be.

    Raises:
        RunFolderError: a run is writing to it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _guard:
        file = (folder / LOCK_FILE).open("a")
        try:
            _lock(folder, file)
        except RunFolderError:
            file.close()
            raise
        _held.add(folder)
    try:
        yield
    finally:
        with _guard:
            _held.discard(folder)
            file.close()


def _lock(folder: Path, file: IO[str]) -> None:
    for last in (False, False, True):
        try:
            # A POSIX lock is this process's alone. One of `flock` would be shared with the workers
            # forked from it, which outlive a killed run by seconds.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except (BlockingIOError, PermissionError):
            if last:
                raise RunFolderError(
                    f"{HELD_MESSAGE} {folder}: wait for its end, or choose another paths.run_dir"
                ) from None
            time.sleep(0.02)  # it may be somebody who only looks, with `is_held`
        except OSError as error:
            log.warning("%s cannot be locked: start no other run in it (%s)", folder, error)
            return


class _RunLog(logging.FileHandler):
    """The log of the run that this process is at, or was at last: its last line may be an error."""


def _log_to(path: Path) -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _RunLog)]:
        root.removeHandler(handler)
        handler.close()
    handler = _RunLog(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%F %T"))
    root.addHandler(handler)
