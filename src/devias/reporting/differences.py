"""Where the configurations of several runs differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from devias.reporting.results import NOT_SHOWN

MISSING = "–"


def config_differences(runs: Mapping[str, Path]) -> list[list[str]]:
    """The settings that are not the same in all runs, but for what numbers do not depend on.

    Args:
        runs: the folder of each, by its name; a folder without a readable `config.yaml` says
            nothing.

    Returns:
        A row a setting: its key, and its value in each run; `–` where there is none.
    """
    settings = {name: _settings(folder / "config.yaml") for name, folder in runs.items()}
    keys = dict.fromkeys(key for values in settings.values() for key in values)
    rows = [[key, *(values.get(key, MISSING) for values in settings.values())] for key in keys]
    return [row for row in rows if len(set(row[1:])) > 1 and not row[0].startswith(NOT_SHOWN)]


def _settings(path: Path) -> dict[str, str]:
    """All values of a configuration by their dotted keys."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return dict(_flat(content))


def _flat(value: Any, key: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        prefix = f"{key}." if key else ""
        return [pair for name, item in value.items() for pair in _flat(item, f"{prefix}{name}")]
    return [(key, str(value))]
