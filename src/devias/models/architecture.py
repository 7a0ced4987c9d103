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

MOST_NESTED = 2
"""A transferred model holds a whole one, which has parts, and they have none."""
MOST_LAYERS = 1000
MOST = 2**20
"""Beyond any number in a description, be it of layers or of anything else."""

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
    kind = type(model)
    if kind.__bases__[0].__name__ == "FSDPModule":  # PyTorch derives a class of a sharded module's
        kind = kind.__bases__[1]
    name = kind.__name__
    if kind is not _PARTS.get(name):
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

    Under `torch.device("meta")` it costs no memory, whatever the description says.

    Raises:
        ValueError: it is no description: an unknown class, arguments it does not take, or numbers
            that no model has.
    """
    return _build(description, MOST_NESTED)


def _build(description: Any, nested: int) -> nn.Module:
    if not isinstance(description, Mapping):
        raise ValueError(f"a model is described by a mapping, not a {type(description).__name__}")
    arguments = dict(description)
    name = arguments.pop("type", None)
    if not isinstance(name, str) or name not in _PARTS:
        known = ", ".join(sorted(_PARTS))
        raise ValueError(f"unknown model type {repr(name)[:60]}; known are {known}")
    taken = inspect.signature(_PARTS[name]).parameters
    for argument, value in arguments.items():
        if argument not in taken:
            raise ValueError(f"cannot build a {name}: it takes no {str(argument)[:60]}")
        if isinstance(value, Mapping):
            if not nested:
                raise ValueError(f"cannot build a {name}: {argument} must be a plain value")
            arguments[argument] = _build(value, nested - 1)
        else:
            _check_plain(f"{name}.{argument}", argument, value)
    try:
        return _PARTS[name](**arguments)
    except Exception as error:  # a constructor trusts its caller; of a file's values all may come
        raise ValueError(f"cannot build a {name}: {error}") from error


def _check_plain(where: str, argument: str, value: Any) -> None:
    """Refuse what no constructor is given, and numbers that would take forever to build."""
    most = MOST_LAYERS if argument in ("depth", "iterations") else MOST
    several = isinstance(value, list | tuple) and len(value) <= MOST_LAYERS
    for item in value if several else [value]:
        if isinstance(item, int | float):
            if not 0 <= item <= most:
                raise ValueError(f"{where} must be between 0 and {most}")
        elif several or not (item is None or isinstance(item, str)):
            raise ValueError(f"{where} cannot hold a {type(item).__name__}")
