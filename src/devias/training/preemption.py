"""Stopping at a request, as a cluster makes it, so that the same command goes on from there."""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from devias.training.agreement import Agreement, agreement_of
from devias.training.ranks import PAUSE, PAUSED, note_pause, pause_at_once
from devias.training.saving import next_is_a_batch

log = logging.getLogger(__name__)


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
        self._agreement = agreement_of(trainer)
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
        if self.stopped in PAUSE:
            note_pause()
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
            if self.stopped in PAUSE:
                note_pause()
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
        if not self._training and number in PAUSE:
            pause_at_once(number, frame)
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
        """Whether a run may go on from here: with several ranks not amid a step.

        Between the batches of a step every rank has gradients of its own.
        """
        amid_step = trainer.world_size > 1 and trainer.fit_loop.epoch_loop._should_accumulate()
        return next_is_a_batch(trainer) and not amid_step

    def _stop(self, trainer: L.Trainer) -> None:
        # The loops look at it when the batch or epoch is over, on all ranks alike.
        trainer._signal_connector.received_sigterm = True

    def _give_back(self, trainer: L.Trainer) -> None:
        # After an exception Lightning puts back what it has found, which was ours.
        trainer._signal_connector._original_handlers.update(self._before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def _save(trainer: L.Trainer, module: L.LightningModule, reason: BaseException) -> None:
    """Let the saver of the last checkpoint write, unless it has of this step."""
    if trainer.state.fn != TrainerFn.FITTING:
        return
    for saver in trainer.checkpoint_callbacks:
        if isinstance(saver, ModelCheckpoint) and saver.monitor is None:
            saver.save_on_exception, before = True, saver.save_on_exception
            saver.on_exception(trainer, module, reason)
            saver.save_on_exception = before
