"""Reads pickles of plain values without running anything that they name.

A pickle is a program for a small stack machine. This one knows the instructions that make strings,
numbers, `None`, lists, tuples and dicts, and no others: what would import, call or build an object
is refused before anything of it happens.
"""

from __future__ import annotations

import pickletools
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from devias.errors import DeviasError

MAX_BYTES = 2**24
"""Of a file; the largest lists known have half a million."""
MAX_ITEMS = 2**21
"""Of all containers together, one that stands in several others counted in each."""
MAX_DEPTH = 16
"""Of containers within each other."""
MAX_INT = 2**63

_MARK = object()
_KEYS = (str, bytes, int, float, type(None))  # the hash of a nested tuple may take for ever

_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "MARK": _MARK}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class PickleError(DeviasError, ValueError):
    """A pickle that is damaged, too large, or holds more than plain values; names the file."""


def load_plain_pickle(path: Path) -> Any:
    """What a pickle of protocol 0 to 5 holds, if that is plain containers, strings and numbers.

    Raises:
        PickleError: it is damaged, names a class or function, is too large or nested too deeply,
            holds itself, or has a key that is no string or number.
        FileNotFoundError: there is no such file.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        value = _run(content)
        _count_items(value, 0, {})
    except FileNotFoundError:
        raise
    except (ValueError, TypeError, IndexError, KeyError, OSError, OverflowError) as error:
        raise PickleError(f"{path}: not a pickle of plain values ({error})") from error
    return value


def _run(content: bytes) -> Any:
    """Run the program and return the only value that it leaves."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    for opcode, argument, _ in pickletools.genops(content):
        name = opcode.name
        if name in _VALUES:
            stack.append(_checked(argument))
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name == "MEMOIZE":
            memo[len(memo)] = _top(stack)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = _top(stack)
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            if argument not in memo:
                raise ValueError(f"refers to value {argument}, which it has not made")
            stack.append(memo[argument])
        elif name in _TUPLES:
            stack.append(tuple(_pop(stack) for _ in range(_TUPLES[name]))[::-1])
        elif name in _FROM_MARK:
            items = _pop_to_mark(stack)
            stack.append(_FROM_MARK[name](items))
        elif name in ("APPEND", "APPENDS"):
            items = [_pop(stack)] if name == "APPEND" else _pop_to_mark(stack)
            _top(stack, list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [_pop(stack), _pop(stack)][::-1] if name == "SETITEM" else _pop_to_mark(stack)
            _top(stack, dict).update(_pairs(items))
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise ValueError(f"it uses {name}, which plain values do not need")
    if len(stack) != 1 or stack[0] is _MARK:
        raise ValueError(f"it leaves {len(stack)} values instead of one")
    return stack[0]


def _checked(value: Any) -> Any:
    if isinstance(value, int) and not -MAX_INT <= value < MAX_INT:
        raise ValueError(f"an integer of {value.bit_length()} bits")
    return value


def _top(stack: list[Any], kind: type = object) -> Any:
    if not stack or stack[-1] is _MARK or not isinstance(stack[-1], kind):
        raise ValueError("it puts values where none can be")
    return stack[-1]


def _pop(stack: list[Any]) -> Any:
    _top(stack)
    return stack.pop()


def _pop_to_mark(stack: list[Any]) -> list[Any]:
    items = []
    while (value := stack.pop() if stack else None) is not _MARK:
        if not stack:
            raise ValueError("it ends a container that it has not begun")
        items.append(value)
    return items[::-1]


def _pairs(items: list[Any]) -> dict[Any, Any]:
    """`[key, value, key, value, …]` as a dict."""
    if len(items) % 2:
        raise ValueError("a key without a value")
    for key in items[::2]:
        if not isinstance(key, _KEYS):
            raise ValueError(f"a key that is a {type(key).__name__}: {reprlib.repr(key)}")
    return dict(zip(items[::2], items[1::2], strict=True))


_FROM_MARK: dict[str, Callable[[list[Any]], Any]] = {"TUPLE": tuple, "LIST": list, "DICT": _pairs}


def _count_items(value: Any, depth: int, counted: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """How many items a value holds in all, and how deep below it they stand.

    What stands in several containers is looked at once: as few bytes as doubling it level by level
    takes could ask for more steps than there are atoms.
    """
    if not isinstance(value, list | tuple | dict):
        return 0, 0
    if id(value) not in counted:
        if depth >= MAX_DEPTH:
            raise ValueError(f"containers within each other, more than {MAX_DEPTH} deep")
        total, deepest = 0, 0
        for item in value.values() if isinstance(value, dict) else value:
            items, below = _count_items(item, depth + 1, counted)
            total, deepest = total + 1 + items, max(deepest, below)
        if total > MAX_ITEMS:
            raise ValueError(f"more than {MAX_ITEMS} items")
        counted[id(value)] = total, deepest + 1
    total, below = counted[id(value)]
    if depth + below > MAX_DEPTH:
        raise ValueError(f"containers within each other, more than {MAX_DEPTH} deep")
    return total, below
