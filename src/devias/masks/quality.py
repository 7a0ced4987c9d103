"""How well masks cover the actor's true silhouette."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from devias.masks.base import MaskExtractor
from devias.masks.ground_truth import GroundTruthMasks
from devias.structures import ClipBatch

THRESHOLD = 0.5
"""From here on a pixel counts as foreground, in masks and truth alike."""


def mask_quality(masks: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Compare masks `[…, H, W]` in [0, 1] with the truth, of the same shape, one by one.

    Returns:
        `precision`, `recall` and `iou` of the masks made binary, and `soft_iou`, the sum of the
        pixelwise minima over that of the maxima; `[…]` each. Where there is nothing to divide by
        a score is 0, except that an empty mask of an empty truth scores 1.

    Raises:
        ValueError: The shapes differ.
    """
    if masks.shape != truth.shape:
        raise ValueError(f"masks {list(masks.shape)} and truth {list(truth.shape)} differ in shape")
    masks, truth = masks.float().flatten(-2), truth.float().flatten(-2)
    smaller, larger = torch.minimum(masks, truth).sum(-1), torch.maximum(masks, truth).sum(-1)
    marked, actor = masks >= THRESHOLD, truth >= THRESHOLD
    both, either = (marked & actor).sum(-1), (marked | actor).sum(-1)
    return {
        "precision": _share(both, marked.sum(-1), either),
        "recall": _share(both, actor.sum(-1), either),
        "iou": _share(both, either, either),
        "soft_iou": _share(smaller, larger, larger),
    }


def _share(part: Tensor, whole: Tensor, either: Tensor) -> Tensor:
    """Part of the whole; 0 of nothing is 0, and 1 where there is nothing on either side."""
    share = part / torch.where(whole > 0, whole, 1)
    return torch.where(either > 0, share, 1.0)


@dataclass
class Quality:
    """What one extractor did on a set of clips."""

    clip: dict[str, float]
    """Mean scores of the clip masks; none where the truth is not known."""
    frame: dict[str, float]
    """Mean scores of the frame masks; likewise."""
    share: float
    """Mean share of foreground in the frame masks."""
    milliseconds: float
    """Median time a clip."""
    clip_masks: Tensor
    """`[N, H, W]`, for figures."""
    frame_masks: Tensor
    """`[N, T', H, W]`."""


@torch.no_grad()
def measure(extractor: MaskExtractor, batches: Iterable[ClipBatch]) -> Quality:
    """Run an extractor on `uint8` batches and compare where there are true masks.

    The truth of clip and frame masks is the mean of the true masks over the clip's and the
    tubelet's frames, as in `GroundTruthMasks`.
    """
    masks, truths, times = [], [], []
    for batch in batches:
        video = batch.video.float() / 255
        start = time.perf_counter()
        clip_mask, frame_masks = extractor.extract(replace(batch, video=video))
        if video.is_cuda:
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / len(video))
        masks.append((clip_mask, frame_masks))
        if batch.ground_truth_masks is not None:
            tubelet_size = video.shape[2] // frame_masks.shape[1]
            truths.append(GroundTruthMasks(tubelet_size)(batch.ground_truth_masks))
    clips, frames = map(torch.cat, zip(*masks, strict=True))
    clip_scores: dict[str, float] = {}
    frame_scores: dict[str, float] = {}
    if truths:
        clip_truth, frame_truth = map(torch.cat, zip(*truths, strict=True))
        clip_scores = _means(mask_quality(clips, clip_truth))
        frame_scores = _means(mask_quality(frames, frame_truth))
    return Quality(
        clip=clip_scores,
        frame=frame_scores,
        share=float(frames.mean()),
        milliseconds=1e3 * float(torch.tensor(times).median()),
        clip_masks=clips.cpu(),
        frame_masks=frames.cpu(),
    )


def _means(scores: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(values.float().mean()) for name, values in scores.items()}
