"""Weights & Biases that never asks for a login and never keeps a run waiting."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import WandbLogger

log = logging.getLogger(__name__)

SYNONYMS = {"dryrun": "offline", "run": "online"}
"""Older names that `WANDB_MODE` may hold."""


def wandb_mode() -> str:
    """What `WANDB_MODE` says; else `online` where an API key is set, `offline` where none is."""
    mode = os.environ.get("WANDB_MODE")
    if mode:
        return SYNONYMS.get(mode, mode)
    return "online" if os.environ.get("WANDB_API_KEY") else "offline"


def wandb_logger(project: str, name: str, save_dir: str) -> FallbackWandbLogger:
    """A logger that uploads where a key is set and otherwise writes below `save_dir`.

    Offline runs can be uploaded later with `wandb sync`. Waiting for the network ends after 20
    seconds at the start and two minutes at the end; `WANDB_INIT_TIMEOUT` and
    `WANDB_FINISH_TIMEOUT` say otherwise.
    """
    Path(save_dir).mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_SILENT"] = "true"  # a silent client does not ask for a login either
    os.environ.setdefault("WANDB_INIT_TIMEOUT", "20")
    os.environ.setdefault("WANDB_FINISH_TIMEOUT", "120")
    logger = FallbackWandbLogger(project=project, name=name, save_dir=save_dir, mode=wandb_mode())
    logger._wandb_init.pop("anonymous", None)  # Lightning passes it on, W&B warns of it
    return logger


class FallbackWandbLogger(WandbLogger):
    """Lightning's logger; where the server cannot be reached, it goes on offline."""

    _failed = False

    @property
    def experiment(self) -> Any:
        """The W&B run, started on first use."""
        try:
            return super().experiment
        except wandb.Error as error:  # no network, a wrong key, or none
            log.warning(
                "W&B goes on offline (upload later with `wandb sync`): %s",
                str(error).partition("\n")[0],
            )
            self._wandb_init["mode"] = "offline"
            return super().experiment

    def finalize(self, status: str) -> None:
        """Remember how the Trainer ended; the run itself goes on until `close`."""
        super().finalize(status)
        self._failed = self._failed or status == "failed"

    def close(self) -> None:
        """End the run, if it was started, and wait until all is written."""
        if self._experiment is not None:
            self._experiment.finish(exit_code=int(self._failed))
            self._experiment = None
