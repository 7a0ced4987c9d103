"""The scene classes of Places365, which are those of the scene models and so of pseudo labels."""

from __future__ import annotations

from pathlib import Path

from devias.data.annotations import RowError, class_number, split_row
from devias.data.class_names import read_class_names


def read_categories(path: Path) -> list[str]:
    """Read `categories_places365.txt` (`/a/airfield 0`) → names by label (`airfield`).

    Raises:
        AnnotationError: a row is broken, or labels and names are not one to one or have gaps.
    """

    def parse(text: str) -> tuple[int, str]:
        layout = "/<letter>/<name> <label>"
        name, number = split_row(text, layout)
        if name[:1] != "/" or name[2:3] != "/" or len(name) < 4:
            raise RowError(f"expected '{layout}', got {text!r}")
        return class_number(number), name[3:]

    return read_class_names(path, parse)
