"""What is decoded from which slot, against values worked out by hand."""

import math

import pytest
import torch

from devias.losses import MaskPrediction, PixelPrediction
from devias.structures import ClipBatch, Roles, SlotPrediction

LN2 = math.log(2)
ROLES = Roles(action=torch.tensor([1]), scene=torch.tensor([0]))


def batch_of(video, mask):
    labels = torch.zeros(1, dtype=torch.long)
    return ClipBatch(video, labels, labels, labels, clip_mask=mask)


def prediction_of(**decoded):
    slots = torch.zeros(1, 2, 1)
    return SlotPrediction(slots, torch.zeros(1, 2, 2), 1, (1, 1, 2), **decoded)


@pytest.mark.parametrize(
    ("slots", "expected"),
    [
        # H̃ is 1 and 0; the action slot (1) says ½ and ½, the scene slot (0), of 1 − H̃, ¼ and ¼.
        ("action", LN2),
        ("scene", -(math.log(3 / 4) + math.log(1 / 4)) / 2),
        ("both", LN2 - (math.log(3 / 4) + math.log(1 / 4)) / 2),
    ],
)
def test_masks_of_the_action_the_scene_or_both(slots, expected):
    probability = torch.tensor([[[0.25, 0.25], [0.5, 0.5]]])
    batch = batch_of(torch.zeros(1, 3, 2, 2, 4), torch.tensor([[[1.0, 1, 0, 0]] * 2]))
    loss = MaskPrediction(slots=slots)(prediction_of(mask_logits=probability.logit()), ROLES, batch)
    assert loss.item() == pytest.approx(expected)


def test_the_scene_mask_is_what_the_actor_leaves():
    perfect = torch.tensor([[[-30.0, 30.0], [30.0, -30.0]]])
    batch = batch_of(torch.zeros(1, 3, 2, 2, 4), torch.tensor([[[1.0, 1, 0, 0]] * 2]))
    loss = MaskPrediction(slots="both")(prediction_of(mask_logits=perfect), ROLES, batch)
    assert loss.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("slots", "expected"), [("action", 1.0), ("scene", 4.0), ("both", 5.0)])
def test_colors_of_the_action_the_scene_or_both(slots, expected):
    # Two frames of 2×4 pixels, two patches; over time red is 3, green 0 and blue −1.
    video = torch.tensor([[2.0, 4.0], [0.0, 0.0], [-1.0, -1.0]]).view(1, 3, 2, 1, 1)
    mask = torch.tensor([[[1.0, 1, 1, 0]] * 2])  # the whole of one patch, half of the other
    action = torch.tensor([3, 1.5, 0, 0, -1, -0.5])  # all red, all green, all blue
    scene = torch.tensor([0, 1.5, 0, 0, 0, -0.5])
    pixels = torch.stack([scene + 2, action + 1])[None]
    batch = batch_of(video.expand(-1, -1, -1, 2, 4), mask)
    loss = PixelPrediction(slots=slots)(prediction_of(pixels=pixels), ROLES, batch)
    assert loss.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (MaskPrediction(), "mask_prediction needs a model with a mask decoder"),
        (PixelPrediction(), "pixel_prediction needs a model with a pixel decoder"),
    ],
)
def test_the_other_decoder_will_not_do(term, message):
    with pytest.raises(ValueError, match=message):
        term(prediction_of(), ROLES, batch_of(torch.zeros(1, 3, 2, 2, 4), torch.zeros(1, 2, 4)))


def test_what_is_impossible_is_refused():
    one_slot = SlotPrediction(
        torch.zeros(1, 1, 1), torch.zeros(1, 1, 2), 1, (1, 1, 2), mask_logits=torch.zeros(1, 1, 2)
    )
    batch = batch_of(torch.zeros(1, 3, 2, 2, 4), torch.zeros(1, 2, 4))
    roles = Roles(action=torch.tensor([0]), scene=torch.tensor([0]))
    assert MaskPrediction()(one_slot, roles, batch).item() == pytest.approx(LN2)
    for slots in ("scene", "both"):
        with pytest.raises(ValueError, match=f"slots={slots} needs two slots, the model has one"):
            MaskPrediction(slots=slots)(one_slot, roles, batch)
    with pytest.raises(ValueError, match="slots must be one of action, scene, both, not 'all'"):
        PixelPrediction(slots="all")
    batch.clip_mask = None
    with pytest.raises(ValueError, match=r"needs clip masks .*; drop it with ~loss\.mask_pred"):
        MaskPrediction()(one_slot, roles, batch)
