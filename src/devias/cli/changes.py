"""The words of a command that are about a stored configuration, as a checkpoint's or a run's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from devias.config import config_dir
from devias.config.overrides import OVERRIDE

OWN_KEYS = ("checkpoint", "overrides", "output_dir", "trust", "hydra")
"""What of the command line of `devias evaluate` is not about the stored configuration."""


def as_additions(words: Sequence[str], own: Sequence[str] = OWN_KEYS) -> list[str]:
    """Overrides of the stored configuration as ones that Hydra takes without knowing its keys.

    A choice of a group becomes `+group=option`, a removal `++key=null`, another override
    `++key=value`. One that begins with `+`, and so may name a key that is not there, stays; so
    does one of the command's `own` keys.
    """
    return [_as_addition(word, own) for word in words]


def as_changes(words: Iterable[str], own: Sequence[str] = OWN_KEYS) -> list[str]:
    """Of the words that Hydra took, those about the stored configuration, as they were meant."""
    ours = (word for word in words if not is_own(word, own))
    return [word[2:] if word.startswith("++") else _as_choice(word) for word in ours]


def is_own(word: str, own: Sequence[str] = OWN_KEYS) -> bool:
    """Whether an override is of the command itself."""
    return re.split(r"[.@/=]", word.lstrip("+~"))[0] in own


def _as_addition(word: str, own: Sequence[str]) -> str:
    parts = OVERRIDE.fullmatch(word)
    if parts is None or is_own(word, own):
        return word
    if parts["sign"].startswith("~"):
        return f"++{parts['key']}=null"
    if parts["value"] is None:
        return word
    sign = "+" if parts["sign"] == "+" or _is_choice(word) else "++"
    return f"{sign}{parts['key']}{parts['value']}"


def _as_choice(word: str) -> str:
    return word.lstrip("+") if _is_choice(word) else word


def _is_choice(word: str) -> bool:
    group, _, option = word.lstrip("+").partition("=")
    return option not in ("", "null") and Path(config_dir(), group).is_dir()
