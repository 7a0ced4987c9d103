"""Scores of masks worked out by hand."""

import pytest
import torch

from devias.masks.base import MaskExtractor
from devias.masks.ground_truth import GroundTruthMasks
from devias.masks.quality import mask_quality, measure
from devias.structures import ClipBatch
from sync_guard import no_host_sync


def test_scores_by_hand():
    mask = torch.tensor([[1.0, 0.6, 0.4], [0.0, 0.5, 0.0]])
    truth = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    scores = mask_quality(mask, truth)
    # Marked are 3 pixels, the actor has 3, 2 are both, 4 either.
    assert scores["precision"].item() == pytest.approx(2 / 3)
    assert scores["recall"].item() == pytest.approx(2 / 3)
    assert scores["iou"].item() == pytest.approx(2 / 4)
    # Minima 1 + 0 + .4 + .5, maxima 1 + .6 + 1 + 1.
    assert scores["soft_iou"].item() == pytest.approx(1.9 / 3.6)


def test_every_mask_is_scored_on_its_own():
    masks, truth = torch.rand(2, 3, 5, 7), (torch.rand(2, 3, 5, 7) > 0.5).float()
    scores = mask_quality(masks, truth)
    assert all(values.shape == (2, 3) for values in scores.values())
    one = mask_quality(masks[1, 2], truth[1, 2])
    for name, values in scores.items():
        assert values[1, 2] == one[name]


def test_empty_masks():
    empty, full = torch.zeros(4, 4), torch.ones(4, 4)
    assert {name: float(v) for name, v in mask_quality(empty, empty).items()} == {
        "precision": 1, "recall": 1, "iou": 1, "soft_iou": 1,
    }  # fmt: skip
    for masks, truth in ((empty, full), (full, empty)):
        assert all(value == 0 for value in mask_quality(masks, truth).values())


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\[2, 4\] and truth \[1, 2, 4\] differ"):
        mask_quality(torch.rand(2, 4), torch.rand(1, 2, 4))


def test_no_host_sync():
    with no_host_sync():
        mask_quality(torch.rand(2, 4, 4), torch.rand(2, 4, 4))


def batches():
    generator = torch.Generator().manual_seed(0)
    for size in (3, 2):
        truth = torch.rand(size, 4, 6, 5, generator=generator) > 0.6
        labels = torch.zeros(size, dtype=torch.long)
        video = torch.randint(0, 256, (size, 3, 4, 6, 5), dtype=torch.uint8, generator=generator)
        yield ClipBatch(video, labels, labels, labels, ground_truth_masks=truth)


def test_the_truth_measures_as_perfect():
    quality = measure(GroundTruthMasks(), batches())
    assert set(quality.clip.values()) == set(quality.frame.values()) == {1.0}
    assert quality.clip_masks.shape == (5, 6, 5)
    assert quality.frame_masks.shape == (5, 2, 6, 5)


def test_an_extractor_sees_clips_in_0_to_1_and_is_scored_over_all_batches():
    class RightHalf(MaskExtractor):
        def __call__(self, video):
            assert 0.9 < video.max() <= 1
            mask = torch.zeros(len(video), 4, *video.shape[3:])
            mask[..., 3:] = 1
            return mask[:, 0], mask

    quality = measure(RightHalf(), batches())
    truth = torch.cat([batch.ground_truth_masks for batch in batches()])
    # 12 of a frame's 30 pixels are marked; one frame mask a frame, so the truth is each frame's.
    inside = truth[..., 3:].sum((2, 3)) / 12
    assert quality.share == pytest.approx(12 / 30)
    assert quality.frame["precision"] == pytest.approx(inside.mean().item())
    assert quality.milliseconds > 0
