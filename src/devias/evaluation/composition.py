"""Which pairs of action and scene training shows, and how often."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from devias.structures import UNKNOWN


class TrainingPairs:
    """How often training shows each pair of action and scene.

    Args:
        counts: `[N_A, N_S]` training videos of each pair.
    """

    def __init__(self, counts: NDArray[np.int64]) -> None:
        self.counts = counts

    @classmethod
    def count(
        cls, labels: Iterable[tuple[int, int]], num_actions: int, num_scenes: int
    ) -> TrainingPairs | None:
        """Count labels (action, scene); `None` if no video has both.

        Args:
            labels: of the training videos; those with a label that is unknown count for nothing.
            num_actions: N_A.
            num_scenes: N_S.
        """
        pairs = np.array([*labels], dtype=np.int64).reshape(-1, 2)
        counts = count_pairs(pairs[:, 0], pairs[:, 1], num_actions, num_scenes)
        return cls(counts) if counts.any() else None

    def shown(self, action: NDArray[np.int64], scene: NDArray[np.int64]) -> NDArray[np.int64]:
        """`[M]` how often each of M pairs is shown; 0 where a class is none of the counted."""
        size = self.counts.shape
        known = (action >= 0) & (action < size[0]) & (scene >= 0) & (scene < size[1])
        return np.where(known, self.counts[action * known, scene * known], 0)

    @cached_property
    def frequent_from(self) -> float:
        """More videos than this make a pair a frequent one: mean + one standard deviation.

        Both are taken over the pairs that training shows at all.
        """
        shown = self.counts[self.counts > 0]
        return float(shown.mean() + shown.std())

    @cached_property
    def usual_actions(self) -> list[int]:
        """`[N_S]` the action that each scene is shown with most; `UNKNOWN` where it never is."""
        usual = np.where(self.counts.any(0), self.counts.argmax(0), UNKNOWN)
        return usual.tolist()


@dataclass(frozen=True)
class Reference:
    """What the answers on a set of unseen combinations are held against."""

    usual_actions: Sequence[int] | None = None
    """`[N_S]` the action each scene goes with in training; `UNKNOWN` for none."""
    pairs: TrainingPairs | None = None


def count_pairs(
    rows: NDArray[np.int64], columns: NDArray[np.int64], num_rows: int, num_columns: int
) -> NDArray[np.int64]:
    """How often each row goes with each column.

    Args:
        rows: `[M]` in [0, num_rows); a pair with another value counts for nothing.
        columns: `[M]` in [0, num_columns); likewise.
        num_rows: R.
        num_columns: C.

    Returns:
        `[R, C]` counts.
    """
    known = (rows >= 0) & (rows < num_rows) & (columns >= 0) & (columns < num_columns)
    cells = rows[known] * num_columns + columns[known]
    return np.bincount(cells, minlength=num_rows * num_columns).reshape(num_rows, num_columns)
