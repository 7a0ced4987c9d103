"""What happens around training: repeatable randomness, a stop on non-finite losses, the config."""

from __future__ import annotations

import logging
import random
import sys
import time
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import CSVLogger
from omegaconf import OmegaConf
from torch import Tensor, distributed

from devias.errors import DeviasError
from devias.models.architecture import describe
from devias.training.module import ActionSceneModule

log = logging.getLogger(__name__)


LAYOUT = 2
"""Number of the layout of stored configurations; 1 is that of checkpoints that hold no number."""


class SeedEveryEpoch(L.Callback):
    """Restart the random state at every training epoch from `(seed, epoch, rank)`.

    A resumed run draws the same dropout and background permutations as one that was never
    interrupted. For the middle of an epoch checkpoints hold the random state of every rank.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._states: list[dict[str, Any]] = []

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Seed all generators of this process, those of its device included."""
        entropy = (self.seed, trainer.current_epoch, trainer.global_rank)
        L.seed_everything(int(np.random.SeedSequence(entropy).generate_state(1)[0]), verbose=False)

    def state_dict(self) -> dict[str, Any]:
        """The random states of all ranks, which must call this together."""
        states = [random_state()]
        if distributed.is_available() and distributed.is_initialized():
            own, states = states[0], states * distributed.get_world_size()
            distributed.all_gather_object(states, own)
        return {"states": states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states until training starts."""
        self._states = state_dict["states"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take this rank's state; an epoch that starts anew seeds again."""
        if len(self._states) == trainer.world_size:
            set_random_state(self._states[trainer.global_rank])


def random_state() -> dict[str, Any]:
    """The state of this process's generators, that of its device included, as plain values."""
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    numpy_state["state"]["key"] = numpy_state["state"]["key"].tolist()
    return {
        "python": random.getstate(),
        "numpy": numpy_state,
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Go on from what `random_state` returned."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(state["cuda"])


class NonFiniteLossError(DeviasError, RuntimeError):
    """A loss term became NaN or infinite."""


class StopOnNonFiniteLoss(L.Callback):
    """Stop with an error that names the term, before a checkpoint could be overwritten.

    One bad step makes all weights, and with them all terms of the next step, NaN; so the terms of
    the first bad step are named. The check stays on the device; it is read every `every_n_steps`
    steps, where not 0, and before validation, so that training does not wait for the device in
    between.
    """

    def __init__(self, every_n_steps: int = 50) -> None:
        self.every_n_steps = every_n_steps
        self._bad: Tensor | None = None
        self._last_good = 0

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Remember which terms were not finite in the first step in which some were not."""
        bad = ~outputs["terms"].isfinite()
        self._bad = bad if self._bad is None else torch.where(self._bad.any(), self._bad, bad)
        if self.every_n_steps and (batch_idx + 1) % self.every_n_steps == 0:
            self._check(trainer, pl_module)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Checkpoints are written after validation."""
        self._check(trainer, pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Where there is no validation, checkpoints are written after the epoch."""
        self._check(trainer, pl_module)

    def _check(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._bad is None or not isinstance(pl_module, ActionSceneModule):
            return
        bad = self._bad.tolist()
        if any(bad):
            names = [name for name, is_bad in zip(pl_module.losses, bad, strict=True) if is_bad]
            raise NonFiniteLossError(
                f"loss term {', '.join(names)} became NaN or infinite between steps "
                f"{self._last_good} and {trainer.global_step}; the checkpoints before it are kept. "
                "A lower optim.base_lr, a longer optim.warmup_epochs or "
                "trainer.gradient_clip_val=1 usually helps."
            )
        self._last_good = trainer.global_step


class StoreConfig(L.Callback):
    """Make every checkpoint describe itself: the composed configuration and the architecture.

    YAML text and plain values keep checkpoints loadable with `torch.load(weights_only=True)`.
    Trackers get the configuration, too, to filter and compare runs by.
    """

    key, layout_key = "devias_config", "devias_layout"

    def __init__(self, yaml: str) -> None:
        self.yaml = yaml
        self._handed_on = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Hand the configuration to trackers, before training and before a test alone."""
        if self._handed_on:
            return
        self._handed_on = True
        config: Any = OmegaConf.to_container(OmegaConf.create(self.yaml), resolve=True)
        for logger in trainer.loggers:
            if not isinstance(logger, CSVLogger):  # config.yaml stands beside it
                logger.log_hyperparams(config)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add both, and the number of the configuration's layout."""
        checkpoint[self.key], checkpoint[self.layout_key] = self.yaml, LAYOUT
        checkpoint["architecture"] = describe(pl_module.model)  # type: ignore[arg-type]


class LogEpochs(L.Callback):
    """Log one line an epoch where there is no terminal to draw a progress bar on."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock of an epoch that goes on in its middle."""
        self._start = time.monotonic()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say how far training is: the last step's loss and the validation's headline."""
        if sys.stdout.isatty() or not trainer.is_global_zero:
            return
        wanted = ("loss/total", "val/harmonic_mean")
        metrics = trainer.logged_metrics
        log.info(
            "epoch %d%s: %s (%.1f s)",
            trainer.current_epoch + 1,
            "" if trainer.max_epochs == -1 else f" of {trainer.max_epochs}",
            ", ".join(f"{name} {float(metrics[name]):.3f}" for name in wanted if name in metrics),
            time.monotonic() - self._start,
        )
