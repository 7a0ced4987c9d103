"""A new classifier over a trained model's slots."""

import copy

import pytest
import torch
import torch.nn.functional as F

from devias.models.architecture import build, describe
from devias.models.backbone import VideoViT
from devias.models.baselines import TokenViT
from devias.models.devias import DEVIAS
from devias.models.heads import SeparateHeads, UnifiedHead
from devias.models.matching import SlotMatcher
from devias.models.slot_attention import SlotAttention
from devias.models.transfer import SlotClassifier, TransferModel
from devias.structures import Roles
from devias.training.optim import OptimizerSettings, parameter_groups

DIM, ACTIONS = 8, 5
CLIP = (3, 3, 2, 6, 6)


def backbone(**change):
    return VideoViT(6, 2, 3, embed_dim=DIM, depth=2, num_heads=2, **change)


def devias(slots=3):
    return DEVIAS(backbone(), SlotAttention(DIM, slots, num_heads=2, head_dim=3),
                  UnifiedHead(DIM, 4, 3, dropout=0.9))  # fmt: skip


SOURCES = {
    "devias": devias,
    "two_token": lambda: TokenViT(backbone(num_tokens=2), SeparateHeads(DIM, 4, 3)),
    "one_token": lambda: TokenViT(backbone(num_tokens=1), UnifiedHead(DIM, 4, 3)),
    "action_vit": lambda: TokenViT(backbone(final_norm=False), UnifiedHead(DIM, 4, 0), "mean"),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("features", ["action", "scene", "concat", "weighted"])
def test_every_model_can_be_transferred_by_any_of_its_slots(source, features):
    source = SOURCES[source]()
    model = TransferModel(source, SlotClassifier(DIM, ACTIONS, features))
    video = torch.randn(CLIP)
    prediction = model.train()(video)
    assert prediction.logits.shape == (3, 1, ACTIONS)
    assert prediction.scene_logits.shape[-1] == 0
    prediction.logits.square().sum().backward()
    # Distributed training waits for the gradient of every parameter.
    idle = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert idle == set()
    assert {n for n, p in model.named_parameters() if not p.requires_grad} == {
        f"source.head.{name}" for name, _ in source.head.named_parameters()
    }


def test_the_old_head_gives_the_roles_and_its_dropout_none():
    source = devias()
    model = TransferModel(source, SlotClassifier(DIM, ACTIONS, "action")).train()
    video = torch.randn(CLIP)
    old = source.eval()(video)
    roles = SlotMatcher().infer(old)
    feature = model.train()(video).slots[:, 0]
    action = Roles.pick(old.slots, roles.action)
    torch.testing.assert_close(feature, F.layer_norm(action, (DIM,)))
    other = TransferModel(source, SlotClassifier(DIM, ACTIONS, "action"), "fixed")
    torch.testing.assert_close(other(video).slots[:, 0], F.layer_norm(old.slots[:, 0], (DIM,)))


def test_the_released_classifier_by_hand():
    classifier = SlotClassifier(2, 1, projection="half", dropout=0.5).eval()
    # Half of two is one: a layer norm of one value is 0, so the bias alone is left.
    with torch.no_grad():
        classifier.norm_half.bias.fill_(-3.0)
        assert classifier(torch.ones(1, 2), torch.zeros(1, 2))[0].tolist() == [[0.0, 0.0]]  # ReLU
    classifier = SlotClassifier(4, 3, projection="half", input_norm=True).eval()
    action, scene = torch.randn(2, 4), torch.randn(2, 4)
    halves = [
        F.layer_norm(classifier.to_half(slot), (2,)) for slot in (action, scene)
    ]  # one projection for both
    joined = F.layer_norm(torch.cat(halves, 1), (4,)).relu()
    expected = joined @ classifier.fc.weight.T + classifier.fc.bias
    torch.testing.assert_close(classifier(action, scene)[1], expected)
    assert [name for name, _ in classifier.named_parameters()] == [
        "to_half.weight", "to_half.bias", "norm_half.weight", "norm_half.bias",
        "norm_joined.weight", "norm_joined.bias", "fc.weight", "fc.bias",
    ]  # fmt: skip


def test_emphasis_weighs_the_slots():
    action, scene = torch.randn(2, 4), torch.randn(2, 4)
    plain = SlotClassifier(4, 3)(action, scene)[0]
    for emphasis, factors in ((None, (1, 1)), (0.75, (1.5, 0.5)), (1.0, (2, 0))):
        feature = SlotClassifier(4, 3, "weighted", emphasis)(action, scene)[0]
        torch.testing.assert_close(feature[:, :4], factors[0] * plain[:, :4])
        torch.testing.assert_close(feature[:, 4:], factors[1] * plain[:, 4:])
    learnt = SlotClassifier(4, 3, "weighted")
    learnt(action, scene)[1].sum().backward()
    assert learnt.emphasis_logit.grad.abs() > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": "both"}, "features must be one of action, scene, concat, weighted"),
        ({"projection": "third"}, "projection must be one of none, half"),
        ({"emphasis": 0.5}, "emphasis is a share from 0 to 1 for features=weighted"),
        ({"emphasis": 1.5, "features": "weighted"}, "emphasis is a share from 0 to 1"),
        ({"num_actions": 0}, "cannot predict 0 actions"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SlotClassifier(**{"dim": 4, "num_actions": 3, **settings})


def test_a_linear_probe_trains_the_classifier_alone():
    source = DEVIAS(backbone(drop_path_rate=0.9), SlotAttention(DIM, 2, num_heads=2, head_dim=3),
                    UnifiedHead(DIM, 4, 3))  # fmt: skip
    model = TransferModel(source, SlotClassifier(DIM, ACTIONS), linear_probe=True).train()
    before = copy.deepcopy(source.state_dict())
    assert not any(module.training for module in source.modules())
    assert model.classifier.training
    groups = parameter_groups(model, OptimizerSettings())
    trained = [p for group in groups for p in group["params"]]
    assert {id(p) for p in trained} == {id(p) for p in model.classifier.parameters()}
    optimizer = torch.optim.SGD(groups, lr=1.0)
    model(torch.randn(CLIP)).logits.square().sum().backward()
    optimizer.step()
    assert all(torch.equal(before[name], value) for name, value in source.state_dict().items())


def test_layers_keep_their_rates_and_the_classifier_is_the_last():
    model = TransferModel(devias(), SlotClassifier(DIM, ACTIONS, "weighted"))
    settings = OptimizerSettings(layer_decay=0.5, slot_attention_lr_scale=0.1, weight_decay=0.3)
    groups = parameter_groups(model, settings)
    scale = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    source, classifier = model.source, model.classifier
    assert {scale[id(p)] for p in classifier.parameters()} == {1}
    assert scale[id(source.backbone.blocks[1].mlp.fc1.weight)] == 0.5
    assert scale[id(source.backbone.patch_embed.proj.weight)] == 0.125
    assert {scale[id(p)] for p in source.slot_attention.parameters()} == {0.1}
    assert decay[id(classifier.fc.weight)] == 0.3
    assert decay[id(classifier.emphasis_logit)] == decay[id(classifier.norm_action.weight)] == 0
    tokens = TransferModel(SOURCES["two_token"](), SlotClassifier(DIM, ACTIONS))
    groups = parameter_groups(tokens, settings)
    (rate,) = (g["lr_scale"] for g in groups for p in g["params"] if p is tokens.backbone.tokens)
    assert rate == 0.125


def test_it_is_described_and_built_again():
    model = TransferModel(devias(), SlotClassifier(DIM, ACTIONS, "weighted", 0.3), "greedy", True)
    twin = build(describe(model))
    assert describe(twin) == describe(model)
    twin.load_state_dict(model.state_dict())
    video = torch.randn(CLIP)
    torch.testing.assert_close(twin.eval()(video).logits, model.eval()(video).logits)
