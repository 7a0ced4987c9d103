"""Reading annotation files in JSON, with errors that name the file and the entry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from devias.data.annotations import AnnotationError, RowError, clean, no_video_twice, parse_all
from devias.data.records import VideoRecord

Parsed = TypeVar("Parsed")
Value = TypeVar("Value", str, int, float, list[Any], dict[str, Any])

KINDS = {str: "a string", int: "an integer", float: "a number", list: "a list", dict: "an object"}


def read_entries(path: Path, parse: Callable[[Any, str], Parsed]) -> list[Parsed]:
    """Parse the entries of a JSON list, numbered from 1.

    Args:
        path: of the file.
        parse: takes an entry and its place `file, entry 3`; raises `RowError` where it cannot be
            used.

    Raises:
        AnnotationError: broken entries, of which it tells the first few and the number; no entry
            at all; no list; a file that cannot be read.
        FileNotFoundError: there is no such file.
    """
    entries: list[Any] = _read(path, list)
    return parse_all(path, enumerate(entries, start=1), parse, unit="entry")


def read_entry_records(path: Path, parse: Callable[[Any, str], VideoRecord]) -> list[VideoRecord]:
    """The records of a JSON list, as `read_entries`; no video may stand there twice."""
    return read_entries(path, no_video_twice(parse))


def read_members(
    path: Path, parse: Callable[[tuple[str, Any], str], Parsed], below: str | None = None
) -> list[Parsed]:
    """Parse the members of a JSON object, as `read_entries` does the entries of a list.

    Args:
        path: of the file.
        parse: takes name and value of a member, and its place `file, entry <name>`.
        below: the member of the file's object that is meant, instead of that itself.
    """
    members: dict[str, Any] = _read(path, dict)
    if below is not None:
        try:
            members = field(members, below, dict)
        except RowError as error:
            raise AnnotationError(path, None, str(error)) from None
    named = ((name[:80], (name, value)) for name, value in members.items())

    def parse_member(member: tuple[str, Any], source: str) -> Parsed:
        clean(member[0])
        return parse(member, source)

    return parse_all(path, named, parse_member, unit="entry")


def field(entry: Any, name: str, kind: type[Value]) -> Value:
    """A field of an entry, which must be an object.

    Args:
        entry: as `json` reads it.
        name: of the field.
        kind: what it must be; an integer is a number as well.

    Raises:
        RowError: there is none, it is of another kind, or a string that no field may be.
    """
    if not isinstance(entry, dict) or name not in entry:
        raise RowError(f"expected an object with {name!r}, got {_shown(entry)}")
    return checked(entry[name], kind, f"{name!r} to be ")


def checked(value: Any, kind: type[Value], what: str = "") -> Value:
    """A value, if it is of a kind.

    Raises:
        RowError: it is not, which begins with "expected " and `what`.
    """
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or isinstance(value, bool):
        raise RowError(f"expected {what}{KINDS[kind]}, got {_shown(value)}")
    if isinstance(value, str):
        clean(value)
    return value  # type: ignore[return-value]


def _read(path: Path, kind: type[Value]) -> Value:
    """The content of a file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise AnnotationError(path, None, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(path, None, "not UTF-8; save the list as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise AnnotationError(path, None, f"not JSON: {error}") from error
    try:
        return checked(content, kind)
    except RowError as error:
        raise AnnotationError(path, None, str(error)) from None


def _shown(value: Any) -> str:
    """A value as it may stand in a message."""
    return KINDS[type(value)] if isinstance(value, list | dict) else json.dumps(value)[:80]
