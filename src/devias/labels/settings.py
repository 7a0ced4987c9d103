"""What pseudo labels depend on, in the plain values that a cache's manifest holds."""

from __future__ import annotations

import hashlib
import reprlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Settings = dict[str, Any]
"""Plain values, lists and dicts, as JSON has them."""


NEW_IN_FORMAT_2 = {"scene_classes"}
"""Keys that caches of format 1 lack."""
_NEEDED = {"masks", "scene_teacher", "videos", "shard_size"}
_MOST = 10**9
_MOST_SHARDS = 10**6
_Kind = tuple[Callable[[Any], bool], str]


def describe(part: object | None) -> Settings | None:
    """What the labels that `part` makes depend on: its class, its plain values, its weights.

    Of a network the weights enter by their content, wherever they were loaded from.
    """
    if part is None:
        return None
    values = {
        name: value
        for name, value in vars(part).items()
        if not name.startswith("_") and name != "training" and _is_plain(value)
    }
    description = {"class": type(part).__name__, **values}
    if isinstance(part, nn.Module):
        description["weights"] = _hash_of_weights(part)
    return description


def hash_of_lines(lines: list[str]) -> str:
    """Tell lists of videos apart."""
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:16]


def check_settings(settings: object, complete: bool = False) -> Settings:
    """The same settings, unless no cache can have them.

    Args:
        settings: as read from a file, so anything.
        complete: they must be those of labeled clips, with no key missing or unknown; otherwise
            keys that no cache can do without must be there, and the known ones have sound values.

    Raises:
        ValueError: names the key.
    """
    if not isinstance(settings, dict):
        raise ValueError(f"settings is {reprlib.repr(settings)}, not a mapping")
    needed = set(_KINDS) - NEW_IN_FORMAT_2 if complete else _NEEDED
    if missing := sorted(needed - set(settings)):
        raise ValueError(f"settings.{missing[0]} is missing")
    for key, value in settings.items():
        if key in _KINDS:
            is_sound, kind = _KINDS[key]
            if not is_sound(value):
                raise ValueError(f"settings.{key} is {reprlib.repr(value)}, not {kind}")
        elif complete:
            raise ValueError(f"settings has the unknown key {reprlib.repr(key)}")
    if settings["videos"] > settings["shard_size"] * _MOST_SHARDS:
        raise ValueError(f"settings.shard_size makes more than {_MOST_SHARDS} files")
    tubelets, length = settings.get("tubelets"), settings.get("clip_length")
    if settings["masks"] and None not in (tubelets, length) and (not tubelets or length % tubelets):
        raise ValueError(f"settings.tubelets is {tubelets}, not a divisor of clip_length {length}")
    return settings


def differences(cached: object, wanted: object, name: str = "") -> list[str]:
    """Where two settings differ, as `masks.beta is 0.5, not 0.3`."""
    if isinstance(cached, dict) and isinstance(wanted, dict):
        keys = dict.fromkeys([*cached, *wanted])
        parts = [
            differences(cached.get(key), wanted.get(key), f"{name}.{key}" if name else str(key))
            for key in keys
        ]
        return [difference for part in parts for difference in part]
    return [] if cached == wanted else [f"{name} is {cached}, not {wanted}"]


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return isinstance(value, bool | int | float | str)


def _hash_of_weights(model: nn.Module) -> str:
    """Of the names, types, shapes and contents of all parameters and buffers."""
    total = hashlib.sha256()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        total.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()[:16]


def _is_maker(value: object) -> bool:
    if not isinstance(value, dict):
        return value is None
    return isinstance(value.get("class"), str) and all(map(_is_plain, value.values()))


def _whole_number(first: int) -> _Kind:
    def is_sound(value: object) -> bool:
        return type(value) is int and first <= value <= _MOST

    return is_sound, f"a whole number from {first} to {_MOST}"


def _is_hop(value: object) -> bool:
    return type(value) in (int, float) and 0 < value <= _MOST  # type: ignore[operator]


_MAKER: _Kind = (_is_maker, "null or what made them, of plain values and with its class")
_KINDS: dict[str, _Kind] = {
    "masks": _MAKER,
    "scene_teacher": _MAKER,
    "videos": _whole_number(1),
    "shard_size": _whole_number(1),
    "list": (lambda value: isinstance(value, str), "a text"),
    "clip_length": _whole_number(1),
    "stride": _whole_number(1),
    "image_size": _whole_number(1),
    "mask_size": _whole_number(1),
    "tubelets": _whole_number(0),
    "scene_classes": _whole_number(0),
    "clip_masks": (lambda value: isinstance(value, bool), "true or false"),
    "hop": (_is_hop, f"a number above 0, at most {_MOST}"),
}
"""The keys of a cache of labeled clips: whether a value is sound, and what it should be."""
