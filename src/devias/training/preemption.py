"""Stopping at a request, as a cluster makes it, so that the same command goes on from there."""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import distributed

log = logging.getLogger(__name__)

PAUSE = (signal.SIGUSR1, signal.SIGUSR2)
"""What asks for a pause, before a time limit or for another's job; SIGTERM asks for the end."""

PAUSED = 75
"""Exit code of a run that was asked for a pause: start it again (sysexits' EX_TEMPFAIL)."""


def exit_code(number: int) -> int:
    """Of a run that stopped at a signal: 143 after SIGTERM, 75 after the others."""
    return 128 + number if number == signal.SIGTERM else PAUSED


def exit_code_of(trainer: L.Trainer) -> int:
    """What a program shall end with whose training ended with `SIGTERMException`.

    Rank 0 speaks for all: what starts ranks kills the others when one ends with another code than
    0, and rank 0 may still be writing.
    """
    stops = (callback for callback in trainer.callbacks if isinstance(callback, StopOnSignal))  # type: ignore[attr-defined]
    number = next((stop.stopped for stop in stops), 0) or signal.SIGTERM
    return exit_code(number) if trainer.is_global_zero else 0


class StopOnSignal(L.Callback):
    """Stops training at SIGTERM, SIGUSR1 or SIGUSR2, all ranks after the same batch, and saves.

    One rank that is asked is enough. The batch that is being computed is finished, with several
    ranks up to the next optimizer step; a validation is, too, and then the file of the epoch's
    end is what was saved. Outside of training the process ends at once. A second request changes
    nothing, and a kill at any moment leaves the checkpoint of before.

    Lightning's own way is switched off: it calls a collective inside the signal handler, at
    whatever place of whatever rank, and has every rank wait for its device twice a step.
    """

    def __init__(self) -> None:
        self.stopped = 0
        """The signal at which training stopped, the same on all ranks; 0: none."""
        self._asked = 0
        self._training = False
        self._agreement: Agreement | None = None
        self._before: dict[int, Any] = {}
        self._process = os.getpid()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Take the signals."""
        connector = trainer._signal_connector
        connector._sigterm_notifier_fn = self._note  # type: ignore[method-assign,assignment]
        loop = trainer.fit_loop.epoch_loop
        loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
        self._process = os.getpid()
        if threading.current_thread() is threading.main_thread() and not self._before:
            self._before = {number: signal.signal(number, self._note) for number in PAUSE}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """From here on there is something to save."""
        several = distributed.is_available() and distributed.is_initialized()
        self._agreement = Agreement(trainer.strategy.root_device) if several else None
        self._training = True

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Let the loop end after this batch, if it is time."""
        wanted = self._agreement.ask(self._asked) if self._agreement else self._asked
        self.stopped = self.stopped or wanted
        if self.stopped and self._may_stop(trainer):
            self._stop(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let the loop end after the epoch's checkpoint, also if asked during validation."""
        self._agree()
        if self.stopped:
            self._stop(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """From here on there is nothing to save."""
        self._training = False
        self._agree()
        if self.stopped:
            raise SystemExit(exit_code_of(trainer))

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Save, if this is why training ended; all ranks are here together."""
        self._training = False
        if isinstance(exception, SIGTERMException) and self.stopped:
            # After a step all ranks have the same weights.
            if all(parameter.isfinite().all() for parameter in pl_module.parameters()):
                _save(trainer, pl_module, exception)
            if trainer.is_global_zero:
                log.warning(
                    "stopped at %s after step %d; the same command with ckpt_path=auto goes on",
                    signal.Signals(self.stopped).name,
                    trainer.global_step,
                )
        self._give_back(trainer)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Leave the signals to whom they were left before."""
        self._give_back(trainer)

    def _note(self, number: int, frame: Any) -> None:
        if os.getpid() != self._process:
            return  # a loader's process, which ends with this one
        self._asked = max(self._asked, number)  # SIGTERM's is the greatest
        if not self._training:
            raise SystemExit(exit_code(number))

    def _agree(self) -> None:
        """Ask all ranks and wait for the answer."""
        asked = self._asked
        if self._agreement:
            self._agreement.ask(asked)
            asked = self._agreement.answer()
        self.stopped = self.stopped or asked

    def _may_stop(self, trainer: L.Trainer) -> bool:
        """Whether the next batch comes next: a validation would be left out by a run that goes on.

        Between the batches of a step every rank has gradients of its own.
        """
        loop = trainer.fit_loop.epoch_loop
        fetcher = trainer.fit_loop._data_fetcher
        assert fetcher is not None
        amid_step = trainer.world_size > 1 and loop._should_accumulate()
        return not (amid_step or loop._is_training_done or loop._should_check_val_fx(fetcher))

    def _stop(self, trainer: L.Trainer) -> None:
        # The loops look at it when the batch or epoch is over, on all ranks alike.
        trainer._signal_connector.received_sigterm = True

    def _give_back(self, trainer: L.Trainer) -> None:
        # After an exception Lightning puts back what it has found, which was ours.
        trainer._signal_connector._original_handlers.update(self._before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


class Agreement:
    """What all ranks know of what any of them was asked.

    The answer to a question is read when the next one is asked, when it has long been there: no
    host waits for its device, or for a rank that is less than a batch behind.

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

    def answer(self) -> int:
        """The greatest number of the last question, waiting for it."""
        if self._work is None:
            return 0
        if self._event is not None:
            self._event.synchronize()
            return int(self._host)
        self._work.wait()
        return int(self._flag)


def _save(trainer: L.Trainer, module: L.LightningModule, reason: BaseException) -> None:
    """Let the saver of the last checkpoint write, unless it has of this step."""
    if trainer.state.fn != TrainerFn.FITTING:
        return
    for saver in trainer.checkpoint_callbacks:
        if isinstance(saver, ModelCheckpoint) and saver.monitor is None:
            saver.save_on_exception, before = True, saver.save_on_exception
            saver.on_exception(trainer, module, reason)
            saver.save_on_exception = before
