"""Two models on the same videos: which of them is right where the other is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from devias.evaluation.intervals import (
    RESAMPLES,
    Interval,
    Videos,
    quantiles,
    resampled_means,
)
from devias.evaluation.metrics import Values, mean_metrics
from devias.evaluation.protocol import Protocol


@dataclass(frozen=True)
class McNemar:
    """The exact test of whether two models are right equally often."""

    videos: int
    """That both were asked."""
    first_only: int
    """Which the first alone answers rightly."""
    second_only: int
    p: float
    """The probability of discordant videos so unevenly shared, were the models equally good."""


def mcnemar(first: Values, second: Values) -> McNemar:
    """Compare hits `[M]` (1, 0, or NaN) of two models on the same M videos."""
    known = ~(np.isnan(first) | np.isnan(second))
    a, b = int((first > second)[known].sum()), int((second > first)[known].sum())
    p = float(binomtest(a, a + b).pvalue) if a + b else 1.0
    return McNemar(int(known.sum()), a, b, p)


def difference(
    protocol: Protocol,
    first: Videos,
    second: Videos,
    metric: str = "harmonic_mean",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, Interval] | None:
    """How much more the second model has of a number of `protocol.summarize`, and its interval.

    Bootstrapped over the videos of every set, the same ones of both models in every draw.

    Args:
        protocol: of the sets.
        first: what every video counts for with one model.
        second: of the same videos with the other.
        metric: a name in the summary.
        resamples: of the bootstrap.
        seed: of the draws.

    Returns:
        `None` if one of them has no such number.
    """
    rng = np.random.default_rng(seed)
    drawn: tuple[dict[str, dict[str, Values]], ...] = ({}, {})
    for name in first:
        both = {
            (i, m): v for i, videos in enumerate((first, second)) for m, v in videos[name].items()
        }
        for i in (0, 1):
            drawn[i][name] = {}
        for (i, m), values in resampled_means(both, rng, resamples).items():
            drawn[i][name][m] = values
    means = [
        protocol.summarize({name: mean_metrics(values) for name, values in videos.items()})
        for videos in (first, second)
    ]
    if any(metric not in summary for summary in means):
        return None
    resampled = [protocol.summarize(values)[metric] for values in drawn]
    return means[1][metric] - means[0][metric], quantiles(resampled[1] - resampled[0])
