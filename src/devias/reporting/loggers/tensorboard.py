"""TensorBoard: event files below the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from devias.reporting.loggers.tracker import Tracker, need
from devias.reporting.text_tables import markdown_table


def tensorboard_logger(save_dir: str, mistakes: int = 0) -> Tracker:
    """A logger that writes event files to `save_dir`; `tensorboard --logdir runs` shows all runs.

    Args:
        save_dir: of this run alone; a run that is continued writes one file more.
        mistakes: see `Tracker`.

    Raises:
        ConfigError: the package is missing.
    """
    need("tensorboard", "logger=tensorboard")
    return Tracker("TensorBoard", partial(EventFiles, save_dir), mistakes)


class EventFiles(TensorBoardLogger):
    """Lightning's logger with pictures, tables and results."""

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir, name="", version="", default_hp_metric=False, flush_secs=30)

    def log_image(self, key: str, images: list[str]) -> None:
        """Under its key; several are numbered."""
        for number, path in enumerate(images):
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"))
            tag = f"{key}/{number}" if len(images) > 1 else key
            self.experiment.add_image(tag, pixels, dataformats="HWC")

    def log_table(self, key: str, columns: list[str], data: list[list[Any]]) -> None:
        """As text, which TensorBoard shows as a table."""
        rows = [[str(value) for value in row] for row in data]
        self.experiment.add_text(key, markdown_table(columns, rows, names=len(columns)))

    def log_summary(self, values: Mapping[str, float]) -> None:
        """As what the configuration led to, in the table of hyperparameters."""
        self.log_hyperparams(dict(self.hparams), dict(values))

    def log_files(self, kind: str, paths: list[str]) -> None:
        """Nothing: event files hold no files."""

    def finish(self, failed: bool) -> None:
        """Write what waits."""
        self.finalize("failed" if failed else "success")
