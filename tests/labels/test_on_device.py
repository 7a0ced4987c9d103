"""What a batch goes through between the loader and the model, and the whole training path."""

import pytest
import torch
from torch import nn

from devias.augment.mixing import BackgroundMixing
from devias.labels.on_device import BatchStage
from devias.labels.scene_teacher import SceneTeacher
from devias.losses import (
    ActionRecognition,
    AttentionGuidance,
    MaskPrediction,
    SceneRecognition,
    SlotDiversity,
)
from devias.masks.fame import FAME
from devias.masks.ground_truth import GroundTruthMasks
from devias.models.matching import SlotMatcher
from devias.structures import UNKNOWN, ClipBatch, SlotPrediction
from sync_guard import no_host_sync


def make_batch(videos=4, num_views=1, scene=UNKNOWN, size=16):
    clips = videos * num_views
    return ClipBatch(
        video=torch.randint(0, 256, (clips, 3, 4, size, size), dtype=torch.uint8),
        action=torch.arange(videos) % 3,
        scene=torch.full((videos,), scene),
        index=torch.arange(videos),
        num_views=num_views,
        ground_truth_masks=torch.rand(clips, 4, size, size) > 0.7,
    )


class Brightness(nn.Module):
    """A scene model of two scenes, dark and bright."""

    def forward(self, images):
        bright = images.mean((1, 2, 3))
        return torch.stack([-bright, bright], -1)


def teacher():
    return SceneTeacher(Brightness(), per_frame=True, mean=(0.5,) * 3, std=(0.05,) * 3)


def test_normalizes_uint8():
    batch = make_batch(videos=1)
    batch.video[:] = torch.tensor([255, 0, 51], dtype=torch.uint8).view(1, 3, 1, 1, 1)
    before = batch.video.clone()
    out = BatchStage(mean=(0.5, 0.5, 0.1), std=(0.5, 0.25, 0.1))(batch)
    torch.testing.assert_close(out.video[0, :, 0, 0, 0], torch.tensor([1.0, -2.0, 1.0]))
    assert torch.equal(batch.video, before)
    with pytest.raises(TypeError, match=r"uint8 clips, not torch\.float32"):
        BatchStage()(out)


def test_masks_in_training_and_on_demand():
    batch = make_batch()
    stage = BatchStage(masks=FAME(0.4, crop_size=32))
    expected = FAME(0.4, crop_size=32)(batch.video / 255)
    out = stage.train()(batch)
    assert torch.equal(out.clip_mask, expected[0])
    assert torch.equal(out.frame_masks, expected[1])
    assert stage.eval()(batch).clip_mask is None
    stage.masks_in_eval = True
    assert stage(batch).clip_mask is not None


def test_masks_that_the_batch_holds_are_kept():
    batch = make_batch()
    batch.clip_mask, batch.frame_masks = torch.rand(4, 16, 16), torch.rand(4, 2, 16, 16)
    out = BatchStage(masks=FAME(crop_size=32)).train()(batch)
    assert out.clip_mask is batch.clip_mask
    assert out.frame_masks is batch.frame_masks


def test_cached_masks_become_numbers_and_make_up_for_a_clip_mask():
    batch = make_batch()
    batch.frame_masks = torch.rand(4, 2, 16, 16) > 0.5
    out = BatchStage().train()(batch)
    assert torch.equal(out.frame_masks, batch.frame_masks.float())
    assert torch.equal(out.clip_mask, batch.frame_masks.float().mean(1))
    batch.clip_mask = torch.rand(4, 16, 16) > 0.5
    assert torch.equal(BatchStage().train()(batch).clip_mask, batch.clip_mask.float())


def test_true_masks_come_from_the_data():
    batch = make_batch()
    out = BatchStage(masks=GroundTruthMasks()).train()(batch)
    torch.testing.assert_close(out.clip_mask, batch.ground_truth_masks.float().mean(1))
    batch.ground_truth_masks = None
    with pytest.raises(ValueError, match="this data has none"):
        BatchStage(masks=GroundTruthMasks()).train()(batch)


def test_mixing_happens_in_training_only_and_before_the_teacher_looks():
    batch = make_batch(videos=6)
    # Three dark and three bright clips with an actor that covers next to nothing.
    batch.video[:] = torch.tensor([20, 20, 20, 235, 235, 235]).view(-1, 1, 1, 1, 1)
    batch.clip_mask, batch.frame_masks = torch.zeros(6, 16, 16), torch.zeros(6, 2, 16, 16)
    stage = BatchStage(masks=FAME(), augment=BackgroundMixing(1.0), scene_teacher=teacher())
    mixed = stage.train()(batch)
    bright = mixed.video[:, 0, 0, 0, 0] > 0
    assert bright.sum() == 3
    assert bright.tolist() != [False] * 3 + [True] * 3
    assert torch.equal(mixed.scene, bright.long())
    plain = stage.eval()(batch)
    assert plain.scene.tolist() == [0, 0, 0, 1, 1, 1]


def test_the_teacher_labels_only_what_is_unknown():
    batch = make_batch(videos=3)
    batch.video[:] = 235
    batch.scene = torch.tensor([0, UNKNOWN, UNKNOWN])
    out = BatchStage(scene_teacher=teacher())(batch)
    assert out.scene.tolist() == [0, 1, 1]
    assert out.scene_logits.shape == (3, 2)
    assert BatchStage()(batch).scene.tolist() == [0, UNKNOWN, UNKNOWN]


def test_scene_logits_that_the_batch_holds_are_used():
    batch = make_batch(videos=2)
    batch.video[:] = 235
    batch.scene_logits = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    out = BatchStage(scene_teacher=teacher())(batch)
    assert out.scene.tolist() == [0, 1]


def test_views_of_a_video_vote_with_their_probabilities():
    batch = make_batch(videos=2, num_views=3)
    # Video 0: scene 0 by mean probability .60, though not by mean logit. Video 1: scene 1 by mean
    # probability .62, though two of three views say scene 0.
    first = torch.tensor([0.9, 0.9, 0.001, 0.55, 0.55, 0.05])
    batch.scene_logits = torch.stack([first, 1 - first], 1).log()
    assert BatchStage().eval()(batch).scene.tolist() == [0, 1]


def test_the_teacher_stays_in_evaluation_mode():
    stage = BatchStage(scene_teacher=teacher()).train()
    assert stage.training
    assert not stage.scene_teacher.training


@pytest.mark.parametrize("target", ["label", "distribution"])
@pytest.mark.parametrize("cost", ["cross_entropy", "probability"])
@pytest.mark.parametrize("assignment", ["hungarian", "greedy", "fixed"])
def test_the_training_path_never_waits_for_the_device(assignment, cost, target):
    stage = BatchStage(
        masks=FAME(0.5, crop_size=32),
        augment=BackgroundMixing(0.5),
        scene_teacher=teacher(),
    ).train()
    matcher = SlotMatcher(cost, assignment)
    terms = [
        ActionRecognition(),
        SceneRecognition(target),
        MaskPrediction(),
        AttentionGuidance(),
        SlotDiversity(),
    ]
    slots, num_actions, batch = 3, 3, make_batch()
    weight = torch.randn(3, slots * 8, requires_grad=True)
    head = torch.randn(8, num_actions + 2 + 16 + 32, requires_grad=True)
    with no_host_sync():
        labeled = stage(batch)
        features = (labeled.video.mean((2, 3, 4)) @ weight).unflatten(1, (slots, 8))
        logits, mask_logits, attention = (features @ head).split([num_actions + 2, 16, 32], -1)
        prediction = SlotPrediction(
            slots=features,
            logits=logits,
            num_actions=num_actions,
            grid=(2, 4, 4),
            attention=attention.softmax(1)[:, None],
            mask_logits=mask_logits,
        )
        roles = matcher.match(prediction, labeled.action, labeled.scene)
        loss = sum(term.weight * term(prediction, roles, labeled) for term in terms)
        loss.backward()
        matcher.infer(prediction)
    assert torch.isfinite(loss)
    assert weight.grad.abs().sum() > 0
    assert head.grad.abs().sum() > 0
