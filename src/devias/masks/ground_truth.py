"""The data's own masks in the form of pseudo masks."""

from __future__ import annotations

from torch import Tensor


class GroundTruthMasks:
    """Averages true silhouettes over the clip and over every tubelet.

    Args:
        tubelet_size: frames that share one frame mask.
    """

    def __init__(self, tubelet_size: int = 2) -> None:
        self.tubelet_size = tubelet_size

    def __call__(self, ground_truth_masks: Tensor | None) -> tuple[Tensor, Tensor]:
        """Bool `[B, T, H, W]` → clip masks `[B, H, W]`, frame masks `[B, T', H, W]` in [0, 1].

        Raises `ValueError` where the data has no true masks or T is no multiple of the tubelet.
        """
        if ground_truth_masks is None:
            raise ValueError("masks=true needs data with true masks; this data has none")
        frames = ground_truth_masks.shape[1]
        if frames % self.tubelet_size:
            raise ValueError(f"{frames} frames do not divide into tubelets of {self.tubelet_size}")
        frame_masks = ground_truth_masks.float().unflatten(1, (-1, self.tubelet_size)).mean(2)
        return frame_masks.mean(1), frame_masks
