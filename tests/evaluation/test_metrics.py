import numpy as np
import pytest
import torch

from devias.evaluation.composition import Reference, TrainingPairs
from devias.evaluation.metrics import confusion, mean_metrics, video_metrics
from devias.evaluation.predictions import join_rows, soft_iou, video_rows
from devias.evaluation.views import VideoScores
from devias.structures import UNKNOWN, ClipBatch, Roles, SlotPrediction


def one_hot_scores(action, scene, num_actions=6, num_scenes=6):
    """Scores of one view whose arg-max are the given classes."""
    action, scene = torch.tensor(action), torch.tensor(scene)
    return VideoScores(
        torch.nn.functional.one_hot(action, num_actions).float()[:, None],
        torch.nn.functional.one_hot(scene, num_scenes).float()[:, None],
    )


def batch_of(action, scene, num_views=1, **masks):
    return ClipBatch(
        video=torch.zeros(len(action) * num_views, 3, 2, 4, 4),
        action=torch.tensor(action),
        scene=torch.tensor(scene),
        index=torch.arange(len(action)),
        num_views=num_views,
        **masks,
    )


def roles_of(num_clips, action=0, scene=1):
    return Roles(torch.full((num_clips,), action), torch.full((num_clips,), scene))


def predictions_of(scores, batch, prediction=None, roles=None, errors=()):
    """What the recorder makes of one batch."""
    clips = len(batch) * batch.num_views
    slots = torch.zeros(clips, 2, 3)
    prediction = prediction or SlotPrediction(slots, slots, num_actions=6, grid=(1, 2, 2))
    rows = video_rows(prediction, roles or roles_of(clips), scores, batch)
    return join_rows([{name: value.numpy() for name, value in rows.items()}], dict(errors))


def metrics_of(scores, batch, tasks=("action", "scene"), reference=None, **parts):
    return mean_metrics(video_metrics(predictions_of(scores, batch, **parts), tasks, reference))


def test_recognition_by_hand_without_unknown_labels():
    scores = one_hot_scores([0, 1, 2, 5], [0, 0, 0, 4])
    values = metrics_of(scores, batch_of([0, 2, UNKNOWN, 5], [0, 0, 3, UNKNOWN]))
    assert values["action_top1"] == 2 / 3
    assert values["scene_top1"] == 2 / 3


def test_a_set_counts_for_its_tasks_alone():
    scores, batch = one_hot_scores([0, 1], [3, 4]), batch_of([0, 1], [3, 5])
    values = metrics_of(scores, batch, ["scene"], Reference([0] * 6))
    assert set(values) == {"scene_top1", "scene_top5", "slot_collision"}


def test_a_model_of_one_task_has_no_metrics_of_the_other():
    scores = one_hot_scores([0, 1], [3, 4])
    scores.action_views = scores.action_views[..., :0]
    batch = batch_of([0, 1], [3, 5])
    values = metrics_of(scores, batch, reference=Reference([0] * 6))
    assert values == {"scene_top1": 0.5, "scene_top5": 0.5}
    assert confusion(predictions_of(scores, batch), 6, 6, rows="scene").sum() == 0


def test_top5_by_hand():
    scores = one_hot_scores([0, 0], [0, 0])
    scores.action_views = torch.tensor([[[0.3, 0.2, 0.15, 0.1, 0.09, 0.08, 0.07]]] * 2)
    values = metrics_of(scores, batch_of([4, 5], [0, 0]))
    assert (values["action_top1"], values["action_top5"]) == (0, 0.5)


def test_equal_scores_are_no_hit_for_everyone():
    scores = one_hot_scores([0] * 10, [0] * 10, num_actions=10)
    scores.action_views = torch.zeros(10, 1, 10)
    values = metrics_of(scores, batch_of(list(range(10)), [0] * 10))
    assert (values["action_top1"], values["action_top5"]) == (0.1, 0.5)


def test_a_metric_without_an_eligible_video_is_absent():
    values = metrics_of(one_hot_scores([0], [0]), batch_of([UNKNOWN], [1]))
    assert set(values) == {"scene_top1", "scene_top5", "slot_collision"}


def test_a_scene_class_over_all_logits_is_wrong():
    scores = one_hot_scores([6], [0], num_actions=9)  # 6 actions, then 3 scenes
    assert metrics_of(scores, batch_of([0], [0]))["action_top1"] == 0


def test_slot_collision_averages_over_all_clips():
    scores = one_hot_scores([0, 0], [0, 0])
    roles = Roles(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 0, 1, 1]))
    batch = batch_of([0, 0], [0, 0], num_views=2)
    assert metrics_of(scores, batch, roles=roles)["slot_collision"] == 0.5


@pytest.mark.parametrize("num_slots", [1, 2])
def test_one_slot_alone_does_not_collide(num_slots):
    slots = torch.zeros(1, num_slots, 3)
    prediction = SlotPrediction(slots, torch.zeros(1, num_slots, 12), 6, grid=(1, 2, 2))
    parts = {"prediction": prediction, "roles": roles_of(1, 0, 0)}
    values = metrics_of(one_hot_scores([0], [0]), batch_of([0], [0]), **parts)
    assert ("slot_collision" in values) == (num_slots == 2)


def test_scene_bias_counts_only_unseen_combinations():
    #            biased  right  usual  none  no scene  no action
    predicted = [2, 5, 3, 0, 2, 2]
    action = [0, 5, 3, 4, 4, UNKNOWN]
    scene = [0, 1, 1, 2, UNKNOWN, 0]
    scores, batch = one_hot_scores(predicted, [0] * 6), batch_of(action, scene)
    values = metrics_of(scores, batch, reference=Reference([2, 3, UNKNOWN]))
    assert values["scene_bias"] == 0.5
    assert "scene_bias" not in metrics_of(scores, batch)


def test_wrong_pairs_by_hand():
    # Training shows (0, 0) seven times, (1, 0), (2, 1) and (3, 1) once: mean 2.5, deviation 2.6.
    labels = [(0, 0)] * 7 + [(1, 0), (2, 1), (3, 1), (4, UNKNOWN), (UNKNOWN, 0)]
    pairs = TrainingPairs.count(labels, 6, 6)
    assert pairs.frequent_from == pytest.approx(2.5 + np.std([7, 1, 1, 1]))
    assert pairs.usual_actions == [0, 2, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]
    #            frequent  seen  never  right  no scene  no action
    predicted = [0, 1, 5, 0, 0, 0]
    action = [1, 0, 0, 0, 1, UNKNOWN]
    scene = [0, 0, 0, 0, UNKNOWN, 0]
    scores, batch = one_hot_scores(predicted, [0] * 6), batch_of(action, scene)
    values = metrics_of(scores, batch, reference=Reference(pairs=pairs))
    assert values["wrong_pair_seen"] == 2 / 3
    assert values["wrong_pair_frequent"] == 1 / 3
    assert "wrong_pair_seen" not in metrics_of(scores, batch)


def test_a_scene_class_as_action_is_no_pair_of_training():
    pairs = TrainingPairs.count([(0, 0)], 6, 3)
    scores = one_hot_scores([6], [0], num_actions=9)
    values = metrics_of(scores, batch_of([1], [0]), reference=Reference(pairs=pairs))
    assert values["wrong_pair_seen"] == 0


def test_without_a_scene_in_training_there_are_no_pairs():
    assert TrainingPairs.count([(0, UNKNOWN), (1, UNKNOWN)], 2, 3) is None
    assert TrainingPairs.count([], 2, 3) is None


def test_videos_that_could_not_be_read_count_for_nothing():
    scores, batch = one_hot_scores([0, 1, 1], [2, 2, 2]), batch_of([0, 0, 1], [2, 2, 0])
    values = metrics_of(scores, batch, errors={1: "broken"})
    assert (values["action_top1"], values["scene_top1"]) == (1, 0.5)
    assert metrics_of(scores, batch, errors=dict.fromkeys(range(3), "broken")) == {}


def test_soft_iou_is_the_iou_of_binary_masks():
    mask = torch.tensor([[1.0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0.5, 0, 0, 0]])
    truth = torch.tensor([[0.0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0.25, 0, 0, 0]])
    torch.testing.assert_close(soft_iou(mask, truth), torch.tensor([1 / 3, 0, 1, 0.5]))


def masked_case():
    """Two videos of two views, 2×2 patches of 4×4 pixels; the actor of video 1 is never seen."""
    ground_truth_masks = torch.zeros(4, 2, 4, 4, dtype=torch.bool)
    ground_truth_masks[0, :, :2, :2] = True  # view 0: patch 0 is covered throughout
    ground_truth_masks[1, 0, :2, :2] = True  # view 1: patch 0 in one frame of two
    mask_logits = torch.full((4, 2, 4), -100.0)
    mask_logits[0, 1, :2] = 100.0  # the action slot is slot 1: patches 0 and 1, IoU 1/2
    mask_logits[1, 1, 0] = 0.0  # probability 1/2, as the truth: IoU 1
    mask_logits[:, 0] = 100.0  # the scene slot's mask is of no interest
    prediction = SlotPrediction(
        slots=torch.zeros(4, 2, 5),
        logits=torch.zeros(4, 2, 12),
        num_actions=6,
        grid=(1, 2, 2),
        mask_logits=mask_logits,
    )
    clip_mask = torch.zeros(4, 4, 4)
    clip_mask[:2, :2, :2] = 1.0  # view 0: IoU 1; view 1: 1/2
    return ground_truth_masks, clip_mask, {"prediction": prediction, "roles": roles_of(4, 1, 0)}


def test_mask_iou_by_hand():
    ground_truth_masks, clip_mask, parts = masked_case()
    batch = batch_of(
        [0, 0], [0, 0], num_views=2, ground_truth_masks=ground_truth_masks, clip_mask=clip_mask
    )
    values = metrics_of(one_hot_scores([0, 0], [0, 0]), batch, **parts)
    assert values["mask_iou"] == pytest.approx((1 / 2 + 1) / 2)
    assert values["pseudo_mask_iou"] == pytest.approx((1 + 1 / 2) / 2)


def test_mask_metrics_need_their_masks():
    ground_truth_masks, clip_mask, parts = masked_case()
    scores = one_hot_scores([0, 0], [0, 0])
    without_truth = batch_of([0, 0], [0, 0], num_views=2, clip_mask=clip_mask)
    without_pseudo = batch_of([0, 0], [0, 0], num_views=2, ground_truth_masks=ground_truth_masks)
    assert not {"mask_iou", "pseudo_mask_iou"} & set(metrics_of(scores, without_truth, **parts))
    parts["prediction"].mask_logits = None
    assert not {"mask_iou", "pseudo_mask_iou"} & set(metrics_of(scores, without_pseudo, **parts))


def test_confusion_by_action_and_by_scene():
    scores = one_hot_scores([0, 2, 2, 1], [0] * 4, num_actions=3)
    predictions = predictions_of(scores, batch_of([0, 1, 1, UNKNOWN], [1, 1, UNKNOWN, 0]))
    assert confusion(predictions, 3, 3).tolist() == [[1, 0, 0], [0, 0, 2], [0, 0, 0]]
    assert confusion(predictions, 2, 3, rows="scene").tolist() == [[0, 1, 0], [1, 0, 1]]


def test_confusion_counts_actions_only():
    scores = one_hot_scores([4, 1], [0, 0], num_actions=5)  # 3 actions, then 2 scenes
    assert confusion(predictions_of(scores, batch_of([0, 0], [0, 0])), 3, 3).sum() == 1
