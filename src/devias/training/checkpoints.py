"""Which checkpoint a run starts from, ends with, and how one becomes a run again."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig

from devias.config.stored import rebuild_config
from devias.errors import ConfigError, DeviasError
from devias.training.callbacks import LAYOUT, StoreConfig
from devias.training.resume import check_settings
from devias.training.run import Run
from devias.weights.errors import WeightsError
from devias.weights.torch_file import load_torch_file


class CheckpointError(DeviasError, RuntimeError):
    """A checkpoint is missing, unreadable or not of this package; names the file."""


def resume_from(config: DictConfig) -> Path | None:
    """The checkpoint that `ckpt_path` means; `last` is the run directory's last one.

    `auto` means that one, too, but no checkpoint where there is none yet.

    Raises:
        CheckpointError: there is no such file, or it is not a run's checkpoint; or the run
            directory holds another run's checkpoints, which training would overwrite.
        ResumeError: training would go on with other settings.
    """
    last = Path(config.paths.run_dir) / "checkpoints" / "last.ckpt"
    given = config.ckpt_path
    if given == "auto":
        given = "last" if last.exists() else None
    path = last if given == "last" else given and Path(given)
    if config.train and last.exists() and (path is None or path.parent.absolute() != last.parent):
        raise CheckpointError(
            f"{last} belongs to an earlier run: continue it with ckpt_path=last, or choose "
            "another paths.run_dir"
        )
    if path is not None:
        content = run_checkpoint(path)
        if config.train:
            check_settings(content, config, path)
    return path


def final_checkpoint(run: Run) -> tuple[Path | None, list[str]]:
    """The checkpoint to test after training: the best on validation, or the last epoch's.

    Returns:
        Its path, `None` for the weights at the end of training; and a note for the result where
        they are not what `compat.final_weights` asks for.
    """
    paths: dict[str, str] = {}
    for saver in run.trainer.checkpoint_callbacks:
        assert isinstance(saver, ModelCheckpoint)
        paths.setdefault("best" if saver.monitor else "last", saver.best_model_path)
    wanted, last = run.config.compat.final_weights, paths.get("last")
    if paths.get(wanted):
        return Path(paths[wanted]), []
    note = "weights of the last step: no checkpoint was chosen by validation"
    return Path(last) if last else None, [note] if wanted == "best" else []


def load_checkpoint(path: Path | str) -> dict[str, Any]:
    """Read a checkpoint's plain contents to the CPU, never executing code.

    Raises:
        CheckpointError: it is missing, truncated, or holds anything but tensors and containers.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist")
    try:
        content = load_torch_file(path)
    except WeightsError as error:
        raise CheckpointError(
            f"{path} is not a readable checkpoint: {str(error).removeprefix(f'{path} ')}"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a checkpoint")
    return content


def run_checkpoint(path: Path | str) -> dict[str, Any]:
    """`load_checkpoint`, of a file that a run of this package wrote.

    Raises:
        CheckpointError: as `load_checkpoint`, or it holds no configuration of today's layout.
    """
    content = load_checkpoint(path)
    if StoreConfig.key not in content:
        raise CheckpointError(
            f"{path} holds no configuration: it is not a checkpoint of a run. To start a run from "
            "the weights in it, name it in weights=…"
        )
    if (layout := content.get(StoreConfig.layout_key, 1)) != LAYOUT:
        raise CheckpointError(
            f"{path} was written by another version of devias, whose configuration has another "
            f"layout ({layout}, here {LAYOUT}). Its weights can be used: with weights={path}, or "
            "devias.load_model"
        )
    return content


@contextmanager
def reading_weights(path: Path | None) -> Iterator[None]:
    """Say of a checkpoint whose weights do not fit the model what does not, in one sentence.

    Raises:
        CheckpointError: instead of PyTorch's list of all parameters.
    """
    try:
        yield
    except RuntimeError as error:
        title, *lines = str(error).splitlines()
        if not title.startswith("Error(s) in loading state_dict"):
            raise
        named = " ".join(line.strip() for line in lines)
        raise CheckpointError(
            f"{path} holds another model's weights: {textwrap.shorten(named, 300)}"
        ) from error


def stored_config(path: Path | str, overrides: Sequence[str], trust: bool = False) -> DictConfig:
    """The configuration inside one of our checkpoints, with Hydra's overrides applied.

    Raises:
        CheckpointError: the checkpoint holds none.
        ConfigError: as `devias.config.stored.rebuild_config`; the message names the file.
    """
    text = run_checkpoint(path)[StoreConfig.key]
    try:
        return rebuild_config(text, overrides, trust)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
