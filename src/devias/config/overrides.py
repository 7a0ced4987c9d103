"""Override words: those of earlier versions, values that Hydra can't read bare, misspelt keys."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from devias.errors import did_you_mean

log = logging.getLogger(__name__)

RENAMED_KEYS = {
    "pseudo": "masks",
    "debias": "augment",
    "evaluation": "protocol",
    "data.num_clips": "protocol.num_clips",
    "data.num_crops": "protocol.num_crops",
    "recipe.mixing_fill": "recipe.inpaint",
    "recipe.mixing_masks": "augment.masks",
}
"""Groups and keys of earlier versions; keys below a renamed one are renamed with it."""

RENAMED_OPTIONS = {"masks": {"true_masks": "ground_truth"}}
"""For each group, by its present name, the options of earlier versions."""

OVERRIDE = re.compile(r"(?P<sign>[+~]{0,2})(?P<key>[A-Za-z_][\w./@:-]*)(?P<value>=.*)?", re.DOTALL)


def is_override(word: str) -> bool:
    """Whether a word of the command line is an override, not a flag or its value."""
    return not word.startswith("-") and ("=" in word or word.startswith("~"))


def normalize_overrides(overrides: Iterable[str]) -> list[str]:
    """Overrides in the words of this version; each renamed one is mentioned in the log.

    `+trainer.x=1` becomes `++trainer.x=1`, which works whether or not the key is there. A value
    that Hydra's grammar refuses bare, such as the path `a=b.ckpt`, is quoted.
    """
    return [_normalize(override) for override in overrides]


def _normalize(override: str) -> str:
    parts = OVERRIDE.fullmatch(override)
    if parts is None:
        return override
    sign, key, value = parts["sign"], _renamed(parts["key"]), parts["value"] or ""
    for old, new in RENAMED_OPTIONS.get(key, {}).items():
        value = re.sub(rf"\b{old}\b", new, value)
    if f"{sign}{key}{value}" != override:
        log.warning("%s is now called %s", override, f"{sign}{key}{value}")
    if sign == "+" and key.startswith("trainer."):
        sign = "++"
    return _readable(f"{sign}{key}", value)


def _renamed(key: str) -> str:
    """The present name of a key or group."""
    for old, new in RENAMED_KEYS.items():
        if re.match(rf"{re.escape(old)}(?=[.@]|$)", key):
            return new + key.removeprefix(old)
    return key


def _readable(key: str, value: str) -> str:
    """An override whose value is quoted if it is neither plain nor of Hydra's own syntax."""
    try:
        OverridesParser.create().parse_override(key + value)
    except HydraException:
        if value and not re.search(r"""[][{}"'$]""", value):
            return f"{key}='{value.removeprefix('=')}'"
    return key + value


def quoted(text: str) -> str:
    """A text as a value of Hydra's grammar, whatever stands in it but `${`."""
    ends = re.compile(r"(\\*)('|\Z)")  # backslashes count where a quote follows
    return "'" + ends.sub(lambda end: 2 * end[1] + ("\\'" if end[2] else ""), text) + "'"


def as_value(text: str) -> str:
    """A text as a value of Hydra's grammar, in quotes only where these are needed."""
    try:
        override = OverridesParser.create().parse_override(f"key={text}")
    except HydraException:
        return quoted(text)
    plain = not override.is_sweep_override() and override.value() == text and text[:1] not in "'\""
    return text if plain else quoted(text)


def near_key(key: str, config: DictConfig) -> str:
    """`; did you mean <a key of the configuration>?` for one that it lacks.

    The key has the same last part or else is most like it; without one it is said how to add.
    """
    known = list(_keys(OmegaConf.to_container(config)))
    same = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
    near = did_you_mean(key, same, cutoff=0) if same else did_you_mean(key, known)
    return near or f"; +{key}=… adds it"


def _keys(tree: Any, prefix: str = "") -> Iterator[str]:
    for key, below in tree.items():
        yield f"{prefix}{key}"
        if isinstance(below, dict):
            yield from _keys(below, f"{prefix}{key}.")
