"""Whether training may go on from a checkpoint with the settings of today's call."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from devias.config.stored import rebuild_config
from devias.data.samplers import ResumeError
from devias.training.callbacks import StoreConfig

log = logging.getLogger(__name__)

OF_THE_CALL = ("ckpt_path", "names", "test", "train", "weights")
"""Settings that say what this call does, not how the model is trained."""

FREE = (
    "callbacks",
    "cluster",
    "compile",
    "data.eval_batch_size",
    "data.max_bad_share",
    "data.num_workers",
    "data.preload",
    "logger",
    "max_batch_per_device",
    "paths",
    "protocol",
    "trainer",
)
"""Keys and groups that a resumed run may change: machine, folders, length, what is reported."""

FREE_NAMES = ("gradient_checkpointing", "pseudo_cache", "root", "source", "weights")
"""Last parts of further ones: where things lie, and what costs memory alone."""

NOT_FREE = ("trainer.gradient_clip_val", "trainer.gradient_clip_algorithm")
"""Settings within these groups that change the training."""


def check_settings(checkpoint: Mapping[str, Any], config: DictConfig, path: Path) -> None:
    """Refuse settings that a resumed run would ignore or change midway; log the harmless ones.

    Args:
        checkpoint: contents of the file at `path`, with its configuration.
        config: what the run is to go on with.
        path: of the checkpoint, for messages.

    Raises:
        ResumeError: names the settings with both values, or the epochs that are too many.
    """
    # Nothing is built of it here; what it refers to must still be its own.
    stored = rebuild_config(checkpoint[StoreConfig.key], trust=True)
    changed = changed_settings(stored, config)
    listed = {
        free: "; ".join(
            f"{key} was {_short(old)}, is {_short(new)}"
            for key, (old, new) in changed.items()
            if _is_free(key) == free and not _within(key, OF_THE_CALL)
        )
        for free in (True, False)
    }
    if listed[False]:
        raise ResumeError(
            f"{path} comes from a run whose settings differ, which resuming cannot change: "
            f"{listed[False]}. Resume with the settings of that run, or start another run, "
            f"if need be from its weights with weights={path}"
        )
    done, limit = _epochs(checkpoint), OmegaConf.select(config, "trainer.max_epochs")
    if limit is not None and 0 <= limit < done:
        raise ResumeError(
            f"{path} has {done} epochs behind it, more than trainer.max_epochs={limit}"
        )
    if listed[True]:
        log.info("resuming %s; settings differ that may: %s", path, listed[True])


def changed_settings(old: DictConfig, new: DictConfig) -> dict[str, tuple[Any, Any]]:
    """The dotted keys under which two configurations differ → both values.

    A key that both take from the same other one, as `${seed}`, is left to that; of a part that is
    of another class now, its class alone is named. What is absent is `None`.
    """
    before, after = (
        dict(_leaves(OmegaConf.to_container(part, resolve=True))) for part in (old, new)
    )
    sources = [OmegaConf.to_container(part, resolve=False) for part in (old, new)]
    changed = {}
    for key in {**before, **after}:
        first, second = (_source(source, key) for source in sources)
        derived = first == second and "${" in str(first)
        if before.get(key) != after.get(key) and not derived:
            changed[key] = before.get(key), after.get(key)
    classes = tuple(key.removesuffix("_target_") for key in changed if key.endswith("_target_"))
    return {
        key: values
        for key, values in changed.items()
        if key.endswith("._target_") or not key.startswith(classes)
    }


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key → value."""
    if not isinstance(value, dict):
        yield key, value
        return
    for name, part in value.items():
        yield from _leaves(part, f"{key}.{name}" if key else str(name))


def _source(config: Any, key: str) -> Any:
    """What an unresolved configuration holds for a key: a value, or the text it comes from."""
    for name in key.split("."):
        if not isinstance(config, dict):
            break
        config = config.get(name)
    return config


def _is_free(key: str) -> bool:
    if _within(key, NOT_FREE):
        return False
    return _within(key, FREE) or key.rpartition(".")[2] in FREE_NAMES


def _within(key: str, groups: tuple[str, ...]) -> bool:
    return any(key == group or key.startswith(f"{group}.") for group in groups)


def _short(value: Any) -> str:
    return "absent" if value is None else str(value)


def _epochs(checkpoint: Mapping[str, Any]) -> int:
    """Epochs that the checkpoint's run has completed."""
    progress = checkpoint.get("loops", {}).get("fit_loop", {}).get("epoch_progress", {})
    return progress.get("current", {}).get("processed", 0)
