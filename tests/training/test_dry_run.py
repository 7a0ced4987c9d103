import pytest
import torch

from devias.augment.background_erasing import BackgroundErasing
from devias.augment.mixing import BackgroundMixing
from devias.errors import ConfigError
from devias.labels.on_device import BatchStage
from devias.labels.scene_teacher import SceneTeacher
from devias.losses import (
    ActionRecognition,
    AttentionGuidance,
    Consistency,
    LossTerm,
    LossTermError,
    SceneRecognition,
)
from devias.masks.ground_truth import GroundTruthMasks
from devias.models.backbone import VideoViT
from devias.models.devias import DEVIAS
from devias.models.heads import UnifiedHead
from devias.models.matching import SlotMatcher
from devias.models.slot_attention import SlotAttention
from devias.training.dry_run import dry_run

SIZE = (6, 8, 12)


class Seen(LossTerm):
    """Keeps what it is given."""

    def __init__(self):
        super().__init__(1.0, "seen")

    def __call__(self, prediction, roles, batch):
        self.prediction, self.roles, self.batch = prediction, roles, batch
        return prediction.logits.mean()


class ReadsValues(LossTerm):
    def __init__(self):
        super().__init__(1.0, "reads_values")

    def __call__(self, prediction, roles, batch):
        return prediction.logits.mean() * prediction.logits.sum().item()


def devias(**change):
    backbone = VideoViT(SIZE[1:], 6, 4, embed_dim=6, depth=1, num_heads=2, **change)
    slots = SlotAttention(6, 3, iterations=2, num_heads=2, head_dim=5)
    return DEVIAS(backbone, slots, UnifiedHead(6, 5, 4, dropout=0.5))


def run(*terms, stage=None, model=None, size=SIZE, **others):
    losses = {term.name: term for term in terms}
    stage = stage or BatchStage()
    dry_run(model or devias(), losses, SlotMatcher(), stage, size, **others)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_shapes_pass_through_and_the_model_is_left_alone(checkpointing, compiled):
    model, seen = devias(gradient_checkpointing=checkpointing, drop_path_rate=0.5), Seen()
    if compiled:
        model.compile()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random_state = torch.get_rng_state()
    run(seen, model=model, stage=BatchStage(masks=GroundTruthMasks(3)), ground_truth_masks=True)
    assert seen.prediction.logits.shape == (2, 3, 9)
    assert seen.roles.action.shape == (2,)
    assert seen.batch.frame_masks.shape == (2, 2, 8, 12)
    assert seen.batch.clip_mask.shape == (2, 8, 12)
    assert seen.batch.ground_truth_masks.shape == (2, *SIZE)
    torch.testing.assert_close(model.state_dict(), before)
    # A dry run draws nothing, so a run is the same with and without.
    assert torch.equal(torch.get_rng_state(), random_state)


def test_a_batch_holds_what_the_stage_makes():
    bare, erased = Seen(), Seen()
    run(bare)
    assert bare.batch.clip_mask is bare.batch.frame_masks is bare.batch.ground_truth_masks is None
    assert bare.prediction.second_view is None
    run(erased, Consistency(), stage=BatchStage(augment=BackgroundErasing()))
    assert erased.prediction.second_view is not None


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (AttentionGuidance(), "attention_guidance needs frame masks"),
        (Consistency(), "consistency needs a second view"),
        (SceneRecognition("distribution"), "scene_recognition needs scene_logits"),
    ],
)
def test_a_term_that_cannot_be_served_is_refused_by_name(term, message):
    with pytest.raises(LossTermError, match=message):
        run(ActionRecognition(), term)


def test_mixing_without_masks_and_clips_of_another_size_are_refused():
    with pytest.raises(ConfigError, match="mixing needs masks: choose an extractor"):
        run(stage=BatchStage(augment=BackgroundMixing()))
    with pytest.raises(ConfigError, match=r"takes clips \[B, 3, 6, 8, 12\], got"):
        run(size=(4, 8, 12))


def test_masks_that_the_data_does_not_have_are_refused():
    with pytest.raises(ConfigError, match="masks=ground_truth needs data with such masks"):
        run(stage=BatchStage(masks=GroundTruthMasks(3)))


def test_a_term_that_reads_values_is_computed_and_its_shape_errors_are_told():
    run(ReadsValues())

    class Crooked(ReadsValues):
        def __call__(self, prediction, roles, batch):
            return super().__call__(prediction, roles, batch) + (
                prediction.logits @ torch.zeros(2, 2)
            )

    with pytest.raises(LossTermError, match=r"reads_values cannot be computed: .*shapes"):
        run(Crooked())


class Teacher(torch.nn.Module):
    def __init__(self, scenes):
        super().__init__()
        self.layer = torch.nn.Linear(3, scenes)

    def forward(self, images):
        return self.layer(images.mean((2, 3)))


def test_a_scene_model_of_other_classes_than_the_head_is_refused():
    seen = Seen()
    run(seen, stage=BatchStage(scene_teacher=SceneTeacher(Teacher(4), per_frame=True)))
    assert seen.batch.scene_logits.shape == (2, 4)
    with pytest.raises(ConfigError, match="tells 7 scenes apart, the head has 4"):
        run(seen, stage=BatchStage(scene_teacher=SceneTeacher(Teacher(7), per_frame=True)))
