import math

import pytest
import torch

from devias.losses.actor_segmentation import ActorSegmentation
from devias.structures import ClipBatch, Roles, SlotPrediction


def prediction(logits=None) -> SlotPrediction:
    return SlotPrediction(
        torch.zeros(1, 1, 3), torch.zeros(1, 1, 2), 1, (1, 1, 1), segmentation_logits=logits
    )


def batch(masks=None) -> ClipBatch:
    zero = torch.zeros(1, dtype=torch.long)
    return ClipBatch(torch.zeros(1, 3, 2, 4, 4), zero, zero, zero, ground_truth_masks=masks)


ROLES = Roles(torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long))


def test_value_by_hand():
    logits = torch.zeros(1, 2, 2, 2)
    logits[0, 0, 0, 0] = math.log(3)  # probability 3/4
    masks = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    masks[0, 0, 0, :2] = True  # two of the four pixels of that cell
    # That cell: −½ ln ¾ − ½ ln ¼; each of the seven others: ln 2.
    expected = (-0.5 * math.log(0.75) - 0.5 * math.log(0.25) + 7 * math.log(2)) / 8
    value = ActorSegmentation()(prediction(logits), ROLES, batch(masks))
    assert value.item() == pytest.approx(expected)


def test_what_is_missing_is_named():
    masks = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match="actor_segmentation needs a model with a seg"):
        ActorSegmentation()(prediction(), ROLES, batch(masks))
    with pytest.raises(ValueError, match="actor_segmentation needs data with ground-truth masks"):
        ActorSegmentation()(prediction(torch.zeros(1, 2, 2, 2)), ROLES, batch())
