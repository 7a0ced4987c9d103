"""A configuration inside a file of others: data that is read, changed and checked, never run.

It is bounded in size, says what it says on every machine, and builds only what is on a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from devias.config.compose import PLAIN
from devias.config.identity import REFERENCE
from devias.config.instantiate import untrusted_targets
from devias.config.stored_overrides import apply_overrides
from devias.errors import ConfigError

MAX_TEXT = 100_000
"""Characters of a stored configuration; ours have some thousands."""
MAX_SCALAR = 10_000
"""Characters of one value in it."""
MAX_RESOLVED = 300_000
"""Characters and values of it once its interpolations are written out."""
MAX_DEPTH = 20
"""Nested mappings and lists, and interpolations that lead to others."""

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def rebuild_config(text: Any, overrides: Sequence[str] = (), trust: bool = False) -> DictConfig:
    """The configuration that a stored text and changes to it make.

    Args:
        text: YAML, as a checkpoint holds it.
        overrides: as on Hydra's command line; see `apply_overrides`.
        trust: let it build what is not on the list (`devias.config.instantiate.is_trusted`).

    Raises:
        ConfigError: The text is damaged, too large or not plain; it would build something foreign;
            an interpolation asks for more than other keys; or an override cannot be.
    """
    stored = parse_config(text)
    changed = apply_overrides(stored, overrides)
    # What the user has typed just now is the user's own, whatever it names.
    _refuse(
        set(_foreign_interpolations(stored)) & set(_foreign_interpolations(changed)),
        "asks for more than other keys of the stored configuration",
        "give its value, KEY=VALUE",
    )
    if not trust:
        _refuse(
            set(_foreign_targets(stored)) & set(_foreign_targets(changed)),
            "is not of this package, and building it would run foreign code",
            "if you know who wrote the file, say trust=true",
        )
    try:
        _check_resolved_size(changed)
        config = OmegaConf.create(changed)
        OmegaConf.to_container(config, resolve=True)
    except (OmegaConfBaseException, RecursionError) as error:
        raise ConfigError(f"the configuration does not resolve: {_first_line(error)}") from error
    OmegaConf.set_struct(config, True)
    return config


def parse_config(text: Any) -> dict[str, Any]:
    """Plain mappings, lists and values from a stored text, interpolations as written.

    Raises:
        ConfigError: It is not YAML of such, or larger than any configuration.
    """
    if not isinstance(text, str):
        raise ConfigError(f"the stored configuration is a {type(text).__name__}, not text")
    if len(text) > MAX_TEXT:
        raise ConfigError(f"the stored configuration has {len(text)} characters: too many")
    try:
        _check_events(text)
        content = yaml.load(text, Loader)  # safe: a subset of YAML's own safe types is let through
    except ConfigError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ConfigError(f"the stored configuration is no plain YAML: {_first_line(error)}") from (
            error
        )
    if not isinstance(content, dict):
        raise ConfigError(f"the stored configuration is a {type(content).__name__}, no mapping")
    for key, value in _walk(content):
        if not isinstance(value, str | int | float | None | dict | list):
            raise ConfigError(f"the stored configuration holds a {type(value).__name__} at {key}")
    return content


def _check_events(text: str) -> None:
    """Refuse what grows when it is constructed, before it is."""
    depth = 0
    for event in yaml.parse(text, Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ConfigError("the stored configuration holds a YAML anchor: ours have none")
        if depth > MAX_DEPTH:
            raise ConfigError(f"the stored configuration is nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_SCALAR:
            raise ConfigError(
                f"the stored configuration holds a value of {len(event.value)} characters"
            )


def _walk(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """All keys, as values of their own key, and values below a node, depth first."""
    for name, value in node.items() if isinstance(node, dict) else enumerate(node):
        path = f"{key}.{name}".lstrip(".")
        yield path, name
        yield path, value
        if isinstance(value, dict | list):
            yield from _walk(value, path)


def _foreign_interpolations(config: dict[str, Any]) -> Iterator[str]:
    """The texts that could come to mean something else than other keys' values.

    Values are resolved more than once on their way, so a text must not become an interpolation by
    joining others either: no `$` before a brace, an interpolation or the end.
    """
    for key, text in _walk(config):
        if isinstance(text, str):
            rest = PLAIN.sub("\0", text)
            if "\0" in text or re.search(r"\$(\{|\0|\Z)", rest):
                yield f"{key}: {text}"


def _foreign_targets(config: dict[str, Any]) -> Iterator[str]:
    return (f"{target}" for _, target in untrusted_targets(config))


def _refuse(items: set[str], fault: str, remedy: str) -> None:
    if items:
        shown = ", ".join(item[:200] for item in sorted(items)[:5])
        raise ConfigError(f"{shown} {fault}: {remedy}")


def _check_resolved_size(config: dict[str, Any]) -> None:
    """Refuse references that multiply or go round, without following them more than once."""
    sizes: dict[str, int] = {}

    def size(node: Any, active: tuple[str, ...]) -> int:
        if isinstance(node, dict | list):
            items = node.values() if isinstance(node, dict) else node
            return 1 + sum(size(item, active) for item in items)
        if not isinstance(node, str):
            return 1
        return len(node) + sum(referred(name, active) for name in REFERENCE.findall(node))

    def referred(name: str, active: tuple[str, ...]) -> int:
        if name in active or len(active) > MAX_DEPTH:
            raise ConfigError(f"${{{name}}} leads back to itself or too far")
        if name not in sizes:
            sizes[name] = size(_select(config, name), (*active, name))
        return sizes[name]

    if size(config, ()) > MAX_RESOLVED:
        raise ConfigError("the stored configuration refers to itself so often that it grows huge")


def _select(config: dict[str, Any], key: str, hops: int = 0) -> Any:
    """The node of a dotted key, through references on the way; `None` where there is none."""
    node: Any = config
    for part in key.split("."):
        reference = REFERENCE.fullmatch(node) if isinstance(node, str) else None
        if reference:
            if hops > MAX_DEPTH:
                raise ConfigError(f"${{{key}}} leads back to itself or too far")
            node = _select(config, reference[1], hops + 1)
        if isinstance(node, list) and part.isdecimal() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, dict) and part in node:
            node = node[part]
        else:
            return None
    return node


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
