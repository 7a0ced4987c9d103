"""The base of every error a user can mend."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class DeviasError(Exception):
    """Something its user can mend; the message says what is wrong, where, and what to do."""


class ConfigError(DeviasError, ValueError):
    """A setting that cannot be; the message names the key."""


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`; did you mean <the nearest known word>?`, or nothing where none is as near as `cutoff`."""
    near = get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {near[0]}?" if near else ""
