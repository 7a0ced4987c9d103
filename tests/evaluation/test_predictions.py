import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from devias.evaluation.predictions import (
    FIELDS,
    NonFiniteScoresError,
    Recorder,
    RepeatedVideoError,
)
from devias.structures import UNKNOWN, ClipBatch, Roles, SlotPrediction
from sync_guard import no_host_sync

NUM_ACTIONS, NUM_SCENES, VIEWS = 7, 3, 2


def recorded(logits, order, batch_size, errors=(), action_space="half", kept=5):
    """Of `[M, V, K, N_A + N_S]` logits, in an order of the videos and in batches of a size."""
    recorder = Recorder(action_space, kept)
    for start in range(0, len(order), batch_size):
        index = torch.tensor(order[start : start + batch_size])
        clips = logits[index].flatten(0, 1)
        prediction = SlotPrediction(clips, clips, NUM_ACTIONS, (1, 1, 1))
        roles = Roles(
            prediction.action_logits.amax(-1).argmax(-1),
            prediction.scene_logits.amax(-1).argmax(-1),
        )
        batch = ClipBatch(
            clips, index % NUM_ACTIONS, index % NUM_SCENES, index, num_views=logits.shape[1]
        )
        batch.errors = {i: why for i, why in dict(errors).items() if i in index.tolist()}
        recorder.add(prediction, roles, batch)
    return recorder.gather()


def random_logits(videos, views=VIEWS):
    return torch.randn(videos, views, 2, NUM_ACTIONS + NUM_SCENES)


def same(a, b):
    """Whether all classes, slots and labels are equal, and all scores but for their rounding."""
    for name in FIELDS:
        mine, other = getattr(a, name), getattr(b, name)
        if mine.dtype.kind == "f":
            np.testing.assert_allclose(mine, other, atol=1e-6)
        else:
            np.testing.assert_array_equal(mine, other)
    return True


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 9), st.integers(1, 5), st.randoms())
def test_rows_stand_in_the_order_of_the_records_whatever_the_batches(videos, batch_size, random):
    logits = random_logits(videos)
    order = list(range(videos))
    random.shuffle(order)
    predictions = recorded(logits, order, batch_size)
    assert predictions.index.tolist() == list(range(videos))
    assert same(predictions, recorded(logits, list(range(videos)), videos))


def test_classes_and_scores_by_hand():
    logits = torch.full((1, 2, 2, 10), -50.0)
    logits[0, :, 0, :7] = torch.tensor([0.0, 3, 2, 1, 0, 0, 0]) * torch.tensor([[1.0], [0.0]])
    logits[0, :, 1, 7:] = torch.tensor([[0.0, 9, 0], [9, 0, 0]])
    predictions = recorded(logits, [0], 1)
    first, second = logits[0, :, 0, :7].softmax(-1)
    assert predictions.action_classes.tolist() == [[1, 2, 3, 0, 4]]  # of equal ones the lowest
    assert predictions.action_scores[0, 0] == pytest.approx(float(first[1] + second[1]) / 2)
    # The second view is undecided, and answers with the first class.
    assert predictions.action_agreement.tolist() == [0.5]
    assert predictions.action_spread[0] == pytest.approx(float(first[1] - second[1]) / 2)
    assert predictions.scene_classes.shape == (1, NUM_SCENES)
    assert predictions.scene_agreement.tolist() == [0.5]
    assert predictions.action_slots.tolist() == [[0, 0]]
    assert predictions.scene_slots.tolist() == [[1, 1]]
    assert predictions.slot_collision.tolist() == [0]


def test_recording_does_not_wait_for_the_device():
    recorder = Recorder()
    logits = random_logits(3).flatten(0, 1)
    prediction = SlotPrediction(logits, logits, NUM_ACTIONS, (1, 2, 2), mask_logits=logits[..., :4])
    roles = Roles(torch.zeros(6, dtype=torch.long), torch.ones(6, dtype=torch.long))
    masks = torch.rand(6, 2, 4, 4) > 0.5
    label = torch.arange(3)
    batch = ClipBatch(
        logits, label, label, label, VIEWS, ground_truth_masks=masks, clip_mask=masks[:, 0]
    )
    with no_host_sync():
        recorder.add(prediction, roles, batch)
    assert np.isfinite(recorder.gather().mask_iou).all()


def test_more_scores_are_kept_on_request():
    assert recorded(random_logits(3), [0, 1, 2], 2, kept=9).action_scores.shape == (3, NUM_ACTIONS)


def test_of_a_video_that_could_not_be_read_only_labels_are_known():
    logits = random_logits(4)
    logits[2] = torch.nan  # what is answered on nothing is of no interest
    predictions = recorded(logits, [3, 0, 2, 1], 3, errors={2: "2.mp4 is broken"})
    assert predictions.skipped == ["2.mp4 is broken"]
    assert predictions.read.tolist() == [True, True, False, True]
    assert predictions.action.tolist() == [0, 1, 2, 3]
    assert predictions.answers("action")[2] == UNKNOWN
    assert np.isnan(predictions.scene_scores[2]).all()
    whole = recorded(logits[[0, 1, 3]], [0, 1, 2], 3)
    assert np.array_equal(predictions.action_scores[[0, 1, 3]], whole.action_scores)


def test_a_video_that_is_evaluated_twice_is_an_error():
    with pytest.raises(RepeatedVideoError, match="video 1 "):
        recorded(random_logits(3), [0, 1, 2, 1], 2)


def test_scores_that_are_not_finite_are_an_error():
    logits = random_logits(3)
    logits[1, 0, 0, 0] = torch.nan
    with pytest.raises(NonFiniteScoresError, match=r"[12] scores of videos are not finite"):
        recorded(logits, [0, 1, 2], 2)


def test_a_recorder_forgets_what_it_has_gathered():
    recorder = Recorder()
    logits = random_logits(1)[0]
    for index in (0, 0):
        prediction = SlotPrediction(logits, logits, NUM_ACTIONS, (1, 1, 1))
        roles = Roles(torch.zeros(VIEWS, dtype=torch.long), torch.ones(VIEWS, dtype=torch.long))
        label = torch.tensor([index])
        recorder.add(prediction, roles, ClipBatch(logits, label, label, label, num_views=VIEWS))
        assert len(recorder.gather()) == 1
