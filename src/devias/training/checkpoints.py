"""Which checkpoint a run starts from, ends with, and how one becomes a run again."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from devias.training.build import Run
from devias.training.callbacks import StoreConfig


class CheckpointError(RuntimeError):
    """A checkpoint is missing, unreadable or not of this package; names the file."""


def resume_from(config: DictConfig) -> Path | None:
    """The checkpoint that `ckpt_path` means; `last` is the run directory's last one.

    Raises:
        CheckpointError: there is no such file; or the run directory holds another run's
            checkpoints, which a new run would overwrite.
    """
    last = Path(config.paths.run_dir) / "checkpoints" / "last.ckpt"
    if config.ckpt_path is None:
        if config.train and last.exists():
            raise CheckpointError(
                f"{last} belongs to an earlier run: continue it with ckpt_path=last, or choose "
                "another paths.run_dir"
            )
        return None
    path = last if config.ckpt_path == "last" else Path(config.ckpt_path)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist (ckpt_path={config.ckpt_path})")
    return path


def final_checkpoint(run: Run) -> Path:
    """The checkpoint to test after training: the best on validation, or the last epoch's.

    Raises:
        CheckpointError: training wrote none, e.g. because it had no validation to select by.
    """
    best = run.config.compat.final_weights == "best"
    saver = run.trainer.checkpoint_callback
    path = saver and (saver.best_model_path if best else saver.last_model_path)  # type: ignore[attr-defined]
    if not path:
        raise CheckpointError(f"training left no {'best' if best else 'last'} checkpoint")
    return Path(path)


def load_checkpoint(path: Path | str) -> dict[str, Any]:
    """Read a checkpoint's plain contents to the CPU, never executing code.

    Raises:
        CheckpointError: it is missing, truncated, or holds anything but tensors and containers.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, BadZipFile, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is not a readable checkpoint: {error}") from error


def stored_config(path: Path | str, overrides: list[str]) -> DictConfig:
    """The configuration inside one of our checkpoints, with `key=value` overrides applied.

    Raises:
        CheckpointError: the checkpoint holds none.
        ValueError: an override names a key the configuration lacks.
    """
    content = load_checkpoint(path)
    if StoreConfig.key not in content:
        raise CheckpointError(f"{path} holds no configuration: it is not a checkpoint of a run")
    config = OmegaConf.create(content[StoreConfig.key])
    assert isinstance(config, DictConfig)
    OmegaConf.set_struct(config, True)
    for override in overrides:
        try:
            config.merge_with(OmegaConf.from_dotlist([override]))
        except OmegaConfBaseException as error:
            raise ValueError(f"override {override!r}: {error}") from error
    return config
