"""The data's own masks in the form of pseudo masks."""

from __future__ import annotations

from torch import Tensor

from devias.masks.base import MaskExtractor
from devias.structures import ClipBatch, Requirement


class GroundTruthMasks(MaskExtractor):
    """Averages ground-truth masks over the clip and over every tubelet.

    Args:
        tubelet_size: frames that share one frame mask.
    """

    requires = frozenset({Requirement.GROUND_TRUTH_MASKS})

    def __init__(self, tubelet_size: int = 2) -> None:
        self.tubelet_size = tubelet_size

    def extract(self, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        """Average those of the batch.

        Raises:
            ValueError: the data has none, or T is no multiple of the tubelet.
        """
        if batch.ground_truth_masks is None:
            raise ValueError("masks=ground_truth needs data with such masks; this data has none")
        return self(batch.ground_truth_masks)

    def __call__(self, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Bool `[B, T, H, W]` → clip masks `[B, H, W]`, frame masks `[B, T', H, W]` in [0, 1].

        Raises:
            ValueError: T is no multiple of the tubelet.
        """
        frames = masks.shape[1]
        if frames % self.tubelet_size:
            raise ValueError(f"{frames} frames do not divide into tubelets of {self.tubelet_size}")
        frame_masks = masks.float().unflatten(1, (-1, self.tubelet_size)).mean(2)
        return frame_masks.mean(1), frame_masks
