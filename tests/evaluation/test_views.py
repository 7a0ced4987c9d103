import pytest
import torch

from devias.evaluation.views import VideoScores, score_videos, view_probabilities
from devias.structures import Roles, SlotPrediction

NUM_ACTIONS, NUM_SCENES = 3, 2


def prediction_of(logits):
    return SlotPrediction(
        slots=torch.zeros(*logits.shape[:2], 5),
        logits=logits,
        num_actions=NUM_ACTIONS,
        grid=(2, 3, 3),
    )


def test_probabilities_are_averaged_not_logits():
    # View 1 is certain of class 0, view 2 undecided: (1 + 0.5) / 2; the mean logit would give ~1.
    logits = torch.tensor([[200.0, 0.0], [0.0, 0.0]])
    scores = VideoScores(view_probabilities(logits, 2), torch.zeros(1, 2, 0))
    torch.testing.assert_close(scores.action, torch.tensor([[0.75, 0.25]]))
    assert scores.scene.shape == (1, 0)


def test_views_of_one_video_are_neighbors():
    logits = torch.randn(6, 5)
    expected = torch.stack([logits[:3].softmax(-1), logits[3:].softmax(-1)])
    torch.testing.assert_close(view_probabilities(logits, 3), expected)


def test_half_precision_is_averaged_in_single_precision():
    assert view_probabilities(torch.zeros(2, 3, dtype=torch.bfloat16), 2).dtype == torch.float32


@pytest.mark.parametrize("num_views", [0, 2])
def test_clips_that_do_not_divide_are_refused(num_views):
    with pytest.raises(ValueError, match=f"3 clips .* {num_views} views"):
        view_probabilities(torch.zeros(3, 4), num_views)


def test_each_view_uses_its_own_slots():
    logits = torch.randn(4, 3, NUM_ACTIONS + NUM_SCENES)
    roles = Roles(action=torch.tensor([0, 2, 1, 1]), scene=torch.tensor([1, 2, 0, 1]))
    scores = score_videos(prediction_of(logits), roles, num_views=2)

    action = torch.stack([logits[i, k, :3].softmax(-1) for i, k in enumerate([0, 2, 1, 1])])
    scene = torch.stack([logits[i, k, 3:].softmax(-1) for i, k in enumerate([1, 2, 0, 1])])
    torch.testing.assert_close(scores.action, action.unflatten(0, (2, 2)).mean(1))
    torch.testing.assert_close(scores.scene, scene.unflatten(0, (2, 2)).mean(1))


def test_a_scene_class_can_win_the_action_only_over_all_logits():
    logits = torch.tensor([[[1.0, 2.0, 0.0, 5.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]]])
    roles = Roles(action=torch.tensor([0]), scene=torch.tensor([1]))
    half = score_videos(prediction_of(logits), roles)
    everything = score_videos(prediction_of(logits), roles, action_space="all")
    assert half.action.argmax() == 1
    assert everything.action.argmax() == 3
    assert everything.action.shape == (1, NUM_ACTIONS + NUM_SCENES)
    torch.testing.assert_close(everything.scene, half.scene)


def test_unknown_action_space_is_refused():
    roles = Roles(action=torch.tensor([0]), scene=torch.tensor([0]))
    with pytest.raises(ValueError, match="'none'"):
        score_videos(prediction_of(torch.zeros(1, 2, 5)), roles, action_space="none")
