"""Models as plain data: what they were built with, and how to build them again.

A description is JSON-like, so it travels with weights where no configuration does and is read
without running anything: `{"type": "MaskDecoder", "dim": 768, "output": 196, …}`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from torch import nn

Part = TypeVar("Part", bound=type[nn.Module])

_PARTS: dict[str, type[nn.Module]] = {}


def recorded(cls: Part) -> Part:
    """Class decorator: remember constructor arguments, for `describe` and `build`."""
    construct = cls.__init__
    signature = inspect.signature(construct)

    @functools.wraps(construct)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        construct(self, *args, **kwargs)
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        self._arguments = {  # modules are found under their attribute's name instead
            name: None if isinstance(value, nn.Module) else value
            for name, value in list(bound.arguments.items())[1:]
        }

    cls.__init__ = __init__  # type: ignore[method-assign]
    _PARTS[cls.__name__] = cls
    return cls


def describe(model: nn.Module) -> dict[str, Any]:
    """The class and constructor arguments of a model of this package, parts included.

    Raises:
        TypeError: the model is not of this package.
    """
    name = type(model).__name__
    if type(model) is not _PARTS.get(name):
        raise TypeError(f"{name} is not a model of this package, so it cannot be described")
    description: dict[str, Any] = {"type": name}
    children = dict(model.named_children())
    for argument, value in vars(model)["_arguments"].items():
        if value is None and argument in children:
            value = describe(children[argument])
        elif isinstance(value, Sequence) and not isinstance(value, str):
            value = list(value)
        description[argument] = value
    return description


def build(description: Mapping[str, Any]) -> nn.Module:
    """The model of a description, with fresh weights.

    Raises:
        ValueError: an unknown class, or arguments it does not take.
    """
    arguments = {
        name: build(value) if isinstance(value, Mapping) else value
        for name, value in description.items()
    }
    name = arguments.pop("type", None)
    if name not in _PARTS:
        raise ValueError(f"unknown model type {name!r}; known are {', '.join(sorted(_PARTS))}")
    try:
        return _PARTS[name](**arguments)
    except TypeError as error:
        raise ValueError(f"cannot build a {name}: {error}") from error
