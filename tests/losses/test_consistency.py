"""Consistency of two views, against values worked out by hand."""

import pytest
import torch

from devias.losses import Consistency
from devias.structures import ClipBatch, Roles, SlotPrediction

BATCH = ClipBatch(*[torch.zeros(2)] * 4)


def prediction(slots):
    return SlotPrediction(torch.tensor(slots), torch.zeros(2, 2, 3), 1, (1, 1, 1))


def test_squared_distance_of_directions_of_the_action_slots():
    original = prediction([[[3.0, 0.0], [1.0, 1.0]], [[1.0, 1.0], [0.0, 2.0]]])
    original.second_view = prediction([[[0.0, 9.0], [1.0, 1.0]], [[5.0, 5.0], [0.0, -1.0]]])
    # Slot 0 of the first clip turns by 90° (|Δ|² = 2), slot 1 of the second by 180° (4); the
    # others, the scenes', do not turn at all.
    roles = Roles(action=torch.tensor([0, 1]), scene=torch.tensor([1, 0]))
    assert Consistency()(original, roles, BATCH).item() == pytest.approx((2 + 4) / 2)
    swapped = Roles(action=roles.scene, scene=roles.action)
    assert Consistency()(original, swapped, BATCH).item() == pytest.approx(0, abs=1e-6)


def test_both_views_learn():
    original = prediction([[[3.0, 0.0], [1.0, 1.0]], [[1.0, 1.0], [0.0, 2.0]]])
    original.second_view = prediction([[[1.0, 9.0], [1.0, 1.0]], [[5.0, 5.0], [0.0, -1.0]]])
    views = [original.slots.requires_grad_(), original.second_view.slots.requires_grad_()]
    roles = Roles(action=torch.tensor([0, 0]), scene=torch.tensor([1, 1]))
    Consistency()(original, roles, BATCH).backward()
    for slots in views:
        assert slots.grad[0, 0].norm() > 0
        assert slots.grad[:, 1].norm() == 0


def test_a_second_view_is_needed():
    roles = Roles(action=torch.tensor([0, 0]), scene=torch.tensor([1, 1]))
    with pytest.raises(ValueError, match=r"consistency needs a second view .*augment=be.*~loss"):
        Consistency()(prediction([[[1.0]] * 2] * 2), roles, BATCH)
