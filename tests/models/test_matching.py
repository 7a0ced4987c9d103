"""Slot matching against SciPy's solver and against cases solved by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from devias.models.matching import SlotMatcher, assign
from devias.structures import UNKNOWN, SlotPrediction


def predict(logits, num_actions):
    logits = torch.as_tensor(logits, dtype=torch.float32)
    return SlotPrediction(slots=logits, logits=logits, num_actions=num_actions, grid=(1, 1, 1))


def log(*rows):
    """Logits whose softmax gives these probabilities."""
    return torch.tensor(rows).log()


def total(cost, roles):
    clips = np.arange(len(cost))
    return cost[clips, roles.action.numpy(), 0] + cost[clips, roles.scene.numpy(), 1]


# Few distinct values, so that ties are common.
costs = st.integers(2, 7).flatmap(
    lambda slots: arrays(np.float64, (3, slots, 2), elements=st.integers(-4, 4).map(float))
)


@given(costs)
@settings(max_examples=200, deadline=None)
def test_hungarian_is_optimal(cost):
    roles = assign(torch.from_numpy(cost), "hungarian")
    best = [c[linear_sum_assignment(c)].sum() for c in cost]
    assert (roles.action != roles.scene).all()
    np.testing.assert_array_equal(total(cost, roles), best)


@given(costs)
@settings(max_examples=100, deadline=None)
def test_greedy_takes_the_cheapest_first(cost):
    roles = assign(torch.from_numpy(cost), "greedy")
    for clip, action, scene in zip(cost, roles.action, roles.scene, strict=True):
        action, scene = int(action), int(scene)
        assert action != scene
        first = min(clip[action, 0], clip[scene, 1])
        assert first == clip.min()
        rest_of_scene = np.delete(clip[:, 1], action)
        rest_of_action = np.delete(clip[:, 0], scene)
        assert (clip[action, 0] == first and clip[scene, 1] == rest_of_scene.min()) or (
            clip[scene, 1] == first and clip[action, 0] == rest_of_action.min()
        )


def test_greedy_and_hungarian_differ_where_greed_costs():
    # Greedy grabs (slot 0, action) for 0 and pays 9 for the scene; the optimum is 1 + 1.
    cost = torch.tensor([[[0.0, 1.0], [1.0, 9.0]]])
    greedy, hungarian = assign(cost, "greedy"), assign(cost, "hungarian")
    assert (greedy.action.item(), greedy.scene.item()) == (0, 1)
    assert (hungarian.action.item(), hungarian.scene.item()) == (1, 0)


def test_fixed_ignores_the_cost():
    roles = assign(torch.randn(5, 3, 2), "fixed")
    assert roles.action.tolist() == [0] * 5
    assert roles.scene.tolist() == [1] * 5


@pytest.mark.parametrize("method", ["hungarian", "greedy", "fixed"])
def test_a_single_slot_takes_both_roles(method):
    roles = assign(torch.randn(3, 1, 2), method)
    assert roles.action.tolist() == roles.scene.tolist() == [0, 0, 0]


def test_assign_refuses_what_it_cannot_solve():
    with pytest.raises(ValueError, match=r"\[B, K, 2\]"):
        assign(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="hungarian, greedy, fixed"):
        assign(torch.zeros(2, 3, 2), "auction")
    with pytest.raises(ValueError, match="cost must be one of"):
        SlotMatcher(cost="l2")


def test_the_two_costs_disagree_where_they_should():
    # Two actions, one scene; action 0, scene 0.
    # Cross-entropy: slots (0, 1) cost −ln(.5·.001) = 7.6, (1, 0) cost −ln(.1·.4) = 3.2.
    # Minus probability: (0, 1) costs −.501, (1, 0) costs −.5.
    prediction = predict(log([0.5, 0.1, 0.4], [0.1, 0.899, 0.001])[None], num_actions=2)
    label = torch.tensor([0])
    by_entropy = SlotMatcher("cross_entropy").match(prediction, label, label)
    by_probability = SlotMatcher("probability").match(prediction, label, label)
    assert (by_entropy.action.item(), by_entropy.scene.item()) == (1, 0)
    assert (by_probability.action.item(), by_probability.scene.item()) == (0, 1)


def test_an_unknown_label_lets_the_other_role_choose():
    # Slot 1 is the best for action 0 and for scene 0 (probabilities of two actions, one scene).
    logits = log([0.01, 0.79, 0.2], [0.55, 0.05, 0.4], [0.1, 0.8, 0.1])[None].repeat(4, 1, 1)
    prediction = predict(logits, num_actions=2)
    action = torch.tensor([0, 0, UNKNOWN, UNKNOWN])
    scene = torch.tensor([0, UNKNOWN, 0, UNKNOWN])
    roles = SlotMatcher().match(prediction, action, scene)
    assert (roles.action[0], roles.scene[0]) == (1, 0)
    assert roles.action[1] == 1
    assert roles.scene[2] == 1
    assert (roles.action != roles.scene).all()


@pytest.mark.parametrize(("num_actions", "known"), [(3, "action"), (0, "scene")])
def test_single_task_heads(num_actions, known):
    prediction = predict(log([0.2, 0.2, 0.6], [0.8, 0.1, 0.1])[None], num_actions)
    labels = {"action": torch.tensor([UNKNOWN]), "scene": torch.tensor([UNKNOWN])}
    labels[known] = torch.tensor([0])
    roles = SlotMatcher().match(prediction, **labels)
    assert getattr(roles, known).item() == 1
    inferred = SlotMatcher().infer(prediction)
    assert getattr(inferred, known).item() == 1
    assert {inferred.action.item(), inferred.scene.item()} == {0, 1}


def test_inference_takes_the_highest_probability_of_each_half():
    # Softmax over *all* logits: slot 1's largest action logit is larger, its probability smaller.
    logits = torch.tensor([[[3.0, 0.0, 0.0], [4.0, 0.0, 6.0]], [[9.0, 0.0, 2.0], [0.0, 0.0, 0.0]]])
    prediction = predict(logits, num_actions=2)
    roles = SlotMatcher().infer(prediction)
    assert roles.action.tolist() == [0, 0]
    assert roles.scene.tolist() == [1, 1]


def test_both_roles_may_fall_on_one_slot_unless_fixed():
    prediction = predict([[[5.0, 0.0, 5.0], [0.0, 0.0, 0.0]]], num_actions=2)
    roles = SlotMatcher().infer(prediction)
    assert (roles.action.item(), roles.scene.item()) == (0, 0)
    fixed = SlotMatcher(assignment="fixed").infer(prediction)
    assert (fixed.action.item(), fixed.scene.item()) == (0, 1)


def test_matching_carries_no_gradient_and_wants_a_label_a_clip():
    prediction = predict(torch.randn(4, 2, 5, requires_grad=True), num_actions=2)
    label = torch.zeros(4, dtype=torch.long)
    roles = SlotMatcher().match(prediction, label, label)
    assert not roles.action.requires_grad
    with pytest.raises(ValueError, match="per_clip"):
        SlotMatcher().match(prediction, label[:2], label)
