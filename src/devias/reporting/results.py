"""The result of one run as a JSON file, and where the run took place."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from devias.errors import DeviasError
from devias.files import write_text

RESULT_FILE = "result.json"

TRACKERS = frozenset(("mlflow", "trackio", "wandb"))
"""Folders among runs, or in them, that are trackers'."""

NOT_SHOWN = (
    "backbone.weights", "callbacks", "compile", "data.annotations", "data.eval_batch_size",
    "data.num_workers", "data.preload", "data.pseudo_cache", "data.root", "global_batch", "logger",
    "max_batch_per_device", "names.", "paths.", "protocol.kept_scores", "protocol.on_error",
    "protocol.paper", "trainer.", "weights",
)  # fmt: skip
"""How changes begin that an evaluation's numbers do not depend on."""


class ResultError(DeviasError, ValueError):
    """Results that cannot be read or put into one table; names the files."""


class NoResultsError(DeviasError, FileNotFoundError):
    """There is no result below a folder; names it."""


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
    intervals: dict[str, list[float]] = field(default_factory=dict)
    """The 95 % interval `[low, high]` of each metric, by the choice of videos."""
    counts: dict[str, int] = field(default_factory=dict)
    """How many videos each metric is about; none for those over all sets."""
    lower_is_better: list[str] = field(default_factory=list)
    """Metrics of sets that the protocol says so of, as SCUFO's."""
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
    skipped: dict[str, list[str]] = field(default_factory=dict)
    """By set, why videos could not be read and were left out."""
    notes: list[str] = field(default_factory=list)
    """What sets it apart from a usual result, as a test on a part of the videos."""
    run_id: str = ""
    """Hash of the method, as `devias.config.identity.run_id`; empty in older results."""
    evaluation: dict[str, Any] | None = None
    """Of a separate evaluation: the `checkpoint` tested and a list of `changes` as `key=value`."""

    @property
    def row(self) -> str:
        """What a table calls it: the model, and what a separate evaluation did otherwise."""
        return f"{self.model}{self.differs}"

    @property
    def differs(self) -> str:
        """What a separate evaluation did otherwise, in brackets; empty for a run's own result."""
        if self.evaluation is None:
            return ""
        checkpoint = Path(self.evaluation["checkpoint"]).name
        shown = [] if checkpoint == "best.ckpt" else [checkpoint]
        shown += [c for c in self.evaluation["changes"] if not c.startswith(NOT_SHOWN)]
        return f" [{', '.join(shown)}]" if shown else ""

    def save(self, path: Path | str) -> None:
        """Write the JSON file atomically.

        Raises:
            ResultError: A metric or duration is NaN or infinite; the message names it.
        """
        self._check()
        write_text(path, json.dumps(asdict(self), indent=2, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: Path | str) -> RunResult:
        """Read a result file.

        Raises:
            FileNotFoundError: There is no such file.
            ResultError: It is not JSON, lacks a field, has one that is unknown or of the wrong
                type, or holds a NaN; the message names file and field.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            result = cls(**_known_fields(content))
            result._check()
        except (ValueError, RecursionError) as error:  # JSON and Unicode errors are ValueErrors
            raise ResultError(f"{path}: {error}") from error
        return result

    def _check(self) -> None:
        for name in ("experiment", "model", "data"):
            if not isinstance(getattr(self, name), str):
                raise ResultError(f"{name} is {getattr(self, name)!r}, not a name")
        for group in ("metrics", "seconds"):
            values = getattr(self, group)
            if not isinstance(values, dict):
                raise ResultError(f"{group} must map names to numbers, not be {values!r}")
            for name, value in values.items():
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise ResultError(f"{group}[{name!r}] is {value!r}, not a number")
                if not math.isfinite(value):
                    raise ResultError(f"{group}[{name!r}] is {value}, not a finite number")
        if not isinstance(self.intervals, dict):
            raise ResultError(f"intervals must map names to [low, high], not be {self.intervals!r}")
        for name, interval in self.intervals.items():
            match interval:
                case [int() | float() as low, int() | float() as high] if low <= high:
                    continue
            raise ResultError(f"intervals[{name!r}] is {interval!r}, not [low, high]")
        if self.evaluation is not None:
            match self.evaluation:
                case {"checkpoint": str(), "changes": [*changes]} if all(
                    isinstance(change, str) for change in changes
                ):
                    return
            raise ResultError(f"evaluation is {self.evaluation!r}, not checkpoint and changes")


def result_of(run: Path, run_id: str, seed: int) -> RunResult | None:
    """The result in a run's folder, if it is there and of the method with this hash and this seed.

    Raises:
        ResultError: it cannot be read.
    """
    path = run / RESULT_FILE
    result = RunResult.load(path) if path.exists() else None
    return result if result and (result.run_id, result.seed) == (run_id, seed) else None


def paper_rows(result: RunResult, paper: Mapping[str, Mapping[str, float]]) -> list[RunResult]:
    """Rows to stand beside a result in a table: what its protocol says the paper has."""
    return [
        replace(result, model=name, run_id="", metrics=dict(metrics), intervals={}, counts={},
                skipped={}, notes=[], absent={}, evaluation=None)
        for name, metrics in paper.items()
    ]  # fmt: skip


def load_results(folder: Path | str) -> list[RunResult]:
    """The results of `find_results`."""
    return [*find_results(folder).values()]


def find_results(folder: Path | str) -> dict[Path, RunResult]:
    """Read every `result.json` below a folder, in the order of their paths, evaluations last.

    An evaluation stands for itself where it tested otherwise than the run (`RunResult.row`). One
    that did not repeats the run's own result and is left out; of several alike the last is taken.

    Raises:
        NoResultsError: There is none.
        ResultError: One cannot be read, or two runs have the same names and seed.
    """
    found = Path(folder).rglob(RESULT_FILE)
    paths = sorted((path for path in found if not is_tracked_copy(path, folder)), key=_natural)
    if not paths:
        raise NoResultsError(f"{folder}: no {RESULT_FILE} in here or below")
    loaded = [(path, _load_of_run(path)) for path in paths]
    kept: dict[tuple[str, str, str, int], tuple[Path, RunResult]] = {}
    for path, result in sorted(loaded, key=lambda item: item[1].evaluation is not None):
        key = (result.experiment, result.data, result.row, result.seed)
        other = kept.setdefault(key, (path, result))
        if _run_folder(*other) != _run_folder(path, result):
            raise ResultError(
                f"{other[0]} and {path} are both of {_describe(*key[:3])} with the seed "
                f"{result.seed}: report them apart, or move one away"
            )
        if other[1].evaluation is not None:
            kept[key] = path, result
    return dict(kept.values())


def is_tracked_copy(path: Path, folder: Path | str) -> bool:
    """Whether a file below a folder of runs lies where a tracker keeps its own."""
    return not TRACKERS.isdisjoint(path.relative_to(folder).parts)


def _load_of_run(path: Path) -> RunResult:
    """A result; those that versions before 0.2 left in RUN/evaluation are marked as evaluations."""
    result = RunResult.load(path)
    run = path.parent.parent
    if result.evaluation is None and path.parent.name == "evaluation" and _is_run(run):
        best = str(run / "checkpoints" / "best.ckpt")
        result.evaluation = {"checkpoint": best, "changes": ["evaluation"]}
    return result


def _is_run(folder: Path) -> bool:
    return (folder / "config.yaml").exists() or (folder / RESULT_FILE).exists()


def _run_folder(path: Path, result: RunResult) -> Path:
    """Where the run lies that a result is of."""
    if result.evaluation is None:
        return path.parent.resolve()
    if path.parent.parent.name == "evaluations":  # also where the run was moved
        return path.parent.parent.parent.resolve()
    return Path(result.evaluation["checkpoint"]).parent.parent.resolve()


def _natural(path: Path) -> list[tuple[bool, int, str]]:
    """Sorts paths so that 10 comes after 9."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in path.parts]


def group_runs(results: Iterable[RunResult]) -> dict[tuple[str, str, str], list[RunResult]]:
    """Gather the seeds of each `(experiment, data, row)`, in order of first appearance.

    Runs of one hash are one group, whatever they are called; it has the name of the first. Groups
    that are called the same get their hashes behind it.

    Raises:
        ResultError: A seed stands twice in a group; averaging would count it double.
    """
    methods: dict[tuple[str, str, str, str], list[RunResult]] = {}
    for result in results:
        method = result.run_id or result.model
        key = (result.experiment, result.data, method, result.differs)
        runs = methods.setdefault(key, [])
        if any(run.seed == result.seed for run in runs):
            described = _describe(result.experiment, result.data, result.row)
            raise ResultError(f"two results of {described} have the seed {result.seed}")
        runs.append(result)
    groups: dict[tuple[str, str, str], list[RunResult]] = {}
    names = [(runs[0].experiment, runs[0].data, runs[0].row) for runs in methods.values()]
    for name, runs in zip(names, methods.values(), strict=True):
        same = names.count(name) > 1 and runs[0].run_id
        groups[(*name[:2], f"{name[2]} [{runs[0].run_id}]") if same else name] = runs
    return groups


def _describe(experiment: str, data: str, row: str) -> str:
    return f"experiment {experiment!r}, data {data!r}, model {row!r}"


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
        raise ResultError(f"expected an object, found {type(content).__name__}")
    required = {f.name for f in fields(RunResult) if f.default_factory is f.default is MISSING}
    if missing := sorted(required - content.keys()):
        raise ResultError(f"the field {missing[0]!r} is missing")
    if unknown := sorted(content.keys() - {f.name for f in fields(RunResult)}):
        raise ResultError(f"unknown field {unknown[0]!r}")
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
