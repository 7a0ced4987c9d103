"""The processes of one run, of which rank 0 starts the others."""

from __future__ import annotations

import os
import threading
import time


def end_with_parent(interval: float = 1.0) -> None:
    """End this process when its parent is gone, by looking every `interval` seconds.

    A rank whose rank 0 was killed waits for it in a collective for ever otherwise.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(interval)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
