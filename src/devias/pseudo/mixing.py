"""FAME's background mixing: one clip's actor before another clip's background."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor

from devias.structures import ClipBatch

MaskKind = Literal["clip", "frame"]


class BackgroundMixing:
    """Paste the foreground of each clip on the background of another clip of the batch.

    The backgrounds come from a random permutation of the batch; each clip is mixed with
    probability `prob_aug`, on its own. A mixed clip takes the scene of its background and keeps its
    action and masks. The released code also reorders the batch, which changes nothing here.

    Args:
        prob_aug: probability that a clip is mixed.
        masks: cut out by the `clip` mask (FAME), or by the `frame` mask of each tubelet, which
            suits masks whose average over the clip is not crisp (SegFormer, true masks).
    """

    def __init__(self, prob_aug: float = 0.5, masks: MaskKind = "clip") -> None:
        if not 0 <= prob_aug <= 1:
            raise ValueError(f"prob_aug is a probability, not {prob_aug}")
        if masks not in get_args(MaskKind):
            raise ValueError(f"masks must be clip or frame, not {masks!r}")
        self.prob_aug = prob_aug
        self.masks = masks

    def __call__(self, batch: ClipBatch, generator: torch.Generator | None = None) -> ClipBatch:
        """Mix a batch of one view a video whose `video` is floating point.

        `generator`, if given, lives on the batch's device. Raises `ValueError` without masks or
        with several views.
        """
        if batch.num_views != 1:
            raise ValueError(f"mixing is for training on one view, not {batch.num_views}")
        video, clips = batch.video, len(batch)
        background = torch.randperm(clips, device=video.device, generator=generator)
        draw = torch.rand(clips, device=video.device, generator=generator)
        mixed = draw < self.prob_aug
        foreground = self._foreground(batch).where(mixed.view(-1, 1, 1, 1, 1), 1.0)

        logits = batch.scene_logits
        if logits is not None:
            logits = torch.where(mixed[:, None], logits[background], logits)
        return replace(
            batch,
            video=torch.lerp(video[background], video, foreground.to(video.dtype)),
            scene=torch.where(mixed, batch.scene[background], batch.scene),
            scene_logits=logits,
        )

    def _foreground(self, batch: ClipBatch) -> Tensor:
        """The masks to cut out by, `[B, 1, 1 or T, H, W]`."""
        masks = batch.clip_mask if self.masks == "clip" else batch.frame_masks
        if masks is None:
            raise ValueError(f"mixing needs {self.masks} masks: choose a mask extractor")
        if self.masks == "clip":
            return masks[:, None, None]
        return masks.repeat_interleave(batch.video.shape[2] // masks.shape[1], dim=1)[:, None]
