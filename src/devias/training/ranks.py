"""How the processes of a run end: with the one that started them, and with which code."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

PAUSE = (signal.SIGUSR1, signal.SIGUSR2)
"""What asks for a pause, before a time limit or for another's job; SIGTERM asks for the end."""

PAUSED = 75
"""Exit code of a run that was asked for a pause: start it again (sysexits' EX_TEMPFAIL)."""

PAUSE_FILE = "DEVIAS_PAUSE_FILE"
"""Environment variable: a file that a run leaves which was asked for a pause.

For scripts that start several ranks: the first that ends makes srun kill the others, and theirs may
be the code that it ends with.
"""

PARENT = "DEVIAS_PARENT"
"""Environment variable: the number of the process with which a job of a sweep shall end."""


def end_with_parent(interval: float = 1.0, parent: int | None = None) -> None:
    """End this process when its parent is gone, by looking every `interval` seconds.

    A rank whose rank 0 was killed waits for it in a collective for ever otherwise.

    Args:
        interval: in seconds.
        parent: its number, where it may be gone already; by default the present one.
    """
    parent = parent or os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(interval)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def end_with_launcher() -> None:
    """`end_with_parent` for a job whose launcher asks for it; its own children are not meant."""
    if parent := os.environ.pop(PARENT, None):
        end_with_parent(parent=int(parent))


def take_pauses() -> None:
    """End at once when asked for a pause, as long as there is nothing to save."""
    if PAUSE_FILE in os.environ:
        for number in PAUSE:
            signal.signal(number, pause_at_once)


def pause_at_once(number: int, frame: Any) -> None:
    """End this process for a pause; a handler of signals."""
    note_pause()
    raise SystemExit(PAUSED)


def note_pause() -> None:
    """Leave the file that tells of a pause, if it is wanted."""
    if path := os.environ.get(PAUSE_FILE):
        Path(path).touch()
