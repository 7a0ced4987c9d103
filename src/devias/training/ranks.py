"""How the processes of a run end: with the one that started them, and with which code."""

from __future__ import annotations

import os
import threading
import time

PAUSED = 75
"""Exit code of a run that was asked for a pause: start it again (sysexits' EX_TEMPFAIL)."""

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
