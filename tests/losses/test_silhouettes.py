import math

import pytest
import torch

from devias.losses.silhouettes import Silhouettes
from devias.structures import ClipBatch, Roles, SlotPrediction


def prediction(silhouettes=None) -> SlotPrediction:
    return SlotPrediction(
        torch.zeros(1, 1, 3), torch.zeros(1, 1, 2), 1, (1, 1, 1), silhouette_logits=silhouettes
    )


def batch(masks=None) -> ClipBatch:
    zero = torch.zeros(1, dtype=torch.long)
    return ClipBatch(torch.zeros(1, 3, 2, 4, 4), zero, zero, zero, true_masks=masks)


ROLES = Roles(torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long))


def test_value_by_hand():
    logits = torch.zeros(1, 2, 2, 2)
    logits[0, 0, 0, 0] = math.log(3)  # probability 3/4
    masks = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    masks[0, 0, 0, :2] = True  # two of the four pixels of that cell
    # That cell: −½ ln ¾ − ½ ln ¼; each of the seven others: ln 2.
    expected = (-0.5 * math.log(0.75) - 0.5 * math.log(0.25) + 7 * math.log(2)) / 8
    value = Silhouettes()(prediction(logits), ROLES, batch(masks))
    assert value.item() == pytest.approx(expected)


def test_what_is_missing_is_named():
    masks = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match="silhouettes needs a model with a silhouette decoder"):
        Silhouettes()(prediction(), ROLES, batch(masks))
    with pytest.raises(ValueError, match="silhouettes needs data with true masks"):
        Silhouettes()(prediction(torch.zeros(1, 2, 2, 2)), ROLES, batch())
