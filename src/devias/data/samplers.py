"""Which videos a rank sees in an epoch, and with which random seeds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from devias.data.dataset import SampleKey


class TrainSampler(Sampler[SampleKey]):
    """A new order every epoch, the same on every rank; each rank takes its own share.

    Order and sample seeds follow from `(seed, epoch, index)` alone, so a resumed run sees what
    the uninterrupted one would have seen. All ranks draw equally many samples: the last
    `length % world_size` of an epoch's order are left for other epochs.
    """

    def __init__(self, length: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        if length < world_size:
            raise ValueError(f"{length} training videos cannot be shared by {world_size} ranks")
        self.length, self.seed, self.rank, self.world_size = length, seed, rank, world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length // self.world_size

    def __iter__(self) -> Iterator[SampleKey]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length)
        own = order[: len(self) * self.world_size][self.rank :: self.world_size]
        seeds = np.random.default_rng((self.seed, self.epoch, 1)).integers(2**62, size=self.length)
        for index in own:
            yield SampleKey(int(index), int(seeds[index]))


class EvalSampler(Sampler[SampleKey]):
    """Every video exactly once over all ranks: nothing is padded, nothing is seen twice."""

    def __init__(self, length: int, rank: int = 0, world_size: int = 1) -> None:
        self.own = range(rank, length, world_size)

    def __len__(self) -> int:
        return len(self.own)

    def __iter__(self) -> Iterator[SampleKey]:
        return (SampleKey(index) for index in self.own)
