"""Pixel prediction: the ablation of L_AMD that decodes colors instead of a mask."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from devias.losses.base import pool_masks
from devias.losses.decoding import Decoding, Slots
from devias.structures import ClipBatch, SlotPrediction


class PixelPrediction(Decoding):
    """Mean squared error of the colors decoded from the action slot with the actor's.

    These are the normalized clip's mean over time, 0 (the mean color) outside of H̃, averaged
    over each patch.

    Args:
        slots: see `Decoding`.
    """

    def __init__(
        self, slots: Slots = "action", weight: float = 1.0, name: str = "pixel_prediction"
    ) -> None:
        super().__init__(slots, weight, name)

    def decoded(self, prediction: SlotPrediction) -> Tensor:
        """`[B, K, 3·h·w]` colors."""
        return self.require(prediction.pixels, "a model with a pixel decoder")

    def compare(
        self, decoded: Tensor, mask: Tensor, prediction: SlotPrediction, batch: ClipBatch
    ) -> Tensor:
        """The mean over clips, patches and channels."""
        image = batch.video.float().mean(2) * mask[:, None]
        return F.mse_loss(decoded.float(), pool_masks(image, prediction.grid[1:]))
