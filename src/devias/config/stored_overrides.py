"""Hydra's overrides on a configuration that Hydra did not compose, such as a stored one."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf

from devias.config.compose import compose_raw
from devias.config.shipped import config_dir
from devias.errors import ConfigError, did_you_mean

Tree = dict[str, Any]


def apply_overrides(stored: Tree, overrides: Sequence[str]) -> Tree:
    """The configuration with changes written as on Hydra's command line.

    A group and one of its options, `trainer=gpus`, put the shipped option in the place of the
    group's settings, with what else it changes in the shipped configuration. They go first; values
    follow in the order given: `data.root=/x`, `+new.key=1`, `++key=1`, `~callbacks.figures`.

    Args:
        stored: plain mappings, lists and values, interpolations as written. It stays as it is.
        overrides: in Hydra's grammar.

    Raises:
        ConfigError: An override is not written so, or names no key or option; the message has the
            nearest that there is.
    """
    config = copy.deepcopy(stored)
    parsed = [_parse(text) for text in overrides]
    groups = [override for override in parsed if _is_choice(override)]
    if groups:
        _choose(config, groups)
    for override in parsed:
        if override not in groups:
            try:
                _change(config, override)
            except ConfigError as error:
                raise ConfigError(f"override {override.input_line!r}: {error}") from None
    return config


def _parse(text: str) -> Override:
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        why = str(error).splitlines()[0]
        raise ConfigError(
            f"override {text!r}: expected key=value, as Hydra reads it ({why})"
        ) from (error)
    if not override.key_or_group:
        raise ConfigError(f"override {text!r}: expected key=value")
    if override.is_sweep_override():
        raise ConfigError(f"override {text!r}: one value is needed, not several to sweep over")
    return override


def _is_choice(override: Override) -> bool:
    """Whether an override chooses an option of a group."""
    value = override.value()
    named = isinstance(value, str) or (isinstance(value, list) and all(map(_is_text, value)))
    group = Path(config_dir()) / override.key_or_group
    return named and not override.is_delete() and group.is_dir()


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _choose(config: Tree, choices: Sequence[Override]) -> None:
    """Take over from the shipped configuration what the choices make of it."""
    for choice in choices:
        value: Any = choice.value()
        folder = Path(config_dir()) / choice.key_or_group
        options = [str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.yaml")]
        for option in [value] if isinstance(value, str) else value:
            if option.removesuffix(".yaml") not in options:
                hint = did_you_mean(option, options) or f"; there are {', '.join(sorted(options))}"
                raise ConfigError(
                    f"override {choice.input_line!r}: "
                    f"{choice.key_or_group} has no option {option!r}{hint}"
                )
    try:
        composed = compose_raw(*(str(choice.input_line).lstrip("+") for choice in choices))[0]
    except HydraException as error:
        words = " ".join(str(choice.input_line) for choice in choices)
        raise ConfigError(f"override {words!r}: {str(error).splitlines()[0]}") from error
    before: Any = OmegaConf.to_container(compose_raw()[0], resolve=False)
    after: Any = OmegaConf.to_container(composed, resolve=False)
    _carry(config, before, after)
    for choice in choices:
        if choice.key_or_group in after:
            config[choice.key_or_group] = copy.deepcopy(after[choice.key_or_group])


def _carry(config: Tree, before: Tree, after: Tree) -> None:
    """Make the changes from one tree to another in a third."""
    for key in {**before, **after}:
        old, new = before.get(key), after.get(key)
        if key not in after:
            config.pop(key, None)
        elif isinstance(old, dict) and isinstance(new, dict) and isinstance(config.get(key), dict):
            _carry(config[key], old, new)
        elif key not in before or old != new:
            config[key] = copy.deepcopy(new)


def _change(config: Tree, override: Override) -> None:
    """Set, add or delete one value."""
    if override.package is not None:
        raise ConfigError(f"there is no group {override.key_or_group}")
    adds = override.is_add() or override.is_force_add()
    value: Any = override.value()
    *above, name = override.key_or_group.split(".")
    node: Any = config
    for depth, part in enumerate(above):
        node = _below(config, node, above[:depth], part, adds, {})
    old = _below(config, node, above, name, adds, {} if isinstance(value, dict) else None)
    place: Any = int(name) if isinstance(node, list) else name
    if override.is_delete():
        if isinstance(node, list):
            raise ConfigError("items of a list stay: give the whole list")
        if value is not None and value != old:
            raise ConfigError(f"it is {old!r}, not {value!r}")
        del node[place]
    elif isinstance(old, dict) and isinstance(value, dict):
        _merge(config, old, value, override.key_or_group, adds)
    elif isinstance(old, dict) and value is not None:
        raise ConfigError(f"{override.key_or_group} holds settings: change them one by one")
    elif override.is_add() and old is not None:
        raise ConfigError("there is one already: ++ replaces it")
    else:
        node[place] = value


def _merge(config: Tree, old: Tree, new: Tree, path: str, adds: bool) -> None:
    for key, value in new.items():
        there = _below(config, old, path.split("."), str(key), adds)
        if isinstance(there, dict) and isinstance(value, dict):
            _merge(config, there, value, f"{path}.{key}", adds)
        else:
            old[str(key)] = value


def _below(
    config: Tree, node: Any, above: Sequence[str], name: str, adds: bool, new: Any = None
) -> Any:
    """What stands under a name of a node, which is made if it may be."""
    path = ".".join([*above, name])
    if isinstance(node, list) and name.isdecimal() and int(name) < len(node):
        return node[int(name)]
    if isinstance(node, dict):
        if name not in node and not adds:
            hint = did_you_mean(path, list(_keys(config))) or "; + adds it"
            raise ConfigError(f"the configuration has no key {path}{hint}")
        if adds and node.get(name) is None:
            node[name] = new
        return node[name]
    if isinstance(node, str) and node.startswith("${"):
        raise ConfigError(f"{'.'.join(above)} is {node}: change that")
    raise ConfigError(f"{'.'.join(above)} has no key {name}")


def _keys(node: Tree, above: str = "") -> Iterator[str]:
    for name, value in node.items():
        yield f"{above}{name}"
        if isinstance(value, dict):
            yield from _keys(value, f"{above}{name}.")
