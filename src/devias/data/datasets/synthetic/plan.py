"""Which clip shows which action in which scene: families, splits, settings.

Every benchmark action a has one *home* scene and one *rare* scene; training shows it nowhere else,
but for an oracle's.
Scenes are taken at an offset from the action, so that every scene is home to one action, rare
for one, and every split's pairs cover all actions and all scenes alike:

=============  =======================  =================================================
offset         pairs of                 split
=============  =======================  =================================================
0 and 1        home, rare scene         `train`, `val_seen`, `test_seen`
2 and 3        unseen in training       `val_unseen`
4 … 7          unseen, chosen apart     `test_unseen`
–              every scene, no actor    `scene_only`
=============  =======================  =================================================

The pretraining family has other actions and other scenes, drawn independently of each other.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from devias.data.datasets.synthetic.motions import BENCHMARK_ACTIONS, PRETRAIN_ACTIONS, Motion
from devias.data.datasets.synthetic.scenes import BENCHMARK_SCENES, Scene
from devias.data.datasets.synthetic.scenes_pretrain import PRETRAIN_SCENES
from devias.structures import UNKNOWN

VERSION = 2
"""Raised whenever the same settings draw other clips, so that older data sets are not reused."""

NO_ACTOR = "no_actor"
"""The folder of clips without an actor."""
VAL_OFFSETS = (2, 3)
TEST_OFFSETS = (4, 5, 6, 7)


@dataclass(frozen=True)
class Family:
    """A registry of classes, and the splits drawn from it."""

    actions: Mapping[str, Motion]
    scenes: Mapping[str, Scene]
    clips: Mapping[str, int]
    """Split → default number of clips."""


FAMILIES = {
    "benchmark": Family(
        BENCHMARK_ACTIONS,
        BENCHMARK_SCENES,
        {
            "train": 1600,
            "val_seen": 320,
            "val_unseen": 480,
            "test_seen": 640,
            "test_unseen": 1024,
            "scene_only": 320,
        },
    ),
    "pretrain": Family(PRETRAIN_ACTIONS, PRETRAIN_SCENES, {"train": 4000, "val": 400}),
}


@dataclass(frozen=True)
class SyntheticSettings:
    """Everything that decides what a synthetic data set holds.

    Args:
        seed: of every random choice.
        family: `benchmark`, or `pretrain` for other actions on other scenes.
        correlation: share of training clips in which an action appears in its home scene; the
            rest show its rare scene. Without effect on `pretrain`.
        oracle: training shows every action in all scenes alike; what is tested stays the same. A
            ceiling: what a model of this size learns of as many clips where scenes tell nothing.
        clips: split → number of clips, for the splits that shall differ from the default.

    Raises `ValueError` for an unknown family or split, a share outside [0, 1], a negative count.
    """

    seed: int = 0
    family: str = "benchmark"
    correlation: float = 0.95
    oracle: bool = False
    clips: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"family must be one of {list(FAMILIES)}, not {self.family!r}")
        if not 0 <= self.correlation <= 1:
            raise ValueError(f"correlation must be in [0, 1], not {self.correlation}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, not {self.seed}")
        defaults = FAMILIES[self.family].clips
        if unknown := set(self.clips) - set(defaults):
            raise ValueError(
                f"family {self.family!r} has the splits {list(defaults)}, not {sorted(unknown)}"
            )
        clips = {split: int(self.clips.get(split, count)) for split, count in defaults.items()}
        if min(clips.values()) < 0:
            raise ValueError(f"numbers of clips must not be negative: {clips}")
        object.__setattr__(self, "clips", clips)

    def manifest(self) -> dict[str, object]:
        """The settings and the generator's version as plain values; no oracle is none."""
        return {
            "version": VERSION,
            "seed": self.seed,
            "family": self.family,
            "correlation": float(self.correlation),
            "clips": dict(self.clips),
            **({"oracle": True} if self.oracle else {}),
        }

    @property
    def folder_name(self) -> str:
        """`synthetic-<family>-<hash>`, other for every other manifest."""
        text = json.dumps(self.manifest(), sort_keys=True)
        return f"synthetic-{self.family}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


@dataclass(frozen=True)
class ClipPlan:
    """One clip to draw."""

    name: str
    """`waving/v_waving_g01_c001`: class folder, group (one a split), number within both."""
    action: int
    """`UNKNOWN` where there is no actor."""
    scene: int
    seed: tuple[int, ...]


def scene_at(action: int, offset: int, num_scenes: int) -> int:
    """The scene at an offset from an action: 0 its home, 1 its rare scene, others unseen."""
    return (action + offset) % num_scenes


def plan_split(settings: SyntheticSettings, split: str) -> list[ClipPlan]:
    """The clips of a split in the order of its annotation file.

    Clip i of a split is the same whatever the number of clips; classes take turns.
    """
    family = FAMILIES[settings.family]
    group = list(family.clips).index(split) + 1
    names = [*family.actions, NO_ACTOR]
    counters: dict[int, int] = {}
    plans = []
    for index in range(settings.clips[split]):
        # A checksum of the split's name keeps the streams of splits and families apart.
        seed = (settings.seed, zlib.crc32(f"{settings.family}/{split}".encode()), index)
        action, scene = _labels(settings, split, index, np.random.default_rng(seed))
        number = counters[action] = counters.get(action, 0) + 1
        name = names[action]
        path = f"{name}/v_{name}_g{group:02d}_c{number:03d}"
        plans.append(ClipPlan(path, action, scene, seed))
    return plans


def _labels(
    settings: SyntheticSettings, split: str, index: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Action and scene of clip `index` of a split."""
    family = FAMILIES[settings.family]
    num_actions, num_scenes = len(family.actions), len(family.scenes)
    action, turn = index % num_actions, index // num_actions
    if settings.family == "pretrain":
        return action, int(rng.integers(num_scenes))
    if split == "scene_only":
        return UNKNOWN, index % num_scenes
    if split == "train" and settings.oracle:
        return action, int(rng.integers(num_scenes))
    if split == "val_unseen":
        offset = VAL_OFFSETS[turn % len(VAL_OFFSETS)]
    elif split == "test_unseen":
        offset = TEST_OFFSETS[turn % len(TEST_OFFSETS)]
    else:
        offset = 0 if rng.uniform() < settings.correlation else 1
    return action, scene_at(action, offset, num_scenes)
