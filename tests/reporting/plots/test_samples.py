import numpy as np
import pytest
import torch

from devias.evaluation.views import score_videos
from devias.reporting.plots.samples import samples_from
from devias.structures import UNKNOWN, ClipBatch, Roles, SlotPrediction

ACTIONS, SCENES = ["wave", "kick", "spin"], ["snow", "hills"]
B, V, K, GRID = 2, 3, 3, (2, 2, 3)


@pytest.fixture
def case():
    """Two videos of three views with everything."""
    frames = torch.randint(0, 256, (B * V, 3, 4, 8, 12), dtype=torch.uint8)
    batch = ClipBatch(
        video=frames,
        action=torch.tensor([1, UNKNOWN]),
        scene=torch.tensor([0, 1]),
        index=torch.arange(B),
        num_views=V,
        clip_mask=torch.rand(B * V, 8, 12),
    )
    prediction = SlotPrediction(
        slots=torch.zeros(B * V, K, 5),
        logits=torch.randn(B * V, K, 5),
        num_actions=3,
        grid=GRID,
        attention=torch.rand(B * V, 4, K, 12),
        mask_logits=torch.randn(B * V, K, 6),
    )
    roles = Roles(action=torch.tensor([2, 0, 1, 0, 1, 2]), scene=torch.tensor([1, 0, 1, 2, 2, 2]))
    return frames, batch, prediction, roles


def take(batch, prediction, roles, action_space="half", videos=(0, 1)):
    return samples_from(
        batch,
        prediction,
        roles,
        score_videos(prediction, roles, V, action_space),
        action_names=ACTIONS,
        scene_names=SCENES,
        videos=videos,
    )


@pytest.mark.parametrize("action_space", ["half", "all"])
@pytest.mark.parametrize("task", ["action", "scene"])
def test_a_model_of_one_task_answers_nothing_of_the_other(case, task, action_space):
    _, batch, prediction, roles = case
    halves = {"action": prediction.action_logits, "scene": prediction.scene_logits}
    prediction.logits, prediction.num_actions = halves[task], 3 if task == "action" else 0
    for sample in take(batch, prediction, roles, action_space):
        answers = sample.predicted_action, sample.predicted_scene
        assert answers[task == "action"] is None
        assert answers[task == "scene"] in (ACTIONS if task == "action" else SCENES)


def test_frames_are_those_of_the_middle_view(case):
    frames, *rest = case
    samples = take(*rest)
    assert len(samples) == B
    for video, sample in enumerate(samples):
        expected = frames[video * V + 1].permute(1, 2, 3, 0).numpy()  # its middle view
        assert sample.frames.dtype == np.uint8
        np.testing.assert_array_equal(sample.frames, expected)


def test_maps_belong_to_the_slots_in_their_roles(case):
    _, batch, prediction, roles = case
    samples = take(batch, prediction, roles)
    for video, (action_slot, scene_slot) in enumerate([(0, 0), (1, 2)]):
        clip, sample = video * V + 1, samples[video]
        attention = prediction.attention[clip].reshape(4, K, *GRID).mean((0, 2)).numpy()
        np.testing.assert_allclose(sample.action_attention, attention[action_slot], rtol=1e-5)
        np.testing.assert_allclose(sample.scene_attention, attention[scene_slot], rtol=1e-5)
        decoded = prediction.mask_logits[clip, action_slot].sigmoid().reshape(2, 3).numpy()
        np.testing.assert_allclose(sample.decoded_mask, decoded, rtol=1e-5)
        np.testing.assert_array_equal(sample.pseudo_mask, batch.clip_mask[clip].numpy())


def test_names_and_unknown_labels(case):
    _, batch, prediction, roles = case
    scores = score_videos(prediction, roles, V)
    samples = take(batch, prediction, roles)
    assert [sample.true_action for sample in samples] == ["kick", None]
    assert [sample.true_scene for sample in samples] == ["snow", "hills"]
    assert samples[1].predicted_action == ACTIONS[scores.action[1].argmax()]
    assert samples[1].predicted_scene == SCENES[scores.scene[1].argmax()]


def test_a_scene_that_wins_the_action_is_named(case):
    _, batch, prediction, roles = case
    prediction.logits[..., 4] = 50.0
    assert take(batch, prediction, roles, "all")[0].predicted_action == "hills"


def test_what_a_model_lacks_is_none(case):
    _, batch, prediction, roles = case
    prediction.attention = prediction.mask_logits = batch.clip_mask = None
    sample = take(batch, prediction, roles, videos=[0])[0]
    assert sample.action_attention is sample.scene_attention is sample.decoded_mask is None
    assert sample.pseudo_mask is None


def test_the_videos_asked_for_are_taken_in_that_order(case):
    _, batch, prediction, roles = case
    both = take(batch, prediction, roles)
    assert [s.true_scene for s in take(batch, prediction, roles, videos=[1])] == ["hills"]
    swapped = take(batch, prediction, roles, videos=[1, 0])
    np.testing.assert_array_equal(swapped[1].frames, both[0].frames)
    assert take(batch, prediction, roles, videos=[]) == []
