"""Background Erasing: a second view of every clip, with one of its frames added to all.

Wang et al., "Removing the Background by Adding the Background", CVPR 2021. A static frame changes
what stands still and leaves motion as it is, so representations that agree on both views tell
what moves.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from devias.augment.base import BatchAugmentation
from devias.structures import ClipBatch, Requirement


class BackgroundErasing(BatchAugmentation):
    """Adds the second view x' = (1 − λ)·x + λ·f, f a random frame of x, λ ~ U(0, γ).

    Both are drawn for every clip. The loss term `Consistency` compares the predictions.

    Args:
        max_share: γ.
    """

    provides = frozenset({Requirement.SECOND_VIEW})

    def __init__(self, max_share: float = 0.3) -> None:
        if not 0 < max_share <= 1:
            raise ValueError(f"max_share is a share of the static frame in (0, 1], not {max_share}")
        self.max_share = max_share

    def __call__(self, batch: ClipBatch, generator: torch.Generator | None = None) -> ClipBatch:
        """Set `second_view` of a batch whose `video` is floating point.

        `generator`, if given, lives on the batch's device.
        """
        video = batch.video
        clips, frames, device = len(video), video.shape[2], video.device
        chosen = torch.randint(frames, (clips,), device=device, generator=generator)
        share = self.max_share * torch.rand(clips, device=device, generator=generator)
        static = video[torch.arange(clips, device=device), :, chosen].unsqueeze(2)
        share = share.to(video.dtype).view(-1, 1, 1, 1, 1)
        return replace(batch, second_view=torch.lerp(video, static, share))
