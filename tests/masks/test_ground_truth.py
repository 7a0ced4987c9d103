"""True masks in the form of pseudo masks."""

import pytest
import torch

from devias.masks.ground_truth import GroundTruthMasks
from devias.structures import ClipBatch


def test_averages_over_tubelets_and_the_clip():
    truth = torch.zeros(1, 6, 3, 5, dtype=torch.bool)
    truth[0, 0, 1, 2] = truth[0, 1, 1, 2] = truth[0, 2, 1, 2] = True
    clip_mask, frame_masks = GroundTruthMasks()(truth)
    assert frame_masks[0, :, 1, 2].tolist() == [1, 0.5, 0]
    assert clip_mask[0, 1, 2] == 0.5
    assert clip_mask.sum() == 0.5
    assert GroundTruthMasks(tubelet_size=3)(truth)[1].shape == (1, 2, 3, 5)


def test_what_it_refuses():
    labels = torch.zeros(1, dtype=torch.long)
    without = ClipBatch(torch.zeros(1, 3, 4, 3, 3), labels, labels, labels)
    with pytest.raises(ValueError, match="this data has none"):
        GroundTruthMasks().extract(without)
    with pytest.raises(ValueError, match="5 frames do not divide into tubelets of 2"):
        GroundTruthMasks()(torch.zeros(1, 5, 3, 3, dtype=torch.bool))
