"""What a model is judged by: evaluation sets, views, and the numbers made of them.

A protocol combines datasets, and is the one place that knows which combinations of action and
scene count as seen or unseen. Module, metrics, result files, figures and tables take it whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from devias.errors import ConfigError
from devias.evaluation.predictions import KEPT
from devias.evaluation.views import ActionSpace

Task = Literal["action", "scene"]
Combination = Literal["seen", "unseen"]
OnError = Literal["raise", "skip"]
"""What becomes of a video that cannot be read: an error, or it is left out and named."""

Number = TypeVar("Number", float, NDArray[np.float64])
"""A metric, or R values of it that resampling made."""


@dataclass(frozen=True)
class EvalSet:
    """Some videos that a model is evaluated on."""

    name: str
    """How its metrics are called, `<name>/action_top1`."""
    split: str
    """Of its data."""
    data: str | None = None
    """An option of the group `data`; `None` is the data that the run trains on."""
    combination: Combination | None = None
    """Whether training has seen these pairs of action and scene; `None` counts for neither."""
    tasks: Sequence[Task] = ("action", "scene")
    """What it counts for: SCUBA has actions only, HAT scenes only."""
    group: str | None = None
    """Sets of one group, as the three splits of HAT's Far, count together as one."""
    lower_is_better: bool = False
    """Whether right answers speak against a model: SCUFO, of whose still pictures only the look
    can tell the action. It counts for neither combination."""

    def __post_init__(self) -> None:
        for key, kind in (("combination", Combination), ("tasks", Task)):
            value = getattr(self, key)
            values = [] if value is None else [value] if isinstance(value, str) else value
            if unknown := [item for item in values if item not in get_args(kind)]:
                raise ConfigError(
                    f"protocol: {self.name}.{key} must be of {', '.join(get_args(kind))}, "
                    f"not {unknown[0]!r}"
                )
        if self.lower_is_better and self.combination:
            raise ConfigError(
                f"protocol: {self.name} cannot count as {self.combination} with lower_is_better"
            )
        object.__setattr__(self, "tasks", tuple(self.tasks))


class Protocol:
    """Evaluation sets and how their numbers become a row of a table.

    Args:
        name: of the protocol; tables compare results of one protocol only.
        sets: read once, after training: `{name: settings of an EvalSet}`.
        validation: likewise, read during training; every choice is made on these.
        num_clips, num_crops: temporal × spatial views of a test video; validation uses one.
        scene_topk: the scene accuracy that counts, top-5, or top-1 (HVU).
        action_space: over which of the head's classes an action is chosen; see `ActionSpace`.
        on_error: what becomes of a video that cannot be read, in validation and test.
        kept_scores: highest scores of every test video that are written down, with all roles.
        paper: rows to print beside a result, as `{name: {metric: per cent}}`.

    Raises:
        ConfigError: a name stands twice, or a setting is unknown or out of range.
    """

    def __init__(
        self,
        name: str,
        sets: Mapping[str, Mapping[str, Any]],
        validation: Mapping[str, Mapping[str, Any]] | None = None,
        num_clips: int = 2,
        num_crops: int = 3,
        scene_topk: int = 5,
        action_space: ActionSpace = "half",
        on_error: OnError = "raise",
        kept_scores: int = KEPT,
        paper: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        self.name = name
        self.sets = _eval_sets(sets)
        self.validation = _eval_sets(validation or {})
        self.num_clips, self.num_crops = num_clips, num_crops
        self.scene_topk: int = scene_topk
        self.action_space: ActionSpace = action_space
        self.on_error: OnError = on_error
        self.kept_scores = kept_scores
        self.paper = {
            row: {metric: value / 100 for metric, value in metrics.items()}
            for row, metrics in (paper or {}).items()
        }
        self.absent: dict[str, str] = {}
        """Sets that cannot be read on this machine, and why."""
        self._absent_sets: tuple[EvalSet, ...] = ()
        if twice := {s.name for s in self.sets} & {s.name for s in self.validation}:
            raise ConfigError(f"protocol: {min(twice)!r} is both a test and a validation set")
        if scene_topk not in (1, 5):
            raise ConfigError(f"protocol.scene_topk is 1 or 5, not {scene_topk}")
        if on_error not in get_args(OnError):
            raise ConfigError(f"protocol.on_error is raise or skip, not {on_error!r}")
        if kept_scores < KEPT:
            raise ConfigError(f"protocol.kept_scores is at least {KEPT}, not {kept_scores}")
        if min(num_clips, num_crops) < 1:
            raise ConfigError(
                f"protocol: {num_clips} clips × {num_crops} crops make no view of a video"
            )

    def without(self, absent: Mapping[str, str]) -> Protocol:
        """The same protocol where some sets cannot be read; they stay named in every result.

        Args:
            absent: the sets' names, and why.
        """
        rest = copy(self)
        rest.sets = tuple(s for s in self.sets if s.name not in absent)
        rest._absent_sets = tuple(s for s in self.sets if s.name in absent)
        rest.absent = dict(absent)
        return rest

    @property
    def headline(self) -> tuple[str, str]:
        """The two metrics of a set that the harmonic mean is made of."""
        return "action_top1", f"scene_top{self.scene_topk}"

    def validation_score(self, per_set: Mapping[str, Mapping[str, float]]) -> float:
        """The harmonic mean of all headline numbers on validation, which selects checkpoints."""
        return harmonic_mean(
            value
            for metrics in per_set.values()
            for name, value in metrics.items()
            if name in self.headline
        )

    def summarize(self, per_set: Mapping[str, Mapping[str, Number]]) -> dict[str, Number]:
        """Gather the metrics of all test sets into one flat dict.

        Every metric stands as `<set>/<metric>`. `seen/<metric>` and `unseen/<metric>` are the means
        over the sets of that combination, those of a group counted as one; `<group>/<metric>` is
        that of a group that counts for neither. `harmonic_mean` is that of the paper's four
        numbers, seen and unseen action top-1 and seen and unseen scene top-`scene_topk`, and
        `gap/<metric>` how much more of them is right on seen combinations than on unseen ones. A
        mean some of whose sets are absent is left out: it would be another number than the
        protocol's.

        Args:
            per_set: `{set: {metric: fraction}}`, or R values of each.

        Raises:
            ConfigError: `per_set` lacks a set.
        """
        if missing := [s.name for s in self.sets if s.name not in per_set]:
            raise ConfigError(f"no metrics for the set {missing[0]!r}; there are {[*per_set]}")
        summary = {
            f"{eval_set.name}/{metric}": value
            for eval_set in self.sets
            for metric, value in per_set[eval_set.name].items()
        }
        for name, groups in self.groups(per_set).items():
            metric = name.rpartition("/")[2]
            summary[name] = _mean(_mean(per_set[s][metric] for s in group) for group in groups)
        numbers = [f"{c}/{metric}" for c in get_args(Combination) for metric in self.headline]
        if all(number in summary for number in numbers):
            summary["harmonic_mean"] = harmonic_mean([summary[number] for number in numbers])
        for metric in self.headline:
            seen, unseen = (summary.get(f"{c}/{metric}") for c in get_args(Combination))
            if seen is not None and unseen is not None:
                summary[f"gap/{metric}"] = seen - unseen
        return summary

    def groups(self, per_set: Mapping[str, Mapping[str, Any]]) -> dict[str, list[list[str]]]:
        """Of which sets the means of `summarize` are made: `{name: [[set, …] of a group, …]}`."""
        names = dict.fromkeys(s.combination or s.group for s in self.sets)
        own = {s.name for s in self.sets if not s.combination}
        return {
            f"{name}/{metric}": groups
            for name in names
            if name is not None and name not in own
            for metric, groups in self._groups_of(name, per_set).items()
        }

    def _groups_of(
        self, name: str, per_set: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, list[list[str]]]:
        """The groups of sets of a combination, or the sets of a group that counts for none."""

        def counts(s: EvalSet) -> bool:
            return (s.combination or s.group) == name

        sets = [s for s in self.sets if counts(s)]
        incomplete = {task for s in self._absent_sets if counts(s) for task in s.tasks}
        found = {}
        for metric in dict.fromkeys(metric for s in sets for metric in per_set[s.name]):
            if incomplete & _tasks_of(metric):
                continue
            groups: dict[str, list[str]] = {}
            for s in sets:
                if metric in per_set[s.name]:
                    groups.setdefault(s.group or s.name, []).append(s.name)
            found[metric] = [*groups.values()]
        return found

    @property
    def lower_is_better(self) -> list[str]:
        """The headline metrics of sets and groups of which `EvalSet.lower_is_better` is said."""
        named = (
            f"{s.group or s.name}/{metric}"
            for s in self.sets
            if s.lower_is_better
            for metric in self.headline
            if _tasks_of(metric) <= {*s.tasks}
        )
        return list(dict.fromkeys(named))

    def describe(self) -> dict[str, Any]:
        """What `summarize` depends on, as plain values; see `from_description`."""
        sets = {s.name: asdict(s) for s in (*self.sets, *self._absent_sets)}
        for values in sets.values():
            del values["name"]
        return {
            "name": self.name,
            "scene_topk": self.scene_topk,
            "sets": sets,
            "absent": self.absent,
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Protocol:
        """The protocol again, as far as `describe` told of it.

        Raises:
            ConfigError, KeyError, TypeError: it is no such description.
        """
        known = {key: description[key] for key in ("name", "scene_topk", "sets")}
        return cls(**known).without(description["absent"])


def harmonic_mean(values: Iterable[Number]) -> Number:
    """The number of values over the sum of their inverses; 0 if one is 0.

    Raises:
        ValueError: there is no value.
    """
    stacked = np.array([*values], dtype=np.float64)
    if not len(stacked):
        raise ValueError("no number has no harmonic mean")
    with np.errstate(divide="ignore"):
        means = len(stacked) / (1 / stacked).sum(0)
    mean: Any = means if means.ndim else float(means)
    return mean


def _mean(values: Iterable[Number]) -> Number:
    """The mean, also of R values each."""
    numbers: list[Any] = [*values]
    return sum(numbers[1:], start=numbers[0]) / len(numbers)


def _tasks_of(metric: str) -> set[Task]:
    """Which tasks a metric is about; the scene bias is a matter of actions."""
    if metric.startswith("scene_top"):
        return {"scene"}
    actions = ("action_top", "scene_bias", "wrong_pair")
    return {"action"} if metric.startswith(actions) else {"action", "scene"}


def _eval_sets(settings: Mapping[str, Mapping[str, Any]]) -> tuple[EvalSet, ...]:
    """The sets of a configuration; a set that is `null` there has been dropped."""
    sets = []
    for name, values in settings.items():
        if values is None:
            continue
        try:
            sets.append(EvalSet(name, **values))
        except TypeError as error:
            raise ConfigError(f"protocol: {name}: {error}") from error
    return tuple(sets)
