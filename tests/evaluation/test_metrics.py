import pytest
import torch

from devias.evaluation.metrics import ActionConfusion, SetMetrics, hit_in_top_k, soft_iou
from devias.evaluation.views import VideoScores
from devias.structures import UNKNOWN, ClipBatch, Roles, SlotPrediction


def one_hot_scores(action, scene, num_actions=6, num_scenes=6, collided=None):
    """Scores whose arg-max are the given classes."""
    action, scene = torch.tensor(action), torch.tensor(scene)
    return VideoScores(
        action=torch.nn.functional.one_hot(action, num_actions).float(),
        scene=torch.nn.functional.one_hot(scene, num_scenes).float(),
        collided=torch.zeros(len(action)) if collided is None else torch.tensor(collided),
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


def as_floats(metrics):
    return {name: value.item() for name, value in metrics.compute().items()}


def test_top_k_by_hand():
    scores = torch.tensor([[0.1, 0.4, 0.3, 0.2]] * 4)
    label = torch.tensor([1, 2, 3, 0])
    assert hit_in_top_k(scores, label, 1).tolist() == [1, 0, 0, 0]
    assert hit_in_top_k(scores, label, 2).tolist() == [1, 1, 0, 0]
    assert hit_in_top_k(scores, label, 3).tolist() == [1, 1, 1, 0]
    assert hit_in_top_k(scores, label, 9).tolist() == [1, 1, 1, 1]


def test_equal_scores_are_no_hit_for_everyone():
    assert hit_in_top_k(torch.zeros(10, 10), torch.arange(10), 1).sum() == 1


def test_recognition_by_hand_without_unknown_labels():
    metrics = SetMetrics()
    metrics.update(one_hot_scores([0, 1, 2], [0, 0, 0]), batch_of([0, 2, UNKNOWN], [0, 0, 3]))
    metrics.update(one_hot_scores([5], [4]), batch_of([5], [UNKNOWN]))
    values = as_floats(metrics)
    assert values["action_top1"] == pytest.approx(2 / 3)
    assert values["scene_top1"] == pytest.approx(2 / 3)


def test_a_model_of_one_task_has_no_metrics_of_the_other():
    scores = one_hot_scores([0, 1], [3, 4])
    scores.action = scores.action[:, :0]
    batch = batch_of([0, 1], [3, 5])
    metrics = SetMetrics(bias_aligned_action=[0] * 6)
    metrics.update(scores, batch)
    values = as_floats(metrics)
    assert set(values) == {"scene_top1", "scene_top5"}
    assert values["scene_top1"] == 0.5
    confusion = ActionConfusion(6, 6, rows="scene")
    confusion.update(scores, batch)
    assert confusion.compute().sum() == 0


def test_top5_by_hand():
    scores = one_hot_scores([0, 0], [0, 0], num_actions=7)
    scores.action = torch.tensor([[0.3, 0.2, 0.15, 0.1, 0.09, 0.08, 0.07]] * 2)
    metrics = SetMetrics()
    metrics.update(scores, batch_of([4, 5], [0, 0]))
    values = as_floats(metrics)
    assert (values["action_top1"], values["action_top5"]) == (0, 0.5)


def test_metric_without_an_eligible_video_is_absent():
    metrics = SetMetrics()
    metrics.update(one_hot_scores([0], [0]), batch_of([UNKNOWN], [1]))
    assert set(metrics.compute()) == {"scene_top1", "scene_top5", "slot_collision"}


def test_a_scene_class_over_all_logits_is_wrong():
    metrics = SetMetrics()
    scores = one_hot_scores([6], [0], num_actions=9)  # 6 actions, then 3 scenes
    metrics.update(scores, batch_of([0], [0]))
    assert as_floats(metrics)["action_top1"] == 0


def test_slot_collision_averages_over_all_clips():
    metrics = SetMetrics()
    metrics.update(one_hot_scores([0, 0], [0, 0], collided=[0.5, 0.0]), batch_of([0, 0], [0, 0]))
    metrics.update(one_hot_scores([0], [0], collided=[1.0]), batch_of([0], [0]))
    assert as_floats(metrics)["slot_collision"] == pytest.approx(0.5)


@pytest.mark.parametrize("num_slots", [1, 2])
def test_one_slot_alone_does_not_collide(num_slots):
    metrics = SetMetrics()
    slots, logits = torch.zeros(1, num_slots, 3), torch.zeros(1, num_slots, 12)
    prediction = SlotPrediction(slots, logits, num_actions=6, grid=(1, 2, 2))
    roles = Roles(torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long))
    scores = one_hot_scores([0], [0], collided=[1.0])
    metrics.update(scores, batch_of([0], [0]), prediction, roles)
    assert ("slot_collision" in metrics.compute()) == (num_slots == 2)


def test_scene_bias_counts_only_unseen_combinations():
    metrics = SetMetrics(bias_aligned_action=[2, 3, UNKNOWN])
    #            biased  right  home   no home  no scene  no action
    predicted = [2, 5, 3, 0, 2, 2]
    action = [0, 5, 3, 4, 4, UNKNOWN]
    scene = [0, 1, 1, 2, UNKNOWN, 0]
    metrics.update(one_hot_scores(predicted, [0] * 6), batch_of(action, scene))
    assert as_floats(metrics)["scene_bias"] == 0.5


def test_no_scene_bias_without_home_actions():
    metrics = SetMetrics()
    metrics.update(one_hot_scores([0], [0]), batch_of([1], [0]))
    assert "scene_bias" not in metrics.compute()


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
    roles = Roles(action=torch.ones(4, dtype=torch.long), scene=torch.zeros(4, dtype=torch.long))
    clip_mask = torch.zeros(4, 4, 4)
    clip_mask[:2, :2, :2] = 1.0  # view 0: IoU 1; view 1: 1/2
    return ground_truth_masks, clip_mask, prediction, roles


def test_mask_iou_by_hand():
    ground_truth_masks, clip_mask, prediction, roles = masked_case()
    metrics = SetMetrics()
    batch = batch_of(
        [0, 0], [0, 0], num_views=2, ground_truth_masks=ground_truth_masks, clip_mask=clip_mask
    )
    metrics.update(one_hot_scores([0, 0], [0, 0]), batch, prediction, roles)
    values = as_floats(metrics)
    assert values["mask_iou"] == pytest.approx((1 / 2 + 1) / 2)
    assert values["pseudo_mask_iou"] == pytest.approx((1 + 1 / 2) / 2)


def test_mask_metrics_need_their_masks():
    ground_truth_masks, clip_mask, prediction, roles = masked_case()
    scores = one_hot_scores([0, 0], [0, 0])
    without_truth, without_decoder = SetMetrics(), SetMetrics()
    without_truth.update(
        scores, batch_of([0, 0], [0, 0], num_views=2, clip_mask=clip_mask), prediction, roles
    )
    prediction.mask_logits = None
    without_decoder.update(
        scores,
        batch_of([0, 0], [0, 0], num_views=2, ground_truth_masks=ground_truth_masks),
        prediction,
        roles,
    )
    assert not {"mask_iou", "pseudo_mask_iou"} & set(without_truth.compute())
    assert not {"mask_iou", "pseudo_mask_iou"} & set(without_decoder.compute())


def test_ranks_add_up_to_the_whole():
    action, scene = torch.randint(0, 6, (2, 9)).tolist()
    predicted, seen = torch.randint(0, 6, (2, 9)).tolist()
    whole, first, second = (SetMetrics(bias_aligned_action=range(6)) for _ in range(3))
    for metrics, part in ((whole, slice(9)), (first, slice(2)), (second, slice(2, 9))):
        metrics.update(
            one_hot_scores(predicted[part], seen[part]), batch_of(action[part], scene[part])
        )
    first.merge_state(second)  # reduces every state as the processes of a distributed run do
    assert as_floats(first) == pytest.approx(as_floats(whole))


def test_reset_forgets():
    metrics = SetMetrics()
    metrics.update(one_hot_scores([0], [0]), batch_of([1], [1]))
    metrics.reset()
    metrics.update(one_hot_scores([0], [0]), batch_of([0], [0]))
    assert as_floats(metrics)["action_top1"] == 1


def test_scores_that_are_not_finite_are_an_error():
    metrics = SetMetrics()
    scores = one_hot_scores([0, 1], [0, 1])
    scores.action[1, 0] = torch.nan
    metrics.update(scores, batch_of([0, 1], [0, 1]))
    with pytest.raises(ValueError, match="1 scores of videos are not finite"):
        metrics.compute()


def test_confusion_by_action_and_by_scene():
    scores = one_hot_scores([0, 2, 2, 1], [0] * 4, num_actions=3)
    batch = batch_of([0, 1, 1, UNKNOWN], [1, 1, UNKNOWN, 0])
    by_action = ActionConfusion(num_actions=3, num_rows=3)
    by_scene = ActionConfusion(num_actions=3, num_rows=2, rows="scene")
    by_action.update(scores, batch)
    by_scene.update(scores, batch)
    assert by_action.compute().tolist() == [[1, 0, 0], [0, 0, 2], [0, 0, 0]]
    assert by_scene.compute().tolist() == [[0, 1, 0], [1, 0, 1]]


def test_confusion_looks_at_actions_only():
    scores = one_hot_scores([4], [0], num_actions=5)  # 3 actions, then 2 scenes
    scores.action[0, 1] = 0.5
    confusion = ActionConfusion(num_actions=3, num_rows=3)
    confusion.update(scores, batch_of([0], [0]))
    assert confusion.compute().nonzero().tolist() == [[0, 1]]
