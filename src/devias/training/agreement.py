"""What the ranks of a run decide together, one batch late."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import distributed


def agreement_of(trainer: L.Trainer) -> Agreement | None:
    """One for the ranks of a running Trainer; `None` where there is a single process."""
    several = distributed.is_available() and distributed.is_initialized()
    return Agreement(trainer.strategy.root_device) if several else None


class Agreement:
    """What all ranks know of what any of them was asked.

    The answer to a question is read when the next one is asked: no host waits for the batch that
    it has just handed to its device, or for a rank that is less than a batch behind.

    Args:
        device: of this rank.
    """

    def __init__(self, device: torch.device) -> None:
        self._flag = torch.zeros((), dtype=torch.int32, device=device)
        self._host = torch.zeros((), dtype=torch.int32, pin_memory=device.type == "cuda")
        self._event = torch.cuda.Event() if device.type == "cuda" else None
        self._work: Any = None

    def ask(self, number: int) -> int:
        """The greatest number of all ranks when they last asked; all must call this together."""
        before = self.answer()
        self._flag.fill_(number)
        self._work = distributed.all_reduce(self._flag, distributed.ReduceOp.MAX, async_op=True)
        if self._event is not None:
            self._work.wait()  # the device's stream does, not the host
            self._host.copy_(self._flag, non_blocking=True)
            self._event.record()
        return before

    def forget(self) -> None:
        """Let the last question be answered and take no notice."""
        self.answer()
        self._work = None

    def answer(self) -> int:
        """The greatest number of the last question, waiting for it."""
        if self._work is None:
            return 0
        if self._event is not None:
            self._event.synchronize()
            return int(self._host)
        self._work.wait()
        return int(self._flag)
