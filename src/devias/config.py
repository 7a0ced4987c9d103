"""Where the configuration lies and what it may hold."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from devias.errors import ConfigError

METHOD = (
    "backbone",
    "compat",
    "augment",
    "decoder",
    "global_batch",
    "head",
    "loss",
    "matcher",
    "model.",
    "optim",
    "masks",
    "recipe",
    "trainer.max_epochs",
)
"""How the overrides begin that make another row of a table, whatever machine or data it runs on."""

NOT_METHOD = ("backbone.gradient_checkpointing", "backbone.weights")
"""Settings among them that follow from the machine."""


def config_dir() -> str:
    """The Hydra configs: inside the installed package, or `conf/` of the repository."""
    package = Path(__file__).parent
    installed = package / "conf"
    return str(installed if installed.is_dir() else package.parents[1] / "conf")


def mask_size(image_size: int, patch_size: int) -> int:
    """Patches of a frame, h·w: the length of a decoded mask."""
    return (image_size // patch_size) ** 2


def nothing(**settings: object) -> None:
    """The part that `none` chooses: absent, whatever settings an experiment holds for it."""


def row_name(model: str, overrides: Iterable[str]) -> str:
    """What a table calls a run: its model, and the overrides that concern the method.

    Of keys the last two parts are kept, of paths the file's name:
    `devias slot_attention.num_slots=3`, `two_token augment=fame`.
    """
    parts = [model]
    for override in overrides:
        key, equals, value = override.lstrip("+").partition("=")
        if key.lstrip("~").startswith(METHOD) and key not in NOT_METHOD:
            sign = "~" if key.startswith("~") else ""
            short = ".".join(key.lstrip("~").split(".")[-2:])
            parts.append(f"{sign}{short}{equals}{Path(value).name}")
    return " ".join(parts)


def register_resolvers() -> None:
    """Make `${mask_size:image,patch}` known; harmless to call twice."""
    OmegaConf.register_new_resolver("mask_size", mask_size, replace=True)


def check_keys(config: DictConfig) -> None:
    """Refuse keys that no part of the program reads, such as a misspelt one in an experiment.

    Hydra refuses them on the command line, constructors refuse theirs; what is left are the top
    level and the groups of plain values.

    Raises:
        ConfigError: names the key and the known ones.
    """
    folder = Path(config_dir())
    train = OmegaConf.load(folder / "train.yaml")
    groups = {
        str(group).removeprefix("optional "): str(choice)
        for entry in train.defaults
        if isinstance(entry, DictConfig)
        for group, choice in entry.items()
    }
    _refuse_unknown(config, [*(key for key in train if key != "defaults"), *groups], "")
    _refuse_unknown(config.get("recipe", {}), train.recipe, "recipe.")
    for group in ("compat", "paths"):
        known = OmegaConf.load(folder / group / f"{groups[group]}.yaml")
        _refuse_unknown(config[group], known, f"{group}.")


def _refuse_unknown(config: DictConfig, known: Iterable, prefix: str) -> None:
    known = [str(key) for key in known]
    for key in map(str, config):
        if key not in known:
            raise ConfigError(
                f"unknown configuration key '{prefix}{key}'; known are {', '.join(known)}"
            )
