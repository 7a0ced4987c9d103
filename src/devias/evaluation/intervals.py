"""How far chance in the choice of videos reaches: 95 % intervals of the metrics of one result.

Shares of videos have Wilson's interval. Other means, means over sets and the harmonic mean are
bootstrapped: the videos of every set are drawn anew, with replacement, set by set.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from devias.evaluation.metrics import Values
from devias.evaluation.protocol import Protocol

Interval = tuple[float, float]
Videos = Mapping[str, Mapping[str, Values]]
"""`{set: {metric: [M]}}`, of every set what `video_metrics` returns."""
Name = TypeVar("Name", bound=Hashable)

LEVEL = 0.95
RESAMPLES = 2000
CHUNK = 2**22
"""Videos drawn at a time, over all resamples; bounds the memory."""


def intervals(
    protocol: Protocol, videos: Videos, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """The interval of every number of `protocol.summarize`.

    Args:
        protocol: of the sets.
        videos: what every video counts for.
        resamples: of the bootstrap.
        seed: of the draws; the same gives the same intervals.
    """
    rng = np.random.default_rng(seed)
    resampled = {name: resampled_means(values, rng, resamples) for name, values in videos.items()}
    found = {name: quantiles(values) for name, values in protocol.summarize(resampled).items()}
    for name, sets in _sets_of(protocol, videos).items():
        if len(sets) == 1:
            values = videos[sets[0]][name.rpartition("/")[2]]
            known = values[~np.isnan(values)]
            if np.isin(known, (0, 1)).all():
                found[name] = wilson(int(known.sum()), len(known))
    return found


def counts(protocol: Protocol, videos: Videos) -> dict[str, int]:
    """How many videos every number of `protocol.summarize` is about, but for those of all sets."""
    return {
        name: sum(int((~np.isnan(videos[s][name.rpartition("/")[2]])).sum()) for s in sets)
        for name, sets in _sets_of(protocol, videos).items()
    }


def _sets_of(protocol: Protocol, videos: Videos) -> dict[str, list[str]]:
    """The sets that the metrics of sets and the means over them are made of."""
    own = {f"{name}/{metric}": [name] for name, values in videos.items() for metric in values}
    means = protocol.groups(videos).items()
    return own | {name: [s for group in groups for s in group] for name, groups in means}


def wilson(hits: int, videos: int) -> Interval:
    """Wilson's interval of a share."""
    found = binomtest(hits, videos).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def resampled_means(
    values: Mapping[Name, Values], rng: np.random.Generator, resamples: int = RESAMPLES
) -> dict[Name, NDArray[np.float64]]:
    """The means of M videos drawn anew, with replacement, R times.

    All metrics are of the same videos in every draw.

    Args:
        values: `{metric: [M]}`; NaN for videos that a metric says nothing of.
        rng: draws the videos.
        resamples: R.

    Returns:
        `{metric: [R]}`; NaN where a metric says nothing of any video drawn.
    """
    if not values:
        return {}
    matrix = np.stack([*values.values()], axis=1)
    known = ~np.isnan(matrix)
    # Sums and numbers of videos are linear in how often each was drawn: one matrix product.
    table = np.concatenate([np.where(known, matrix, 0), known], axis=1)
    videos, rows = len(matrix), max(1, CHUNK // len(matrix))
    sums = []
    for start in range(0, resamples, rows):
        shape = (min(rows, resamples - start), videos)
        drawn = rng.integers(videos, size=shape) + videos * np.arange(shape[0])[:, None]
        times = np.bincount(drawn.reshape(-1), minlength=drawn.size).reshape(shape)
        sums.append(times.astype(np.float64) @ table)
    totals, numbers = np.split(np.concatenate(sums), 2, axis=1)
    with np.errstate(invalid="ignore"):
        means = totals / numbers
    return dict(zip(values, means.T, strict=True))


def quantiles(values: NDArray[np.float64]) -> Interval:
    """The middle 95 % of R bootstrapped values; those that are NaN count for nothing."""
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(values, (tail, 1 - tail))
    return float(low), float(high)
