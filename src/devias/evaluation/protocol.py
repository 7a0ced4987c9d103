"""What a model is judged by: evaluation sets, views, and the numbers made of them.

A protocol combines datasets, and is the one place that knows which combinations of action and
scene count as seen or unseen. Module, metrics, result files, figures and tables take it whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from statistics import fmean, harmonic_mean
from typing import Any, Literal, get_args

from devias.errors import ConfigError
from devias.evaluation.views import ActionSpace

Task = Literal["action", "scene"]
Combination = Literal["seen", "unseen"]


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

    def __post_init__(self) -> None:
        for key, kind in (("combination", Combination), ("tasks", Task)):
            value = getattr(self, key)
            values = [] if value is None else [value] if isinstance(value, str) else value
            if unknown := [item for item in values if item not in get_args(kind)]:
                raise ConfigError(
                    f"protocol: {self.name}.{key} must be of {', '.join(get_args(kind))}, "
                    f"not {unknown[0]!r}"
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
    ) -> None:
        self.name = name
        self.sets = _eval_sets(sets)
        self.validation = _eval_sets(validation or {})
        self.num_clips, self.num_crops = num_clips, num_crops
        self.scene_topk: int = scene_topk
        self.action_space: ActionSpace = action_space
        self.absent: dict[str, str] = {}
        """Sets that cannot be read on this machine, and why."""
        self._absent_sets: tuple[EvalSet, ...] = ()
        if twice := {s.name for s in self.sets} & {s.name for s in self.validation}:
            raise ConfigError(f"protocol: {min(twice)!r} is both a test and a validation set")
        if scene_topk not in (1, 5):
            raise ConfigError(f"protocol.scene_topk is 1 or 5, not {scene_topk}")
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

    def summarize(self, per_set: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Gather the metrics of all test sets into one flat dict.

        Every metric stands as `<set>/<metric>`. `seen/<metric>` and `unseen/<metric>` are the means
        over the sets of that combination, those of a group counted as one. `harmonic_mean` is
        that of the paper's four numbers, seen and unseen action top-1 and seen and unseen scene
        top-`scene_topk`. A mean some of whose sets are absent is left out: it would be another
        number than the protocol's.

        Args:
            per_set: `{set: {metric: fraction}}`.

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
        for combination in get_args(Combination):
            summary |= self._means(combination, per_set)
        numbers = [f"{c}/{metric}" for c in get_args(Combination) for metric in self.headline]
        if all(number in summary for number in numbers):
            summary["harmonic_mean"] = harmonic_mean([summary[number] for number in numbers])
        return summary

    def _means(
        self, combination: Combination, per_set: Mapping[str, Mapping[str, float]]
    ) -> dict[str, float]:
        """`<combination>/<metric>` of the metrics that its sets have."""
        sets = [s for s in self.sets if s.combination == combination]
        incomplete = {
            task for s in self._absent_sets if s.combination == combination for task in s.tasks
        }
        means = {}
        for metric in dict.fromkeys(metric for s in sets for metric in per_set[s.name]):
            if incomplete & _tasks_of(metric):
                continue
            groups: dict[str, list[float]] = {}
            for s in sets:
                if metric in per_set[s.name]:
                    groups.setdefault(s.group or s.name, []).append(per_set[s.name][metric])
            means[f"{combination}/{metric}"] = fmean(fmean(group) for group in groups.values())
        return means


def _tasks_of(metric: str) -> set[Task]:
    """Which tasks a metric is about; the scene bias is a matter of actions."""
    if metric.startswith("scene_top"):
        return {"scene"}
    return {"action"} if metric.startswith(("action_top", "scene_bias")) else {"action", "scene"}


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
