"""Which videos a rank sees in an epoch, and with which random seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler, SequentialSampler

from devias.data.dataset import SampleKey
from devias.errors import ConfigError, DeviasError


class ResumeError(DeviasError, ValueError):
    """Training cannot go on from a checkpoint in the way that is wanted; says why."""


class TrainSampler(Sampler[SampleKey]):
    """A new order every epoch, the same on every rank; each rank takes its own share.

    Order and sample seeds follow from `(seed, epoch, index)` alone, so a resumed run sees what
    the uninterrupted one would have seen. All ranks draw equally many samples: the last
    `length % world_size` of an epoch's order are left for other epochs.
    """

    def __init__(self, length: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        if length < world_size:
            raise ConfigError(f"{length} training videos cannot be shared by {world_size} ranks")
        self.length, self.seed, self.rank, self.world_size = length, seed, rank, world_size
        self.epoch = 0
        self._resumed = (0, 0)

    def resume(self, epoch: int, drawn: int) -> None:
        """Go on with an epoch of which every rank drew `drawn` samples before it was interrupted.

        `len` stays that of whole epochs, and the epochs that follow are whole.
        """
        self.epoch = epoch
        self._resumed = epoch, drawn

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length // self.world_size

    def __iter__(self) -> Iterator[SampleKey]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length)
        own = order[: len(self) * self.world_size][self.rank :: self.world_size]
        seeds = np.random.default_rng((self.seed, self.epoch, 1)).integers(2**62, size=self.length)
        epoch, drawn = self._resumed
        for index in own[drawn if epoch == self.epoch else 0 :]:
            yield SampleKey(int(index), int(seeds[index]))


class EvalSampler(Sampler[SampleKey]):
    """Every video exactly once over all ranks: nothing is padded, nothing is seen twice."""

    def __init__(self, length: int, rank: int = 0, world_size: int = 1) -> None:
        self.own = range(rank, length, world_size)

    def __len__(self) -> int:
        return len(self.own)

    def __iter__(self) -> Iterator[SampleKey]:
        return (SampleKey(index) for index in self.own)


class FixedSampler(SequentialSampler):
    """The same samples every epoch, for `trainer.overfit_batches`.

    Lightning puts a sampler of bare indices in the place of any that is not sequential.
    """

    def __init__(self, keys: Sequence[SampleKey]) -> None:
        super().__init__(keys)
        self.keys = keys

    def __iter__(self) -> Iterator[SampleKey]:  # type: ignore[override]
        return iter(self.keys)
