"""Trackers of runs, for the config group `logger`; a page on them: conf/logger/README.md."""

from __future__ import annotations

from devias.reporting.loggers.mlflow import mlflow_logger
from devias.reporting.loggers.tensorboard import tensorboard_logger
from devias.reporting.loggers.trackio import trackio_logger
from devias.reporting.loggers.wandb import wandb_logger

__all__ = ["mlflow_logger", "tensorboard_logger", "trackio_logger", "wandb_logger"]
