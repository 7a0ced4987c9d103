"""The columns of result tables."""

from __future__ import annotations

from dataclasses import dataclass, replace

CROSSED = ("A-S", "S-A")
"""What a slot tells of the other slot's label: the less the better."""


@dataclass(frozen=True)
class Column:
    """One metric as a column."""

    title: str
    metric: str
    higher_is_better: bool = True


def headline_columns(scene_topk: int = 1) -> tuple[Column, ...]:
    """Action and scene on seen and unseen combinations, H.M. and scene bias."""
    scene = "Scene" if scene_topk == 1 else f"Scene top-{scene_topk}"
    return (
        Column("Action seen", "seen/action_top1"),
        Column("Action unseen", "unseen/action_top1"),
        Column(f"{scene} seen", f"seen/scene_top{scene_topk}"),
        Column(f"{scene} unseen", f"unseen/scene_top{scene_topk}"),
        Column("H.M.", "harmonic_mean"),
        Column("Scene bias", "unseen/scene_bias", higher_is_better=False),
    )


def composition_columns(scene_topk: int = 1) -> tuple[Column, ...]:
    """How far answers follow the scene: all the lower the better."""
    names = {
        "Action gap": "gap/action_top1",
        "Scene gap": f"gap/scene_top{scene_topk}",
        "Scene bias": "unseen/scene_bias",
        "Errors: seen pair": "unseen/wrong_pair_seen",
        "Errors: frequent": "unseen/wrong_pair_frequent",
        "Slot collision": "unseen/slot_collision",
    }
    return tuple(Column(name, metric, higher_is_better=False) for name, metric in names.items())


def column_of(metric: str, title: str | None = None) -> Column:
    """The column of any metric, called as in the tables above or, unknown to them, as itself."""
    for topk in (1, 5):
        for column in (*headline_columns(topk), *composition_columns(topk)):
            if column.metric == metric:
                return replace(column, title=title or column.title)
    return Column(title or metric, metric, higher_is_better=metric not in CROSSED)


def arrow(column: Column) -> str:
    """Which way is better."""
    return "↑" if column.higher_is_better else "↓"
