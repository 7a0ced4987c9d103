"""Locks between processes that are free again as soon as their holder dies."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def waiting_for(path: Path) -> Iterator[None]:
    """Hold a lock, and wait for it if need be; no process may ask for one that it holds."""
    with path.open("a") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def try_to_hold(path: Path) -> IO[str] | None:
    """A lock that is held until the file is closed; `None` while another process has it."""
    file = path.open("a")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.close()
        return None
    return file
