"""Weights & Biases, without ever asking for a login."""

from __future__ import annotations

import os
from pathlib import Path

from lightning.pytorch.loggers import WandbLogger


def offline() -> bool:
    """Whether to log to disk only: `WANDB_MODE` decides, else the presence of an API key."""
    mode = os.environ.get("WANDB_MODE")
    if mode is not None:
        return mode != "online"
    return "WANDB_API_KEY" not in os.environ


def wandb_logger(project: str, name: str, save_dir: str) -> WandbLogger:
    """A logger that uploads where a key is set and otherwise writes below `save_dir`.

    Offline runs can be uploaded later with `wandb sync`.
    """
    Path(save_dir).mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("WANDB_SILENT", "true")
    return WandbLogger(project=project, name=name, save_dir=save_dir, offline=offline())
