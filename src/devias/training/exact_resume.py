"""What a checkpoint needs beside Lightning's own, so that training goes on as if never stopped."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

log = logging.getLogger(__name__)


class ExactResume(L.Callback):
    """Makes checkpoints movable, and exact in the middle of an epoch.

    - The savers' paths are kept relative to their folder: a run that was moved or copied goes on
      with its own best checkpoint, and never with that of the folder it comes from.
    - Gradients that wait for more batches are kept.
    - An epoch that `max_steps` or a callback cut short goes on.
    """

    key = "devias_gradients"

    def __init__(self) -> None:
        self._gradients: dict[str, Tensor] = {}

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add gradients; make paths relative."""
        _replace_states(trainer, checkpoint, to_relative)
        # Averaged, since only one rank's are kept and the ranks' are averaged in the end.
        gradients = {
            name: _averaged(parameter.grad, trainer)
            for name, parameter in pl_module.named_parameters()
            if parameter.grad is not None and trainer.fit_loop._should_accumulate()
        }
        if gradients:
            checkpoint[self.key] = gradients

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take gradients; make paths absolute, forgetting files that are not in the folder."""
        _replace_states(
            trainer, checkpoint, lambda saver, state: to_absolute(saver, state, trainer)
        )
        if trainer.state.fn == TrainerFn.FITTING:
            reopen_unfinished_epoch(checkpoint["loops"]["fit_loop"])
            self._gradients = checkpoint.get(self.key, {})

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the gradients where the next batches add to them, and begin with the right epoch."""
        for name, parameter in pl_module.named_parameters():
            if name in self._gradients:
                parameter.grad = _like(parameter, self._gradients[name].to(parameter.device))
        self._gradients = {}
        loop = trainer.fit_loop
        if loop.restarted_on_epoch_end:  # only under `max_steps`: Lightning would skip an epoch
            loop.reset_restart_stage()
            loop.epoch_loop.restarting = False
            loop.epoch_progress.increment_completed()


def _averaged(gradient: Tensor, trainer: L.Trainer) -> Tensor:
    """Over all ranks; the whole of one that is shared out among them, which FSDP2 has averaged."""
    if isinstance(gradient, DTensor):
        return gradient.full_tensor()
    return trainer.strategy.reduce(gradient.clone(), reduce_op="mean")


def _like(parameter: Tensor, gradient: Tensor) -> Tensor:
    """A gradient in the form of its parameter: whole, or this rank's share."""
    if isinstance(parameter, DTensor):
        return distribute_tensor(gradient, parameter.device_mesh, parameter.placements)
    return gradient


State = dict[str, Any]
_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")


def to_relative(saver: ModelCheckpoint, state: State) -> State:
    """A saver's state with paths relative to its folder, whichever that was when it was made."""
    folder = str(state["dirpath"])
    return _map_paths(state, lambda path: os.path.relpath(path, folder)) | {"dirpath": "."}


def to_absolute(saver: ModelCheckpoint, state: State, trainer: L.Trainer) -> State:
    """A saver's state with paths in its present folder, without checkpoints that are not there."""
    folder = str(saver.dirpath)
    state = _map_paths(to_relative(saver, state), lambda path: os.path.join(folder, path))
    state["dirpath"] = saver.dirpath
    there = {
        path: saver.file_exists(path, trainer)
        for path in dict.fromkeys([*state["best_k_models"], *(state[key] for key in _PATHS)])
    }
    state |= {key: state[key] if there[state[key]] else "" for key in _PATHS}
    models = {path: score for path, score in state["best_k_models"].items() if there[path]}
    if len(models) < len(state["best_k_models"]):
        best = {"min": min, "max": max}[saver.mode](models, key=models.__getitem__, default="")
        state |= {"best_k_models": models, "best_model_path": best}
        state["best_model_score"] = models.get(best)
        if trainer.state.fn == TrainerFn.FITTING:
            log.info("the best %s is chosen among checkpoints in %s alone", saver.monitor, folder)
    return state


def _map_paths(state: State, change: Callable[[str], str]) -> State:
    models = {change(path): score for path, score in state["best_k_models"].items()}
    paths = {key: change(state[key]) if state[key] else "" for key in _PATHS}
    return state | paths | {"best_k_models": models}


def _replace_states(
    trainer: L.Trainer, checkpoint: State, change: Callable[[ModelCheckpoint, State], State]
) -> None:
    states = checkpoint["callbacks"]
    for saver in trainer.checkpoint_callbacks:
        if isinstance(saver, ModelCheckpoint) and saver.state_key in states:
            states[saver.state_key] = change(saver, states[saver.state_key])


def reopen_unfinished_epoch(fit_loop: State) -> None:
    """Let a checkpoint's epoch go on that ended before its last batch, as `max_steps` lets it.

    Lightning counts it as done, and would begin another.
    """
    batches = fit_loop["epoch_loop.batch_progress"]
    for progress in (fit_loop["epoch_progress"]["total"], fit_loop["epoch_progress"]["current"]):
        ended = progress["processed"] == progress["ready"]
        if ended and batches["current"]["processed"] and not batches["is_last_batch"]:
            progress["processed"] -= 1
            progress["completed"] = progress["processed"]
