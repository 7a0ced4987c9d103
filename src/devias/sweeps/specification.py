"""Tables as files: their rows, what each is trained with, and what the paper has for it."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from devias.errors import DeviasError, did_you_mean
from devias.reporting.columns import Column, column_of

KEYS = (
    "title", "base", "rows", "seeds", "columns", "folder", "separate_groups", "measure", "needs",
    "notes",
)  # fmt: skip
ROW_KEYS = ("overrides", "group", "paper", "note")
MEASURES = ("test", "knn")
OF_THE_TABLE = ("seed", "names.model", "paths.run_dir", "ckpt_path")
"""What the table itself sets for each run."""
TOLERANCE = 0.1
"""How far, in per cent, the paper's H.M. may be from that of its four numbers."""


class TableError(DeviasError, ValueError):
    """A table's file or what is asked of it is wrong; names file and key."""


@dataclass(frozen=True)
class Row:
    """One method of a table."""

    label: str
    overrides: tuple[str, ...]
    """On top of the table's own."""
    group: str = ""
    """The heading it stands below."""
    paper: Mapping[str, float] = field(default_factory=dict)
    """The paper's numbers by metric, in per cent."""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """What a file declares."""

    path: Path
    title: str
    base: tuple[str, ...]
    """Overrides of `devias train` that all rows share."""
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    columns: tuple[Column, ...]
    folder: str
    """Where its runs lie, below `paths.runs`/tables; tables that share it share runs."""
    separate_groups: bool = False
    """Whether only rows of one group are compared, which may be of different protocols."""
    measure: str = "test"
    """Where the numbers are from: `test`, the run's own result; `knn`, `devias knn` on it."""
    needs: str = ""
    """Data, weights and time that it takes."""
    notes: str = ""

    def select(
        self, rows: str | Sequence[str] | None = None, seeds: int | Sequence[int] | None = None
    ) -> Table:
        """The table with some of its rows and with other seeds.

        Args:
            rows: labels, or patterns such as `Two-Token*`, of the rows to keep.
            seeds: instead of the file's.

        Raises:
            TableError: no row is called so, or a seed is none.
        """
        kept, chosen = self.rows, self.seeds
        if rows is not None:
            patterns = [str(r) for r in (rows if isinstance(rows, list | tuple) else [rows])]
            found = [[r for r in self.rows if _is_called(r, pattern)] for pattern in patterns]
            for pattern, matches in zip(patterns, found, strict=True):
                if not matches:
                    labels = [row.label for row in self.rows]
                    near = did_you_mean(pattern, labels) or f"; there are {', '.join(labels)}"
                    raise TableError(f"{self.path} has no row {pattern!r}{near}")
            kept = tuple(row for row in self.rows if any(row in matches for matches in found))
        if seeds is not None:
            chosen = _seeds([seeds] if isinstance(seeds, int) else seeds, "seeds")
        return replace(self, rows=kept, seeds=chosen)


def read_table(path: Path | str) -> Table:
    """Read and check a table's file.

    Raises:
        FileNotFoundError: there is none.
        TableError: names what is wrong in it.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        content = yaml.load(text, _Loader)
        return _table(path, content)
    except (yaml.YAMLError, RecursionError) as error:
        raise TableError(f"{path}: {' '.join(str(error).split())}") from error
    except TableError as error:
        raise TableError(f"{path}: {error}") from error


def harmonic_mean(paper: Mapping[str, float]) -> float | None:
    """Of action and scene, seen and unseen, as far as numbers of the paper have all four."""
    for topk in (5, 1):
        tasks = ("action_top1", f"scene_top{topk}")
        names = [f"{split}/{task}" for split in ("seen", "unseen") for task in tasks]
        if all(name in paper for name in names):
            values = [paper[name] for name in names]
            return 4 / sum(1 / value for value in values) if min(values) > 0 else 0.0
    return None


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Plain values alone; refuses a key that stands twice, of which YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                line = node.value[place][0].start_mark.line + 1
                raise TableError(f"{key!r} stands twice, again in line {line}")
        return super().construct_mapping(node, deep)


def _table(path: Path, content: Any) -> Table:
    content = _mapping(content, "the file", KEYS)
    for key in ("title", "rows", "columns"):
        if key not in content:
            raise TableError(f"{key} is missing")
    columns = _columns(content["columns"])
    rows = content["rows"]
    if not isinstance(rows, dict) or not rows:
        raise TableError(f"rows must map labels to overrides, not be {rows!r}")
    measure = content.get("measure", "test")
    if measure not in MEASURES:
        raise TableError(f"measure must be one of {', '.join(MEASURES)}, not {measure!r}")
    separate = content.get("separate_groups", False)
    if not isinstance(separate, bool):
        raise TableError(f"separate_groups must be true or false, not {separate!r}")
    return Table(
        path=path,
        title=_text(content["title"], "title"),
        base=_overrides(content.get("base", ""), "base"),
        rows=tuple(_row(label, row, columns) for label, row in rows.items()),
        seeds=_seeds(content.get("seeds", [0]), "seeds"),
        columns=columns,
        folder=_folder(content.get("folder", path.stem)),
        separate_groups=separate,
        measure=measure,
        needs=_text(content.get("needs", ""), "needs"),
        notes=_text(content.get("notes", ""), "notes"),
    )


def _row(label: Any, content: Any, columns: Sequence[Column]) -> Row:
    key = f"rows.{label}"
    if not isinstance(label, str) or not label.strip() or "\n" in label or "${" in label:
        raise TableError(f"the label {label!r} must be one line of text, without ${{")
    if not isinstance(content, dict):
        return Row(label, _overrides(content, key))
    content = _mapping(content, key, ROW_KEYS)
    return Row(
        label,
        _overrides(content.get("overrides", ""), f"{key}.overrides"),
        _text(content.get("group", ""), f"{key}.group"),
        _paper(content.get("paper") or {}, f"{key}.paper", columns),
        _text(content.get("note", ""), f"{key}.note"),
    )


def _overrides(value: Any, key: str) -> tuple[str, ...]:
    """Overrides in one text, between blanks, or in a list."""
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise TableError(f"{key} must be overrides such as model=devias, not {value!r}")
    for word in words:
        try:
            override = OverridesParser.create().parse_override(word)
        except HydraException as error:
            raise TableError(f"{key}: {word!r} is not key=value") from error
        if override.is_sweep_override():
            raise TableError(f"{key}: {word!r} is several values; a row is one method")
        if override.key_or_group in OF_THE_TABLE:
            raise TableError(f"{key}: {override.key_or_group} is set by the table itself")
    return tuple(words)


def _paper(value: Any, key: str, columns: Sequence[Column]) -> dict[str, float]:
    paper = _mapping(value, key, [column.metric for column in columns])
    for metric, number in paper.items():
        if not _is_number(number) or not -100 <= number <= 100:
            raise TableError(f"{key}.{metric} must be a number in per cent, not {number!r}")
    mean = harmonic_mean(paper)
    given = paper.get("harmonic_mean")
    if mean is not None and given is not None and abs(round(mean, 1) - given) > TOLERANCE + 1e-6:
        raise TableError(f"{key}: H.M. is {given}, but that of its four numbers is {mean:.1f}")
    return {metric: float(number) for metric, number in paper.items()}


def _columns(value: Any) -> tuple[Column, ...]:
    """Metrics, or metrics by the titles to show."""
    pairs: Iterator[tuple[Any, Any]] | Sequence[tuple[Any, Any]] = ()
    if isinstance(value, list):
        pairs = [(None, metric) for metric in value]
    elif isinstance(value, dict):
        pairs = [*value.items()]
    if not pairs or not all(isinstance(metric, str) for _, metric in pairs):
        raise TableError(f"columns must be names of metrics, not {value!r}")
    metrics = [metric for _, metric in pairs]
    if twice := [metric for place, metric in enumerate(metrics) if metric in metrics[:place]]:
        raise TableError(f"columns: {twice[0]} stands twice")
    return tuple(column_of(metric, title and str(title)) for title, metric in pairs)


def _seeds(value: Any, key: str) -> tuple[int, ...]:
    seeds = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    if not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise TableError(f"{key} must be whole numbers such as [0, 1, 2], not {value!r}")
    return tuple(dict.fromkeys(seeds))


def _folder(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"\w[\w.-]*", value):
        raise TableError(f"folder must be one name of letters and figures, not {value!r}")
    return value


def _mapping(value: Any, key: str, known: Sequence[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TableError(f"{key} must hold {', '.join(known)}, not {value!r}")
    for name in value:
        if name not in known:
            near = did_you_mean(str(name), known) or f"; there are {', '.join(known)}"
            raise TableError(f"{key} has no key {name!r}{near}")
    return value


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise TableError(f"{key} must be text, not {value!r}")
    return value.strip()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_called(row: Row, pattern: str) -> bool:
    return row.label == pattern or fnmatchcase(row.label, re.sub(r"\[", "[[]", pattern))
