"""The configurations that come with the package: where they lie, and which keys they know."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from devias.config.recipe import Recipe
from devias.errors import ConfigError


def config_dir() -> str:
    """The Hydra configs: inside the installed package, or `conf/` of the repository."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return str(installed if installed.is_dir() else package.parents[1] / "conf")


def check_keys(config: DictConfig) -> None:
    """Refuse keys that no part of the program reads, such as a misspelt one in an experiment.

    Hydra refuses them on the command line, constructors refuse theirs; what is left are the top
    level and the groups of plain values.

    Raises:
        ConfigError: names the key and the known ones.
    """
    folder = Path(config_dir())
    train: Any = OmegaConf.load(folder / "train.yaml")
    groups = {
        str(group).removeprefix("optional "): str(choice)
        for entry in train.defaults
        if isinstance(entry, DictConfig)
        for group, choice in entry.items()
    }
    _refuse_unknown(config, [*(key for key in train if key != "defaults"), *groups], "")
    Recipe.from_settings(config.recipe)
    for group in ("compat", "paths"):
        known = OmegaConf.load(folder / group / f"{groups[group]}.yaml")
        _refuse_unknown(config[group], known, f"{group}.")


def _refuse_unknown(config: DictConfig, known: Iterable[Any], prefix: str) -> None:
    known = [str(key) for key in known]
    for key in map(str, config):
        if key not in known:
            raise ConfigError(
                f"unknown configuration key '{prefix}{key}'; known are {', '.join(known)}"
            )
