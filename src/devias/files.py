"""Files that are whole or not there at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

TEMPORARY = re.compile(r"\..+-([0-9a-f]{8}|partial)(\.[^.]+)?")
"""Names of the files that `atomic_path` writes to."""


@contextmanager
def atomic_path(path: Path | str, shared: bool = True) -> Iterator[Path]:
    """A temporary neighbor of `path`, with its suffix, that takes its place at the end.

    Folders are made as needed. If the block raises, `path` stays as it was.

    Args:
        path: of the file to write.
        shared: other processes may be writing it at the same time. Where none can, all attempts
            have one temporary name, so that what a killed one left is overwritten by the next.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tag = uuid4().hex[:8] if shared else "partial"
    temporary = path.with_name(f".{path.stem}-{tag}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write a text file atomically, in UTF-8 with the newlines it has."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def remove_temporary(folder: Path | str) -> None:
    """Remove what writers of `atomic_path` that were killed left in a folder, if there is one.

    No other process may be writing there.
    """
    for path in Path(folder).glob(".*"):
        if TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)
