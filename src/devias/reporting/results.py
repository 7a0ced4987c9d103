"""The result of one run as a JSON file, and where the run took place."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from devias.files import write_text

RESULT_FILE = "result.json"


@dataclass
class RunResult:
    """What one run reached, and what is needed to tell it from others."""

    experiment: str
    model: str
    data: str
    seed: int
    commit: str | None
    """As `git_commit`."""
    metrics: dict[str, float]
    """`{"seen/action_top1": 0.93, …, "harmonic_mean": 0.8}` as fractions."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time of each phase, as `{"train": 61.2, "test": 8.9}`."""
    hardware: dict[str, str | int] = field(default_factory=dict)
    """As `describe_hardware`."""
    command: str = ""
    """The command line that repeats the run."""
    protocol: str = ""
    """The name of the protocol the metrics are of."""
    scene_topk: int = 1
    """The scene accuracy that counts in it and in `harmonic_mean`."""
    absent: dict[str, str] = field(default_factory=dict)
    """Evaluation sets that could not be read where the run took place, and why."""
    notes: list[str] = field(default_factory=list)
    """What sets it apart from a usual result, as a test on a part of the videos."""
    run_id: str = ""
    """Hash of the method, as `devias.identity.run_id`; empty in older results."""

    def save(self, path: Path | str) -> None:
        """Write the JSON file atomically.

        Raises:
            ValueError: A metric or duration is NaN or infinite; the message names it.
        """
        self._check()
        write_text(path, json.dumps(asdict(self), indent=2, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: Path | str) -> RunResult:
        """Read a result file.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is not JSON, lacks a field, has one that is unknown or of the wrong
                type, or holds a NaN; the message names file and field.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            result = cls(**_known_fields(content))
            result._check()
        except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
            raise ValueError(f"{path}: {error}") from error
        return result

    def _check(self) -> None:
        for group in ("metrics", "seconds"):
            values = getattr(self, group)
            if not isinstance(values, dict):
                raise ValueError(f"{group} must map names to numbers, not be {values!r}")
            for name, value in values.items():
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise ValueError(f"{group}[{name!r}] is {value!r}, not a number")
                if not math.isfinite(value):
                    raise ValueError(f"{group}[{name!r}] is {value}, not a finite number")


def load_results(folder: Path | str) -> list[RunResult]:
    """Read every `result.json` below a folder, in the order of their paths.

    Raises:
        FileNotFoundError: There is none.
        ValueError: As `RunResult.load`.
    """
    paths = sorted(Path(folder).rglob(RESULT_FILE))
    if not paths:
        raise FileNotFoundError(f"{folder}: no {RESULT_FILE} in here or below")
    return [RunResult.load(path) for path in paths]


def group_runs(results: Iterable[RunResult]) -> dict[tuple[str, str, str], list[RunResult]]:
    """Gather the seeds of each `(experiment, data, model)`, in order of first appearance.

    Runs of one hash are one group, whatever they are called; it has the name of the first. Groups
    that are called the same get their hashes behind it.

    Raises:
        ValueError: A seed stands twice in a group; averaging would count it double.
    """
    methods: dict[tuple[str, str, str, str], list[RunResult]] = {}
    for result in results:
        method = (result.run_id, "" if result.run_id else result.model)
        runs = methods.setdefault((result.experiment, result.data, *method), [])
        if any(run.seed == result.seed for run in runs):
            raise ValueError(
                f"two results of experiment {result.experiment!r}, data {result.data!r}, "
                f"model {result.model!r} have the seed {result.seed}"
            )
        runs.append(result)
    groups: dict[tuple[str, str, str], list[RunResult]] = {}
    names = [(experiment, data, runs[0].model) for (experiment, data, *_), runs in methods.items()]
    for name, (*_, run_id, _), runs in zip(names, methods, methods.values(), strict=True):
        same = names.count(name) > 1 and run_id
        groups[(*name[:2], f"{name[2]} [{run_id}]") if same else name] = runs
    return groups


def git_commit(folder: Path | str = Path(__file__).parent) -> str | None:
    """The commit of the source code in a folder, with `-dirty` if tracked files were changed.

    `None` where git is missing or doesn't track the folder, as in an installed package, even if
    it lies inside somebody's repository.
    """
    if not _git(folder, "ls-files", "."):
        return None
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def describe_hardware() -> dict[str, str | int]:
    """Processor, usable cores and accelerators of this machine, and the versions of note."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    hardware: dict[str, str | int] = {
        "cpu": _cpu_name(),
        "cores": cores or 1,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if torch.cuda.is_available():
        hardware["gpu"] = torch.cuda.get_device_name()
        hardware["gpus"] = torch.cuda.device_count()
    return hardware


def _known_fields(content: Any) -> dict[str, Any]:
    """The fields of a result file, checked to be those of `RunResult`."""
    if not isinstance(content, dict):
        raise ValueError(f"expected an object, found {type(content).__name__}")
    required = {f.name for f in fields(RunResult) if f.default_factory is f.default is MISSING}
    if missing := sorted(required - content.keys()):
        raise ValueError(f"the field {missing[0]!r} is missing")
    if unknown := sorted(content.keys() - {f.name for f in fields(RunResult)}):
        raise ValueError(f"unknown field {unknown[0]!r}")
    return content


def _git(folder: Path | str, *arguments: str) -> str | None:
    """What a git command prints, or `None` if it fails."""
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _cpu_name() -> str:
    """The processor's name; `platform` knows it on few systems."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
