"""The checkpoint that a run goes on from, written at epoch ends and between them."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint

from devias.errors import ConfigError
from devias.training.agreement import Agreement, agreement_of


class LastCheckpoint(ModelCheckpoint):
    """Writes `last.ckpt` at every epoch's end and, within epochs, every so many steps or minutes.

    Within an epoch it is written after an optimizer step that no validation follows: what is due
    earlier waits for the next such step. Nothing is written of weights that are not finite. Rows
    that loggers keep in memory are written with it, so that a killed run lacks none before it.

    Args:
        dirpath: folder of the file.
        every_n_steps: whenever the number of optimizer steps is a multiple of this.
        every_minutes: whenever so much time has passed since the file was written.

    Raises:
        ConfigError: one of the two is not above 0.
    """

    def __init__(
        self, dirpath: str, every_n_steps: int | None = None, every_minutes: float | None = None
    ) -> None:
        for name, value in (("every_n_steps", every_n_steps), ("every_minutes", every_minutes)):
            if value is not None and value <= 0:
                raise ConfigError(
                    f"callbacks.last.{name}={value} must be above 0; null switches it off"
                )
        super().__init__(
            dirpath, filename="last", save_on_train_epoch_end=True, enable_version_counter=False
        )
        self.every_n_steps, self.every_minutes = every_n_steps, every_minutes
        self._written = 0, 0.0
        """Optimizer steps and time when the file was written, or training started."""
        self._rows_wait = False
        self._agreement: Agreement | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Count steps and time from here."""
        super().on_train_start(trainer, pl_module)
        self._written = trainer.global_step, time.monotonic()
        self._agreement = agreement_of(trainer)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Write the row of the step that was saved, which loggers get only after it."""
        if self._rows_wait:
            self._rows_wait = False
            write_rows(trainer)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save if it is due, all ranks or none."""
        amid_step = trainer.fit_loop.epoch_loop._should_accumulate()
        if self._should_skip_saving_checkpoint(trainer) or amid_step:
            return
        if not (next_is_a_batch(trainer) and self._is_due(trainer)):
            return
        # After the step all ranks have the same weights.
        if not all(parameter.isfinite().all() for parameter in pl_module.parameters()):
            return
        at_epoch_end = self._last_global_step_saved
        self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))
        # The epoch's end saves in any case: its state is another, though the step be the same.
        self._last_global_step_saved = at_epoch_end
        self._rows_wait = True

    def _is_due(self, trainer: L.Trainer) -> bool:
        step, moment = self._written
        every = self.every_n_steps
        if every is not None and trainer.global_step // every > step // every:
            return True
        if self.every_minutes is None:
            return False
        late = time.monotonic() - moment >= 60 * self.every_minutes
        # Clocks differ; and the ranks learn of each other's one step late, without waiting.
        return bool(self._agreement.ask(int(late))) if self._agreement else late

    def _save_checkpoint(self, trainer: L.Trainer, filepath: str) -> None:
        write_rows(trainer)
        super()._save_checkpoint(trainer, filepath)
        self._written = trainer.global_step, time.monotonic()
        if self._agreement:
            self._agreement.forget()


def next_is_a_batch(trainer: L.Trainer) -> bool:
    """Whether, at the end of a batch, another one comes next.

    Lightning passes over a validation that would follow the batch that a run goes on after.
    """
    loop = trainer.fit_loop.epoch_loop
    fetcher = trainer.fit_loop._data_fetcher
    assert fetcher is not None
    ends = loop._is_training_done or trainer.should_stop
    return not (ends or loop._should_check_val_fx(fetcher))


def write_rows(trainer: L.Trainer) -> None:
    """Let loggers write what they keep in memory."""
    for logger in trainer.loggers:
        logger.save()
