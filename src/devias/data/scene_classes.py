"""The scene classes of Places365, which scene models tell apart."""

from __future__ import annotations

from pathlib import Path

from devias.data.records import AnnotationError, class_number, numbered_lines


def read_categories(path: Path) -> list[str]:
    """Read `categories_places365.txt` (`/a/airfield 0`) → names by label (`airfield`)."""
    names: list[str] = []
    for line, text in numbered_lines(path):
        name, _, number = text.rpartition(" ")
        if class_number(path, line, number) != len(names) or name[:1] != "/" or len(name) < 4:
            raise AnnotationError(
                path, line, f"expected '/<letter>/<name> {len(names)}', got {text!r}"
            )
        names.append(name[3:])
    return names
