import argparse
import json
import subprocess
import sys

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

import devias
from devias import load_model
from devias.models.architecture import describe
from devias.models.backbone import VideoViT
from devias.models.baselines import TokenViT
from devias.models.devias import DEVIAS
from devias.models.heads import SeparateHeads, UnifiedHead
from devias.models.segmentation_decoder import SegmentationDecoder
from devias.models.slot_attention import SlotAttention
from devias.weights.infer import _ratio, load_vit
from devias.weights.read import WeightsError
from devias.weights.write import save_weights
from released_layout import by_formula, devias_shapes, linear, norm, vit_shapes

DIM = 12
VIT = {"dim": DIM, "depth": 2, "patch": 4, "hidden": 20}
SIZE = {"num_frames": 4, "num_heads": 2}  # what so small weights cannot say
CLIP = (2, 3, 4, 8, 8)


def released(rounds=3, slots=2, tied=True):
    shapes = devias_shapes(**VIT, rounds=rounds, slots=slots, classes=9, inner=8, mask=(6, 5, 4))
    return by_formula(shapes, tied)


def vit(*extra):
    shapes = vit_shapes(**VIT)
    for more in extra:
        shapes |= more
    return by_formula(shapes)


def save(tmp_path, state, **beside):
    torch.save({"model": state, **beside}, tmp_path / "x.pth")
    return tmp_path / "x.pth"


@pytest.mark.parametrize(
    ("rounds", "slots", "tied"), [(1, 2, True), (4, 2, True), (3, 5, True), (3, 2, False)]
)
def test_sizes_of_a_released_devias_are_read_from_it(tmp_path, rounds, slots, tied):
    path = save(tmp_path, released(rounds, slots, tied))
    model = load_model(path, num_actions=5, **SIZE)
    assert not model.training
    assert model.backbone.grid == (2, 2, 2)  # the mask has 2 × 2 patches
    description = describe(model)
    assert description["backbone"]["depth"] == 2
    slot_attention = description["slot_attention"]
    assert slot_attention["iterations"] == rounds
    assert slot_attention["num_slots"] == slots
    assert slot_attention["shared"] == tied
    assert slot_attention["num_heads"] * slot_attention["head_dim"] == 8
    assert description["mask_decoder"]["hidden_dims"] == [6, 5]
    prediction = model(torch.randn(CLIP))
    assert prediction.action_logits.shape == (2, slots, 5)
    assert prediction.scene_logits.shape == (2, slots, 4)


def test_one_class_count_settles_the_other(tmp_path):
    path = save(tmp_path, released())
    for counts in ({"num_actions": 5}, {"num_scenes": 4}, {"num_actions": 5, "num_scenes": 4}):
        head = load_model(path, **counts, **SIZE).head
        assert (head.num_actions, head.num_scenes) == (5, 4)


def test_the_released_command_line_is_believed(tmp_path):
    args = argparse.Namespace(nb_classes=6, num_frames=6, input_size=8)
    model = load_model(save(tmp_path, released(), args=args), num_heads=2)
    assert (model.head.num_actions, model.head.num_scenes) == (6, 3)
    assert model.backbone.grid == (3, 2, 2)


def test_compat_settles_the_normalization(tmp_path):
    path = save(tmp_path, released())
    models = {
        compat: load_model(path, 5, 4, compat, **SIZE) for compat in (None, "paper", "official")
    }
    kinds = {
        compat: model.slot_attention.updates[0].key_normalization
        for compat, model in models.items()
    }
    assert kinds == {None: "l1", "paper": "l2", "official": "l1"}
    with pytest.raises(ValueError, match="compat must be 'paper' or 'official', got 'code'"):
        load_model(path, 5, 4, "code")


def test_positions_are_those_of_the_size_told(tmp_path):
    shapes = devias_shapes(DIM, 2, 1, 2, 9, 8, mask=(4,), hidden=20)
    model = load_model(save(tmp_path, by_formula(shapes)), 5, num_heads=2, num_frames=8)
    plain = VideoViT(32, 8, 16, embed_dim=DIM, depth=0, num_heads=2)
    torch.testing.assert_close(model.backbone.pos_embed, plain.pos_embed)


IDLE = {"cls_token": (1, 1, DIM), "scene_token": (1, 1, DIM)}
IDLE |= linear("scene_head", 4, DIM) | norm("fc_norm", DIM) | linear("fusion_head", 3, 2 * DIM)


def test_what_the_released_devias_holds_but_does_not_run_is_ignored(tmp_path, caplog):
    caplog.set_level("INFO")
    clip = torch.randn(CLIP)
    plain = load_model(save(tmp_path, released()), 5, 4, "official", **SIZE)(clip)
    path = save(tmp_path, released() | by_formula(IDLE))
    model = load_model(path, 5, 4, "official", **SIZE)
    assert "norm" in dict(model.backbone.named_modules())
    torch.testing.assert_close(model(clip).logits, plain.logits, rtol=0, atol=0)
    assert "8 ignored" in caplog.text


def test_a_norm_before_the_tokens_makes_a_pooled_one_idle(tmp_path):
    shapes = [norm("norm", DIM), TOKENS, linear("head", 7, DIM)]
    clip, arguments = torch.randn(CLIP), {"num_actions": 3, "image_size": 8, **SIZE}
    plain = load_model(save(tmp_path, vit(*shapes)), **arguments)(clip)
    idle = load_model(save(tmp_path, vit(*shapes, norm("fc_norm", DIM))), **arguments)(clip)
    torch.testing.assert_close(idle.logits, plain.logits, rtol=0, atol=0)


TOKENS = {"cls_token": (1, 1, DIM), "scene_token": (1, 1, DIM)}


@pytest.mark.parametrize(
    ("extra", "told", "counts", "slots"),
    [
        # A class token without further word is the scene model's; pooled patches an action model's.
        ([norm("norm", DIM), {"cls_token": (1, 1, DIM)}, linear("head", 7, DIM)], {}, (0, 7), 1),
        ([norm("fc_norm", DIM), linear("head", 7, DIM)], {}, (7, 0), 1),
        # Told both counts, the one that fits.
        ([norm("fc_norm", DIM), linear("head", 7, DIM)], {"a": 5, "s": 7}, (0, 7), 1),
        ([norm("fc_norm", DIM), linear("head", 7, DIM)], {"a": 7, "s": 9}, (7, 0), 1),
        ([norm("fc_norm", DIM), linear("head", 7, DIM)], {"a": 3, "s": 4}, (3, 4), 1),
        # Two tokens, one head; two tokens, two heads; one pooled token, two heads.
        ([norm("norm", DIM), TOKENS, linear("head", 7, DIM)], {"a": 3}, (3, 4), 2),
        (
            [norm("norm", DIM), TOKENS, linear("head", 3, DIM), linear("scene_head", 4, DIM)],
            {},
            (3, 4),
            2,
        ),
        (
            [norm("fc_norm", DIM), linear("head", 3, DIM), linear("scene_head", 4, DIM)],
            {},
            (3, 4),
            2,
        ),
    ],
)
def test_baselines_and_the_scene_model(tmp_path, extra, told, counts, slots):
    path = save(tmp_path, vit(*extra))
    model = load_model(path, told.get("a"), told.get("s"), image_size=8, **SIZE)
    assert (model.head.num_actions, model.head.num_scenes) == counts
    prediction = model(torch.randn(CLIP))
    assert prediction.logits.shape == (2, slots, sum(counts))


def test_an_image_vit_reads_clips(tmp_path):
    theirs = timm.models.VisionTransformer(
        img_size=16, patch_size=4, embed_dim=DIM, depth=1, num_heads=2, num_classes=7
    ).eval()
    model = load_model(save(tmp_path, theirs.state_dict()), num_heads=2, num_frames=2)
    image = torch.randn(2, 3, 16, 16)
    still = image[:, :, None].expand(-1, -1, 2, -1, -1)
    torch.testing.assert_close(model(still).scene_logits[:, 0], theirs(image))


def test_a_hugging_face_folder_says_all(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.VideoMAEConfig(
        image_size=8,
        patch_size=4,
        num_frames=4,
        hidden_size=DIM,
        num_hidden_layers=1,
        num_attention_heads=3,
        intermediate_size=20,
        num_labels=7,
    )
    theirs = transformers.VideoMAEForVideoClassification(config).eval()
    theirs.save_pretrained(tmp_path)
    video = torch.randn(CLIP)
    expected = theirs(video.transpose(1, 2)).logits
    logits = load_model(tmp_path)(video).action_logits[:, 0]
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)


def test_weights_without_a_head_become_a_new_devias(tmp_path, caplog):
    path = save(tmp_path, vit(norm("norm", DIM)))
    model = load_model(path, 5, 4, image_size=8, **SIZE)
    assert isinstance(model, DEVIAS)
    assert model(torch.randn(CLIP)).mask_logits.shape == (2, 2, 4)
    assert "new: backbone (1), slot_attention" in caplog.text
    torch.testing.assert_close(model.backbone.norm.weight, vit(norm("norm", DIM))["norm.weight"])


@pytest.mark.parametrize(("dim", "heads"), [(128, 2), (1280, 16)])
def test_heads_follow_the_width(tmp_path, dim, heads):
    shapes = vit_shapes(dim, 1, patch=2, hidden=3) | norm("fc_norm", dim) | linear("head", 2, dim)
    state = {name: torch.zeros(shape) for name, shape in shapes.items()}
    model = load_model(save(tmp_path, state), image_size=4, num_frames=2)
    assert model.backbone.blocks[0].attn.num_heads == heads


@given(st.integers(1, 3000), st.integers(1, 12000))
def test_mlp_ratio_gives_the_hidden_width_back(dim, hidden):
    assert int(dim * _ratio(hidden, dim)) == hidden


MEAN = [norm("fc_norm", DIM), linear("head", 7, DIM)]


@pytest.mark.parametrize(
    ("state", "arguments", "message"),
    [
        (released(), SIZE, "its head has 9 classes in all: give num_actions or num_scenes"),
        (released(), {"num_actions": 10, **SIZE}, "9 classes in all, not 10 actions"),
        (released(), {"num_actions": 5, "num_scenes": 5, **SIZE}, "not 5 actions . 5 scenes"),
        (released(), {"num_actions": 5, "num_frames": 4}, "the width 12 .* give num_heads"),
        (released(), {"num_actions": 5, "num_heads": 2}, "on what clips .* give num_frames"),
        (vit(*MEAN), SIZE, "on what clips .* give image_size"),
        (vit(*MEAN), {"num_actions": 8, "image_size": 8, **SIZE}, "its head has 7 classes; told"),
        (vit(), {"image_size": 8, **SIZE}, "hold no head: give num_actions and num_scenes"),
        (
            vit(norm("norm", DIM), TOKENS, linear("head", 3, DIM), linear("scene_head", 4, DIM)),
            {"num_actions": 5, "image_size": 8, **SIZE},
            "3 action and 4 scene classes, not 5 and None",
        ),
    ],
)
def test_what_is_wrong_or_must_be_told(tmp_path, state, arguments, message):
    with pytest.raises(WeightsError, match=rf"x\.pth.*{message}"):
        load_model(save(tmp_path, state), **arguments)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("blocks.0.mlp.fc1.weight", "backbone.blocks.0.mlp.fc1.weight is missing"),
        ("blocks.0.", "backbone.blocks.0.mlp.fc1.weight is missing"),
        ("blocks.1.attn.q_bias", "blocks.1.attn.q_bias is missing"),
        ("blocks.0.attn.v_bias", "blocks.0.attn.v_bias is missing"),
        ("norm.weight", "lacks backbone.norm.weight"),
        ("agg_block.latents", "slot_attention.slots is missing"),
        ("agg_block.layers.1.", "round 1 of its slot attention lacks norm_tokens.1.bias"),
        ("agg_block.layers.2.0.norm.bias", "round 2 .* lacks updates.2.norm_slots.bias"),
        ("agg_block.last_layer.0.weight", "slot_attention: norm.weight is missing"),
        ("mask_predictor.decoder.2.bias", "mask_decoder: layers.2.bias is missing"),
        ("head.weight", "head.fc.weight is missing"),
        ("head.bias", "head: fc.bias is missing"),
        ("head.", "they have slots but no linear head over them; found was none"),
    ],
)
def test_a_released_devias_that_lacks_a_part_is_refused(tmp_path, missing, message, tied):
    state = {k: v for k, v in released(tied=tied).items() if not k.startswith(missing)}
    with pytest.raises(WeightsError, match=rf"x\.pth.*{message}"):
        load_model(save(tmp_path, state), 5, 4, **SIZE)


def test_another_kind_of_head_is_refused_by_its_name(tmp_path):
    state = {k: v for k, v in released().items() if not k.startswith("head.")}
    state |= by_formula(linear("head.fc1", 8, DIM) | linear("head.fc2", 9, 8))
    with pytest.raises(WeightsError, match=r"no linear head over them; found was head\.fc1"):
        load_model(save(tmp_path, state), 5, 4, **SIZE)


def our_devias():
    backbone = VideoViT((8, 12), 4, 4, embed_dim=6, depth=1, num_heads=2)
    slots = SlotAttention(6, 3, iterations=5, num_heads=2, head_dim=5, softmax_axis="keys")
    return DEVIAS(backbone, slots, UnifiedHead(6, 5, 4)).eval()


def our_two_token():
    backbone = VideoViT((8, 12), 4, 4, embed_dim=6, depth=1, num_heads=2, num_tokens=2)
    return TokenViT(backbone, SeparateHeads(6, 5, 4)).eval()


@pytest.mark.parametrize("make", [our_devias, our_two_token])
@pytest.mark.parametrize("kind", ["safetensors", "lightning"])
def test_our_own_files_need_no_word(tmp_path, make, kind):
    model = make()
    torch.nn.init.normal_(model.backbone.pos_embed)
    path = tmp_path / "model"
    if kind == "safetensors":
        save_weights(model, path)
    else:
        state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        torch.save({"state_dict": state, "architecture": describe(model)}, path)
    video = torch.randn(2, 3, 4, 8, 12)
    twin = load_model(path)
    torch.testing.assert_close(twin(video).logits, model(video).logits, rtol=0, atol=0)
    with pytest.raises(WeightsError, match="num_actions is 5, not 6"):
        load_model(path, num_actions=6)


def test_our_own_backbone_becomes_a_new_devias(tmp_path):
    backbone = our_devias().backbone
    save_weights(backbone, tmp_path / "x.safetensors")
    model = load_model(tmp_path / "x.safetensors", 5, 4)
    torch.testing.assert_close(model.backbone.state_dict(), backbone.state_dict())


def recursive():
    description = {"type": "DEVIAS"}
    description["backbone"] = description
    return description


@pytest.mark.parametrize("load", [load_model, load_vit])
@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({}, "unknown model type None"),
        ({"type": "X"}, "unknown model type 'X'"),
        ({"type": ["VideoViT"]}, "unknown model type"),
        ({"type": "VideoViT", "depht": 3}, "VideoViT: it takes no depht"),
        ({"type": "VideoViT", "depth": 10**9}, "VideoViT.depth must be between 0 and 1000"),
        ({"type": "VideoViT", "embed_dim": -12}, "VideoViT.embed_dim must be between"),
        ({"type": "VideoViT", "embed_dim": "x"}, "cannot build a VideoViT"),
        ({"type": "VideoViT", "embed_dim": {"type": "VideoViT"}}, "cannot build a VideoViT"),
        ({"type": "VideoViT", "num_heads": 0}, "cannot build a VideoViT"),
        ({"type": "VideoViT", "image_size": [8]}, "cannot build a VideoViT"),
        ({"type": "VideoViT", "image_size": [[8]]}, "VideoViT.image_size cannot hold a list"),
        ({"type": "VideoViT", "image_size": 2**19, "num_frames": 2**19}, "describes"),
        ({"type": "SlotAttention", "dim": 6}, "describes a SlotAttention, no whole model"),
        (
            {"type": "DEVIAS", "backbone": 3, "slot_attention": 3, "head": 3},
            "cannot build a DEVIAS",
        ),
        (recursive(), "backbone must be a plain value"),
    ],
)
def test_descriptions_of_no_model(tmp_path, load, architecture, message):
    state = our_devias().state_dict()
    torch.save({"state_dict": state, "architecture": architecture}, tmp_path / "x.ckpt")
    with pytest.raises(WeightsError, match=rf"x\.ckpt.*{message}"):
        load(tmp_path / "x.ckpt")


def test_a_description_of_a_far_larger_model_takes_no_memory(tmp_path):
    described = {"type": "VideoViT", "embed_dim": 12 * 2**16}  # 350 terabytes
    state = our_devias().backbone.state_dict()
    torch.save({"state_dict": state, "architecture": described}, tmp_path / "x.ckpt")
    message = r"x\.ckpt .*: of \d+ bytes, they describe a model of \d{15}"
    with pytest.raises(WeightsError, match=message):
        load_vit(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"num_frames": "16"}, "num_frames"),
        ({"image_size": [8, 8]}, "image_size"),
        ({"num_frames": True}, "num_frames"),
        ({"num_frames": 10**9, "image_size": 10**9}, "num_frames 1000000000 and image_size"),
        ({"num_frames": 4, "image_size": 8, "num_attention_heads": {}}, "num_attention_heads"),
    ],
)
def test_settings_of_the_wrong_type(tmp_path, settings, key):
    path = save(tmp_path, vit(*MEAN), args=argparse.Namespace(**settings))
    with pytest.raises(WeightsError, match=rf"x\.pth.* {key}"):
        load_model(path)


@pytest.mark.parametrize("kind", ["safetensors", "lightning"])
def test_files_that_know_a_part_by_its_former_name(tmp_path, kind):
    """The segmentation decoder was called a silhouette decoder."""
    backbone = VideoViT(8, 4, 4, embed_dim=6, depth=1, num_heads=2, num_tokens=1)
    decoder = SegmentationDecoder(6)
    model = TokenViT(backbone, UnifiedHead(6, 5, 0), segmentation_decoder=decoder).eval()
    state = {k.replace("segmentation_", "silhouette_"): t for k, t in model.state_dict().items()}
    description = describe(model)
    decoder = description.pop("segmentation_decoder") | {"type": "SilhouetteDecoder"}
    description["silhouette_decoder"] = decoder
    if kind == "safetensors":
        save_file(state, tmp_path / "x", metadata={"architecture": json.dumps(description)})
    else:
        state = {f"model.{name}": tensor for name, tensor in state.items()}
        torch.save({"state_dict": state, "architecture": description}, tmp_path / "x")
    twin = load_model(tmp_path / "x")
    torch.testing.assert_close(twin.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert load_vit(tmp_path / "x").grid == (2, 2, 2)


def test_shared_rounds_of_unknown_number_are_refused(tmp_path):
    torch.save(our_devias().state_dict(), tmp_path / "x.pth")
    with pytest.raises(WeightsError, match="do not say how many rounds of slot attention"):
        load_model(tmp_path / "x.pth", 5, 4, image_size=8, num_frames=4, num_heads=2)


def test_import_is_light():
    code = "import sys, devias; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert devias.load_model is load_model
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        devias.nothing  # noqa: B018
