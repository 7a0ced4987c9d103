"""What every augmentation of whole batches is."""

from __future__ import annotations

from collections.abc import Set

import torch

from devias.masks.base import MaskExtractor
from devias.structures import ClipBatch, Requirement


class BatchAugmentation:
    """Changes a training batch on the device, before it is normalized."""

    requires: Set[Requirement] = frozenset()
    provides: Set[Requirement] = frozenset()

    def connect(self, masks: MaskExtractor | None) -> None:
        """Take note, once, of what will make the masks of the batches."""

    def __call__(self, batch: ClipBatch, generator: torch.Generator | None = None) -> ClipBatch:
        """A new batch.

        Args:
            batch: holds what `requires` names; its `video` is floating point in [0, 1].
            generator: lives on the batch's device, if given.
        """
        raise NotImplementedError
