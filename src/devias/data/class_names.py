"""Class names by label: read from lists, and compared with what is trained and tested."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

from devias.data.annotations import AnnotationError, RowError, class_number, read_rows
from devias.data.records import VideoRecord
from devias.errors import ConfigError
from devias.structures import UNKNOWN

log = logging.getLogger(__name__)

MAX_SHOWN = 10
"""Classes that a message names."""


class ClassNames:
    """Labels and names as the rows of one or more lists give them, one to one."""

    def __init__(self) -> None:
        self._names: dict[int, tuple[str, str]] = {}
        self._labels: dict[str, tuple[int, str]] = {}

    def add(self, label: int, name: str, source: str) -> None:
        """Take what the row at `source` (`file:line`) says.

        Raises:
            RowError: an earlier row contradicts it.
        """
        other, place = self._names.setdefault(label, (name, source))
        if other != name:
            raise RowError(f"{name!r} has the same label as {other!r} in {place}")
        number, place = self._labels.setdefault(name, (label, source))
        if number != label:
            raise RowError(f"{name!r} has another label than in {place}")

    def in_order(self, *files: Path) -> list[str]:
        """Names by label.

        Raises:
            AnnotationError: the labels, which come from `files`, are not 0, 1, 2, …
        """
        end = max(self._names, default=-1) + 1
        if gaps := end - len(self._names):
            missing = islice((label for label in range(end) if label not in self._names), MAX_SHOWN)
            raise AnnotationError(
                " and ".join(map(str, files)),
                None,
                f"class ids have gaps: counted from 0, {_listed(list(missing), gaps)} missing",
            )
        return [self._names[label][0] for label in range(end)]


def read_class_names(path: Path, parse: Callable[[str], tuple[int, str]]) -> list[str]:
    """Read a file of class names, in any order → names by label.

    Args:
        path: of the file.
        parse: a row → its label from 0 and its name; raises `RowError`.

    Raises:
        AnnotationError: a row is broken, or labels and names are not one to one or have gaps.
    """
    classes = ClassNames()
    read_rows(path, lambda text, source: classes.add(*parse(text), source))
    return classes.in_order(path)


def read_class_index(path: Path) -> list[str]:
    """Read `1 ApplyEyeMakeup` rows, numbered from 1 → names by label, which is from 0.

    Raises:
        AnnotationError: as `read_class_names`.
    """

    def parse(text: str) -> tuple[int, str]:
        number, _, name = text.partition(" ")
        label = class_number(number) - 1
        if label < 0 or not name or "\t" in name:
            raise RowError(f"expected '<number from 1> <name>', got {text!r}")
        return label, name.lstrip(" ")

    return read_class_names(path, parse)


def check_classes(
    kind: Literal["action", "scene"],
    names: Sequence[str],
    num_classes: int,
    train: Sequence[VideoRecord],
    others: Mapping[str, Sequence[VideoRecord]],
) -> None:
    """Compare class names and lists before training, which may take days.

    A class without training videos is warned of, since a list may leave out rare ones.

    Args:
        kind: of class.
        names: by label.
        num_classes: what the model is built for.
        train: records of the training list; says nothing where it has no labels of this kind.
        others: records of the validation and test lists, by split.

    Raises:
        ConfigError: there are more or fewer names than classes.
    """
    if len(names) != num_classes:
        raise ConfigError(
            f"the dataset's lists name {len(names)} {kind} classes, but data.num_{kind}s="
            f"{num_classes}"
        )
    trained = {getattr(record, kind) for record in train} - {UNKNOWN}
    missing = set(range(num_classes)) - trained
    if not trained or not missing:
        return
    log.warning("no training video of %s", _listed([names[label] for label in sorted(missing)]))
    for split, records in others.items():
        untrained = [label for record in records if (label := getattr(record, kind)) in missing]
        if untrained:
            shown = _listed([names[label] for label in sorted(set(untrained))])
            log.warning("%d videos of %s are of these: %s", len(untrained), split, shown)


def _listed(items: Sequence[object], count: int | None = None) -> str:
    """The first few items, and how many of `count` there are besides."""
    shown = ", ".join(map(str, items[:MAX_SHOWN]))
    more = (len(items) if count is None else count) - MAX_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
