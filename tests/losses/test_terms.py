"""Each loss term alone, against values worked out by hand."""

import math

import lightning.pytorch as pl
import pytest
import torch
from torch.nn.functional import cosine_similarity

from devias.errors import ConfigError
from devias.losses import (
    ActionRecognition,
    AttentionGuidance,
    LossTerm,
    MaskPrediction,
    SceneRecognition,
    SlotDiversity,
)
from devias.models.heads import SeparateHeads
from devias.structures import UNKNOWN, ClipBatch, Roles, SlotPrediction

LN2 = math.log(2)


def make_batch(action=(0,), scene=(0,), num_views=1, **fields):
    clips = len(action) * num_views
    return ClipBatch(
        video=torch.zeros(clips, 3, 4, 4, 4),
        action=torch.tensor(action),
        scene=torch.tensor(scene),
        index=torch.arange(len(action)),
        num_views=num_views,
        **fields,
    )


def make_prediction(logits, num_actions, grid=(2, 2, 2), **fields):
    fields.setdefault("slots", torch.ones(*logits.shape[:2], 4))
    return SlotPrediction(logits=logits, num_actions=num_actions, grid=grid, **fields)


def roles(action=(0,), scene=(1,)):
    return Roles(action=torch.tensor(action), scene=torch.tensor(scene))


def test_action_recognition_reads_the_action_slot_over_all_logits():
    # Probabilities over two actions and two scenes; the action slot says action 1 with 1/8.
    probability = torch.tensor([[[0.25, 0.25, 0.25, 0.25], [0.125, 0.125, 0.5, 0.25]]])
    prediction = make_prediction(probability.log(), num_actions=2)
    loss = ActionRecognition()(prediction, roles(action=[1], scene=[0]), make_batch([1]))
    assert loss.item() == pytest.approx(3 * LN2)


@pytest.mark.parametrize(("others", "classes"), [(0.0, 4), (-1e4, 2)])
def test_smoothing_spreads_over_the_classes_of_the_slot(others, classes):
    # Two actions with 1/4 and 3/4 where a head of their own rules scenes out; else 1/4 for all.
    logits = torch.tensor([[[0.0, 0.0 if classes == 4 else math.log(3), others, others]]])
    share = torch.full((4,), 0.25) if classes == 4 else torch.tensor([0.25, 0.75])
    loss = ActionRecognition(smoothing=0.1)(
        make_prediction(logits, num_actions=2), roles([0], [0]), make_batch([1])
    )
    expected = -0.9 * share[1].log() - 0.1 * share.log().mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_smoothing_is_that_of_pytorch_on_a_unified_head_and_forgets_unknown_labels():
    logits, label = torch.randn(3, 1, 5), torch.tensor([1, UNKNOWN, 0])
    loss = ActionRecognition(smoothing=0.3)(
        make_prediction(logits, 2), roles([0] * 3, [0] * 3), make_batch(label.tolist(), [0] * 3)
    )
    expected = torch.nn.functional.cross_entropy(
        logits[:, 0], label, ignore_index=UNKNOWN, label_smoothing=0.3
    )
    torch.testing.assert_close(loss, expected)
    for smoothing in (-0.1, 1.0):
        with pytest.raises(ValueError, match="smoothing must be"):
            ActionRecognition(smoothing)


def test_scene_recognition_counts_scenes_after_the_actions():
    probability = torch.tensor([[[0.25, 0.25, 0.25, 0.25], [0.125, 0.125, 0.5, 0.25]]])
    prediction = make_prediction(probability.log(), num_actions=2)
    loss = SceneRecognition()(prediction, roles(), make_batch(scene=[1]))
    assert loss.item() == pytest.approx(2 * LN2)


@pytest.mark.parametrize("term", [ActionRecognition(), SceneRecognition()])
def test_unknown_labels_do_not_count(term):
    logits = torch.randn(3, 2, 5, requires_grad=True)
    prediction = make_prediction(logits, num_actions=2)
    pair = roles([0, 1, 0], [1, 0, 1])
    label = [1, UNKNOWN, UNKNOWN]
    loss = term(prediction, pair, make_batch(label, label))
    alone = make_prediction(logits[:1], num_actions=2)
    expected = term(alone, roles(), make_batch([1], [1]))
    torch.testing.assert_close(loss, expected)

    none_known = [UNKNOWN] * 3
    loss = term(prediction, pair, make_batch(none_known, none_known))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().sum() == 0


def test_labels_repeat_over_the_views_of_a_video():
    logits = torch.randn(4, 2, 5)
    pair = roles([0, 1, 0, 1], [1, 0, 1, 0])
    views = ActionRecognition()(
        make_prediction(logits, 3), pair, make_batch([0, 2], [0, 1], num_views=2)
    )
    clips = ActionRecognition()(make_prediction(logits, 3), pair, make_batch([0, 0, 2, 2]))
    torch.testing.assert_close(views, clips)


def test_scene_distribution_is_a_divergence_on_the_unified_head():
    # Teacher logits (ln 4, ln 2): the action gets ln 2 − 1, so weights 4, 2, 2/e of 6 + 2/e.
    teacher = torch.tensor([[math.log(4), math.log(2)]])
    share = torch.tensor([2 / math.e, 4, 2]) / (6 + 2 / math.e)
    student = torch.tensor([0.2, 0.5, 0.3])
    divergence = (share * (share / student).log()).sum().item()
    logits = torch.stack([torch.zeros(3), student.log()])[None]
    # The released DEVIAS; its hard assignment; its baselines.
    for scale, mean, factor in ((4000, "classes", 4000 / 3), (4, "clips", 4), (1, "clips", 1)):
        term = SceneRecognition("distribution", scale, mean)
        loss = term(make_prediction(logits, 1), roles(), make_batch(scene_logits=teacher))
        assert loss.item() == pytest.approx(factor * divergence, rel=1e-5)


def test_a_scene_head_of_its_own_is_compared_over_scenes_alone():
    head = SeparateHeads(4, num_actions=3, num_scenes=2)
    logits = head(torch.randn(2, 2, 4))
    teacher = torch.tensor([[0.0, math.log(3)], [5.0, 5.0]])
    share = torch.tensor([[0.25, 0.75], [0.5, 0.5]])
    student = logits[:, 1, 3:].softmax(-1)
    divergence = (share * (share / student).log()).sum(1).mean()
    batch = make_batch([0, 0], [0, 0], scene_logits=teacher)
    loss = SceneRecognition("distribution")(
        make_prediction(logits, 3), roles([0, 0], [1, 1]), batch
    )
    torch.testing.assert_close(loss, divergence)
    loss.backward()
    assert head.scene.weight.grad.isfinite().all()
    assert head.scene.weight.grad.abs().sum() > 0


def test_the_floor_of_the_teacher_is_that_of_the_batch():
    # Only clip 1 holds the least logit; clip 0's floor follows it.
    teacher = torch.tensor([[0.0, 0.0], [0.0, -2.0]])
    share = torch.tensor([[math.exp(-3), 1, 1], [math.exp(-3), 1, math.exp(-2)]])
    share = share / share.sum(1, keepdim=True)
    logits = share.log()[:, None].repeat(1, 2, 1)
    term = SceneRecognition(target="distribution")
    batch = make_batch([0, 0], [UNKNOWN, UNKNOWN], scene_logits=teacher)
    loss = term(make_prediction(logits, 1), roles([0, 0], [1, 1]), batch)
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_mask_prediction_pools_the_clip_mask_to_patches():
    clip_mask = torch.zeros(1, 4, 4)
    clip_mask[0, :2, :2] = 1  # cell 0 is 1
    clip_mask[0, 0, 2] = 1  # cell 1 is ¼
    mask_logits = torch.tensor([[[9.0, 9.0, 9.0, 9.0], [0.0, 0.0, 0.0, math.log(3)]]])
    prediction = make_prediction(torch.zeros(1, 2, 3), 1, mask_logits=mask_logits)
    batch = make_batch(clip_mask=clip_mask)
    loss = MaskPrediction()(prediction, roles([1], [0]), batch)
    # Probabilities ½ ½ ½ ¾ against 1 ¼ 0 0: three times ln 2, once ln 4.
    assert loss.item() == pytest.approx((3 * LN2 + math.log(4)) / 4)

    def entropy(probability, target):
        probability = 1 / (1 + math.exp(-probability))  # the second sigmoid
        return -(target * math.log(probability) + (1 - target) * math.log(1 - probability))

    twice = MaskPrediction(double_sigmoid=True)(prediction, roles([1], [0]), batch)
    expected = entropy(0.5, 1) + entropy(0.5, 0.25) + entropy(0.5, 0) + entropy(0.75, 0)
    assert twice.item() == pytest.approx(expected / 4)


def test_attention_guidance_averages_heads_and_follows_time_then_rows():
    frame_masks = torch.zeros(1, 2, 4, 4)
    frame_masks[0, 1, 2:, :2] = 1  # second tubelet, lower left: token 4 + 2 = 6
    attention = torch.zeros(1, 3, 2, 8)
    attention[0, :, 0, 6] = torch.tensor([0.3, 0.6, 0.9])  # mean 0.6
    attention[0, :, 0, 1] = 0.2
    prediction = make_prediction(torch.zeros(1, 2, 3), 1, attention=attention)
    loss = AttentionGuidance()(prediction, roles(), make_batch(frame_masks=frame_masks))
    assert loss.item() == pytest.approx((0.4**2 + 0.2**2) / 8)


def test_attention_guidance_wants_one_mask_a_tubelet():
    prediction = make_prediction(torch.zeros(1, 2, 3), 1, attention=torch.zeros(1, 1, 2, 8))
    with pytest.raises(ValueError, match="3 frame masks a clip, the model 2"):
        AttentionGuidance()(prediction, roles(), make_batch(frame_masks=torch.zeros(1, 3, 4, 4)))


def test_slot_diversity_is_the_mean_cosine_of_different_slots():
    slots = torch.tensor([[[2.0, 0.0], [3.0, 3.0], [0.0, -1.0]]])
    prediction = make_prediction(torch.zeros(1, 3, 2), 1, slots=slots)
    loss = SlotDiversity()(prediction, roles(), make_batch())
    # cos 45° = √½, cos 90° = 0, cos 135° = −√½
    assert loss.item() == pytest.approx(0, abs=1e-6)
    slots = slots[:, :2].clone().requires_grad_()
    loss = SlotDiversity()(make_prediction(torch.zeros(1, 2, 2), 1, slots=slots), None, None)
    assert loss.item() == pytest.approx(math.sqrt(0.5))
    loss.backward()
    stepped = slots - 0.5 * slots.grad
    assert cosine_similarity(stepped[0, 0], stepped[0, 1], dim=0) < math.sqrt(0.5) - 1e-3


FORMS = ("cosine", "squared", "absolute", "hinge", "covariance")


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("cosine", (0.0 + math.sqrt(0.5) - math.sqrt(0.5)) / 3),
        ("squared", (0.0 + 0.5 + 0.5) / 3),
        ("absolute", (0.0 + math.sqrt(0.5) + math.sqrt(0.5)) / 3),
        ("hinge", math.sqrt(0.5) / 3),
    ],
)
def test_forms_of_slot_diversity_differ_in_what_they_make_of_a_cosine(form, expected):
    slots = torch.tensor([[[2.0, 0.0], [3.0, 3.0], [0.0, -1.0]]])  # cosines √½, 0, −√½
    prediction = make_prediction(torch.zeros(1, 3, 2), 1, slots=slots)
    loss = SlotDiversity(form)(prediction, roles(), make_batch())
    assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("form", "cosine"), [("cosine", -1.0), ("squared", 0.0), ("hinge", 0.0)])
def test_what_slots_come_to_by_descent(form, cosine):
    slots = torch.tensor([[[1.0, 0.1, 0.2], [0.7, 0.9, -0.1]]], requires_grad=True)
    for _ in range(300):
        prediction = make_prediction(torch.zeros(1, 2, 2), 1, slots=slots)
        (grad,) = torch.autograd.grad(SlotDiversity(form)(prediction, roles(), None), slots)
        slots = (slots - 0.1 * grad).detach().requires_grad_()
    found = cosine_similarity(slots[0, 0], slots[0, 1], dim=0).item()
    assert found == pytest.approx(cosine, abs=0.05)


def test_covariance_sees_what_one_slot_tells_of_the_other_whichever_slots_they_are():
    generator = torch.Generator().manual_seed(3)
    a, b = torch.randn(2, 200, 5, generator=generator)
    either = torch.arange(200) % 2

    def covariance(action, scene):
        slots = torch.where(
            either[:, None, None] == 0, torch.stack([action, scene], 1),
            torch.stack([scene, action], 1),
        )  # fmt: skip
        prediction = make_prediction(torch.zeros(200, 2, 2), 1, slots=slots)
        return SlotDiversity("covariance")(prediction, Roles(either, 1 - either), None).item()

    rotation = torch.linalg.qr(torch.randn(5, 5, generator=generator))[0]
    assert covariance(a, 7 + 3 * a @ rotation) == pytest.approx(1, abs=1e-4)
    assert covariance(a, -a) == pytest.approx(1, abs=1e-4)  # a mirror image tells all
    assert covariance(a, b) < 0.05
    assert covariance(a, torch.ones(200, 5)) == 0


def test_the_form_of_slot_diversity_is_one_of_five():
    with pytest.raises(ConfigError, match=r"loss\.slot_diversity\.form must be one of .*hinge"):
        SlotDiversity("cosin")


@pytest.mark.parametrize("form", FORMS)
def test_a_single_slot_is_diverse(form):
    prediction = make_prediction(torch.zeros(2, 1, 3), 1)
    assert SlotDiversity(form)(prediction, None, None).item() == 0


@pytest.mark.parametrize(
    ("term", "lack"),
    [
        (AttentionGuidance(), "attention_guidance needs a model with slot attention"),
        (MaskPrediction(), "mask_prediction needs a model with a mask decoder"),
        (SceneRecognition("distribution"), "scene_recognition needs scene_logits"),
    ],
)
def test_a_missing_ingredient_is_named_with_the_override_that_drops_the_term(term, lack):
    prediction = make_prediction(torch.zeros(1, 2, 3), 1)
    with pytest.raises(ValueError, match=f"{lack}.*; drop it with ~loss.{term.name}"):
        term(prediction, roles(), make_batch())


@pytest.mark.parametrize(
    ("term", "num_actions"), [(ActionRecognition(), 0), (SceneRecognition(), 3)]
)
def test_a_head_without_the_classes_is_refused(term, num_actions):
    with pytest.raises(ValueError, match=f"{term.name} needs a head with"):
        term(make_prediction(torch.zeros(1, 2, 3), num_actions), roles(), make_batch())


def test_an_unknown_target_is_refused():
    with pytest.raises(ValueError, match="label or distribution"):
        SceneRecognition(target="soft")
    with pytest.raises(ValueError, match="mean must be clips or classes"):
        SceneRecognition(mean="batch")


class Counting(LossTerm):
    """A term with state of its own."""

    def __init__(self, name):
        super().__init__(1.0, name)
        self.steps = 0

    def on_train_batch_end(self, *_):
        self.steps += 1

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


def test_two_terms_of_one_class_keep_separate_state(tmp_path):
    class Model(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)
            self.terms = [Counting("first"), Counting("second")]

        def configure_callbacks(self):
            return self.terms

        def training_step(self, batch, _):
            return self.layer(batch).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def trainer():
        return pl.Trainer(
            max_steps=3,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )

    model, fitted = Model(), trainer()
    fitted.fit(model, torch.utils.data.DataLoader(torch.ones(4, 1)))
    model.terms[1].steps = 30
    fitted.save_checkpoint(tmp_path / "last.ckpt")

    resumed = Model()
    trainer().fit(
        resumed, torch.utils.data.DataLoader(torch.ones(4, 1)), ckpt_path=tmp_path / "last.ckpt"
    )
    assert [term.steps for term in resumed.terms] == [3, 30]
