"""Objects from a configuration, with errors that name its keys, and which a stored one may name."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object
from hydra.utils import instantiate as hydra_instantiate

from devias.config.shipped import config_dir
from devias.errors import ConfigError, DeviasError, did_you_mean

TRUSTED = (
    "datetime.timedelta",
    "functools.partial",
    "lightning.pytorch.callbacks.DeviceStatsMonitor",
    "lightning.pytorch.callbacks.EarlyStopping",
    "lightning.pytorch.callbacks.RichProgressBar",
    "lightning.pytorch.callbacks.TQDMProgressBar",
    "lightning.pytorch.callbacks.Timer",
    "lightning.pytorch.loggers.TensorBoardLogger",
    "lightning.pytorch.strategies.DDPStrategy",
    "lightning.pytorch.strategies.FSDPStrategy",
)
"""What a stored configuration may build beside the classes of this package and what the shipped
configurations name."""


def instantiate(config: Any, **arguments: Any) -> Any:
    """Build the object that a part of the configuration describes.

    Args:
        config: with the class or function as `_target_`.
        arguments: take precedence over the configuration's.

    Raises:
        DeviasError, FileNotFoundError: the object's own, such as weights that are missing.
        ConfigError: the object cannot be built for another reason; the message names the key.
    """
    try:
        return hydra_instantiate(config, **arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, DeviasError | FileNotFoundError):
            raise error.__cause__ from None
        raise ConfigError(_sentence(error)) from error


def _sentence(error: InstantiationException) -> str:
    """`model.slot_attention: softmax_axis must be …`."""
    text, _, key = str(error).partition("\nfull_key: ")
    cause, target = error.__cause__, re.search("in call to target '(.+)':", text)
    if cause is None or target is None:  # Hydra says which target there is not
        return f"{key}: {' '.join(text.split())}"
    if name := re.search(r"unexpected keyword argument '(\w+)'", str(cause)):
        known = inspect.signature(get_object(target[1])).parameters
        return f"{key}.{name[1]} is no setting of {target[1]}{did_you_mean(name[1], known)}"
    kind = "" if isinstance(cause, ValueError) else f"{type(cause).__name__}: "
    return f"{key}: {kind}{' '.join(str(cause).split())}"


def untrusted_targets(config: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """What a configuration would build that it may not name unless its user trusts it.

    Nothing is resolved, imported from outside this package or called.

    Args:
        config: plain mappings and lists, interpolations unresolved.
        key: where it stands.

    Yields:
        The dotted key of each such `_target_`, and its value.
    """
    if isinstance(config, dict):
        target = config.get("_target_")
        if "_target_" in config and not is_trusted(target):
            yield f"{key}._target_".lstrip("."), target
    items = config.items() if isinstance(config, dict) else enumerate(config)
    for name, value in items:
        if isinstance(value, dict | list):
            yield from untrusted_targets(value, f"{key}.{name}".lstrip("."))


def is_trusted(target: Any) -> bool:
    """Whether a target is on the list, or a class of this package under its own name."""
    if not isinstance(target, str):
        return False
    return target in TRUSTED or target in _shipped_targets() or _is_own_class(target)


def _is_own_class(target: str) -> bool:
    if not re.fullmatch(r"devias(\.[A-Za-z]\w*)+", target):
        return False
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return False
    # An import of another module's class or function is not this module's.
    return isinstance(found, type) and found.__module__ == module


@functools.cache
def _shipped_targets() -> frozenset[str]:
    """Whatever the shipped configurations build."""
    texts = (path.read_text(encoding="utf-8") for path in Path(config_dir()).rglob("*.yaml"))
    return frozenset(t for text in texts for t in re.findall(r"\b_target_:\s*([\w.]+)", text))
