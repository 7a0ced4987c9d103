"""Where the configuration lies, how it is composed and what it may hold."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.types import RunMode
from hydra.version import VersionBase
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from devias.config import identity
from devias.config.shipped import config_dir

STARTING = ("experiment", "model", "data")
"""The groups that say which run a run is compared with."""

GROUPS = (
    "backbone",
    "decoder",
    "loss",
    "head",
    "augment",
    "batch_stage",
    "scene_teacher",
    "masks",
    "matcher",
    "optim",
    "recipe",
    "compat",
)
"""The other groups of the method; a choice may bring choices of later ones along."""

PLAIN = re.compile(
    r"\$\{[A-Za-z_][\w.]*\}"
    r"|\$\{mask_size:\s*(?:\d+|\$\{[A-Za-z_][\w.]*\})\s*,\s*(?:\d+|\$\{[A-Za-z_][\w.]*\})\s*\}"
)
"""Interpolations whose value follows from the configuration alone."""


def compose(*overrides: str, config_name: str = "train") -> DictConfig:
    """The configuration that a command would run with these overrides.

    Nothing of Hydra's state changes, and it does not matter whether a program of Hydra is running.

    Args:
        overrides: as on the command line, `"experiment=synthetic"`.
        config_name: `train`, or another file at the top of `conf/`.

    Raises:
        hydra.errors.HydraException: an override names no key or option.
    """
    with own_hydra():
        config = _compose(config_name, overrides)
        if "names" in config:
            finalize_config(config)
        return config


def compose_plain(config_name: str, overrides: Iterable[str]) -> DictConfig:
    """One of the shipped configurations with overrides, as written; inside a command, too."""
    with own_hydra():
        return _compose(config_name, overrides)


@functools.lru_cache(maxsize=64)
def compose_raw(*overrides: str) -> tuple[DictConfig, dict[str, str | None]]:
    """A training configuration as written, to compare with, and the option that each group took.

    Interpolations of Hydra's own, `${hydra:…}`, do not resolve in it.
    """
    with own_hydra():
        config = _compose("train", overrides)
        return config, dict(HydraConfig.get().runtime.choices)


def finalize_config(config: DictConfig) -> None:
    """Fix the values that follow from this call or this machine, as Hydra's own are known now.

    A job of a sweep lies in the sweep's folder, unless its own `paths.run_dir` is given.
    The stored configuration is then complete: environment, time and choices are written out, plain
    interpolations stay. The run gets its hash, and its label where the user gave none.
    """
    runtime = HydraConfig.get()
    if config.names.experiment is None:
        config.names.experiment = "none"
    if runtime.mode == RunMode.MULTIRUN and not _is_given("paths.run_dir"):
        config.paths.run_dir = runtime.runtime.output_dir
    config.paths.run_dir = str(Path(config.paths.run_dir).absolute())
    label, config.names.run_id = name_run(config)
    freeze(config)
    config.names = OmegaConf.to_container(config.names, resolve=True)
    config.names.model = label


def name_run(config: DictConfig) -> tuple[str, str]:
    """The label and the hash of the run that is being configured.

    The label is the one given as `names.model=…`, or the model's name, the choices and then the
    values in which the method differs from what its experiment chooses:
    `two_token augment=fame num_slots=3`.
    """
    run_id = identity.run_id(config)
    if _is_given("names.model"):
        return str(config.names.model), run_id
    choices, reference = _reference(HydraConfig.get().runtime.choices)
    words = [str(config.names.model), *choices, *identity.changes(config, reference)]
    return " ".join(words), run_id


def _is_given(key: str) -> bool:
    """Whether an override of this call, or of this job of a sweep, sets a key."""
    words = HydraConfig.get().overrides.task
    return any(word.lstrip("+").startswith(f"{key}=") for word in words)


def freeze(config: DictConfig | ListConfig) -> None:
    """Write out, in place, what means something else elsewhere: `${oc.env:…}`, `${now:…}`.

    Interpolations of other keys stay, so that one value can still be changed for all that use it.
    """
    raw: Any = OmegaConf.to_container(config, resolve=False)
    for key, text in raw.items() if isinstance(raw, dict) else enumerate(raw):
        if isinstance(text, dict | list):
            freeze(config[key])
        elif isinstance(text, str) and ("${" in PLAIN.sub("", text) or key == "_target_"):
            config[key] = config[key]


def mask_size(image_size: int, patch_size: int) -> int:
    """Patches of a frame, h·w: the length of a decoded mask."""
    return (image_size // patch_size) ** 2


def nothing(**settings: object) -> None:
    """The part that `none` chooses: absent, whatever settings an experiment holds for it."""


def register_resolvers() -> None:
    """Make `${mask_size:image,patch}` and `${run_name:}` known; harmless to call twice."""
    OmegaConf.register_new_resolver("mask_size", mask_size, replace=True)
    OmegaConf.register_new_resolver(
        "run_name", lambda *, _root_: identity.file_name(*name_run(_root_)), replace=True
    )


@contextmanager
def own_hydra() -> Iterator[None]:
    """Fresh global objects of Hydra, and afterwards those from before."""
    kinds: tuple[type, ...] = (GlobalHydra, HydraConfig, JobRuntime, VersionBase)
    instances: dict[Any, Any] = Singleton._instances
    before = {kind: instances.pop(kind) for kind in kinds if kind in instances}
    try:
        yield
    finally:
        for kind in kinds:
            instances.pop(kind, None)
        instances.update(before)


def _compose(name: str, overrides: Iterable[str]) -> DictConfig:
    """Compose and leave Hydra's own part to `HydraConfig`."""
    register_resolvers()
    with hydra.initialize_config_dir(config_dir(), version_base="1.3"):
        config = hydra.compose(name, overrides=list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    return config


def _reference(choices: Mapping[str, str | None]) -> tuple[list[str], DictConfig]:
    """What the experiment composes to with another run's model and data → its further choices.

    The second part has all of them, and so differs from the run by single values alone.
    """
    start = [f"{group}={choices[group]}" for group in STARTING if choices.get(group)]
    folders = [
        f"{source.schema}://{source.path}"
        for source in HydraConfig.get().runtime.config_sources
        if source.provider not in ("hydra", "main", "schema")
    ]
    if folders:
        start.append(f"hydra.searchpath=[{','.join(folders)}]")
    words: list[str] = []
    reference, chosen = compose_raw(*start)
    for group in GROUPS:
        if group in choices and choices[group] != chosen.get(group):
            words.append(f"{group}={choices[group] or 'null'}")
            reference, chosen = compose_raw(*start, *words)
    return words, reference
