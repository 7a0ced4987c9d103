"""The paper's protocol: seen and unseen combinations, and one headline number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, harmonic_mean

__all__ = ["harmonic_mean", "summarize"]


def summarize(
    per_split: Mapping[str, Mapping[str, float]],
    seen: str,
    unseen: Sequence[str] = (),
    scene_topk: int = 1,
) -> dict[str, float]:
    """Gather the metrics of all splits into one flat dict.

    Every metric stands as `<split>/<metric>`. `seen/<metric>` repeats the seen split;
    `unseen/<metric>` is the unweighted mean over those unseen splits that have the metric (the
    paper's SCUBA sets have actions only, HAT scenes only). `harmonic_mean` is that of the paper's
    four numbers, seen and unseen action top-1 and seen and unseen scene top-`scene_topk` (5; for
    HVU 1), and is there only if all four are.

    Args:
        per_split: `{split: {metric: fraction}}`.
        seen: The split of combinations seen in training.
        unseen: The splits of unseen combinations.
        scene_topk: 1 or 5.

    Raises:
        ValueError: `seen` or `unseen` names a split that `per_split` lacks.
    """
    if missing := [split for split in (seen, *unseen) if split not in per_split]:
        raise ValueError(f"no metrics for the split {missing[0]!r}; there are {[*per_split]}")

    summary = {
        f"{split}/{name}": value
        for split, metrics in per_split.items()
        for name, value in metrics.items()
    }
    summary |= {f"seen/{name}": value for name, value in per_split[seen].items()}
    for name in dict.fromkeys(name for split in unseen for name in per_split[split]):
        summary[f"unseen/{name}"] = fmean(
            per_split[split][name] for split in unseen if name in per_split[split]
        )

    headline = [
        f"{split}/{metric}"
        for split in ("seen", "unseen")
        for metric in ("action_top1", f"scene_top{scene_topk}")
    ]
    if all(name in summary for name in headline):
        summary["harmonic_mean"] = harmonic_mean([summary[name] for name in headline])
    return summary
