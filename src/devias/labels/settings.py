"""What pseudo labels depend on, in the plain values that a cache's manifest holds."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import nn

Settings = dict[str, Any]
"""Plain values, lists and dicts, as JSON has them."""


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
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


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
