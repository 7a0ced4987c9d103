"""What every extractor of human masks is."""

from __future__ import annotations

from collections.abc import Set
from typing import Literal

from torch import Tensor

from devias.structures import ClipBatch, Requirement

MaskKind = Literal["clip", "frame"]
"""One mask for the whole clip, or one for each of its tubelets."""


class MaskExtractor:
    """Makes human masks of clips, on the device and without gradient."""

    tubelet_size: int
    """Frames that share one frame mask; T' = T / tubelet_size."""
    cut_out: MaskKind = "frame"
    """Which masks are crisp enough to cut the actor out by."""
    requires: Set[Requirement] = frozenset()

    def __call__(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Clips `[B, 3, T, H, W]` in [0, 1] → clip `[B, H, W]` and frame `[B, T', H, W]` masks."""
        raise NotImplementedError

    def extract(self, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        """The masks of a batch whose `video` is floating point in [0, 1]."""
        return self(batch.video)
