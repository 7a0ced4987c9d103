import pytest
import torch
from timm.optim import param_groups_layer_decay

from devias.models.backbone import VideoViT
from devias.models.baselines import TokenViT
from devias.models.devias import DEVIAS
from devias.models.heads import SeparateHeads, UnifiedHead
from devias.models.mask_decoder import MaskDecoder
from devias.models.slot_attention import SlotAttention


def backbone(**change):
    arguments = {
        "image_size": (8, 12),
        "num_frames": 4,
        "patch_size": 4,
        "embed_dim": 6,
        "depth": 3,
        "num_heads": 2,
    }
    return VideoViT(**arguments | change)  # grid (2, 2, 3)


def devias(num_slots=3, **change):
    parts = {
        "backbone": backbone(),
        "slot_attention": SlotAttention(6, num_slots, iterations=2, num_heads=2, head_dim=5),
        "head": UnifiedHead(6, 5, 4),
        "mask_decoder": MaskDecoder(6, 6, (8,)),
    }
    return DEVIAS(**parts | change)


VIDEO = (2, 3, 4, 8, 12)


def test_prediction_holds_every_slot():
    prediction = devias()(torch.randn(VIDEO))
    assert prediction.slots.shape == (2, 3, 6)
    assert prediction.action_logits.shape == (2, 3, 5)
    assert prediction.scene_logits.shape == (2, 3, 4)
    assert prediction.attention.shape == (2, 2, 3, 12)
    assert prediction.mask_logits.shape == (2, 3, 6)
    assert prediction.grid == (2, 2, 3)


def test_head_and_decoder_read_the_slots():
    model = devias().eval()
    prediction = model(torch.randn(VIDEO))
    torch.testing.assert_close(prediction.logits, model.head(prediction.slots))
    torch.testing.assert_close(prediction.mask_logits, model.mask_decoder(prediction.slots))


def test_the_mask_decoder_may_be_left_out():
    assert devias(mask_decoder=None)(torch.randn(VIDEO)).mask_logits is None


def test_clips_do_not_see_each_other():
    model, video = devias().eval(), torch.randn(VIDEO)
    torch.testing.assert_close(model(video).logits[1:], model(video[1:]).logits)


def test_every_parameter_is_trained():
    model = devias()
    prediction = model(torch.randn(VIDEO))
    loss = prediction.logits.square().sum() + prediction.mask_logits.square().sum()
    loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": UnifiedHead(7, 5, 4)}, "head has dim 7, but the backbone's embed_dim is 6"),
        ({"mask_decoder": MaskDecoder(5, 6)}, "mask_decoder has dim 5"),
        ({"slot_attention": SlotAttention(8, head_dim=3)}, "slot_attention has dim 8"),
        ({"head": SeparateHeads(6, 5, 4)}, "separate heads need 2 slots, got 3"),
        ({"backbone": backbone(num_tokens=1)}, "set the backbone's num_tokens 0"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        devias(**change)


def two_token():
    return TokenViT(backbone(num_tokens=2), UnifiedHead(6, 5, 4))


@pytest.mark.parametrize("build", [devias, two_token])
def test_layer_decay_follows_depth(build):
    model = build()
    groups = param_groups_layer_decay(
        model, 0.05, no_weight_decay_list=model.no_weight_decay(), layer_decay=0.5
    )
    names = {id(p): name for name, p in model.named_parameters()}
    seen = {}
    for group in groups:
        for parameter in group["params"]:
            seen[names[id(parameter)]] = (group["lr_scale"], group["weight_decay"])
    assert set(seen) == set(names.values())
    for name, (scale, weight_decay) in seen.items():
        # 3 blocks: the embedding is 4 layers below the last, block i is 3 - i below.
        if name.startswith("backbone.blocks."):
            expected = 0.5 ** (3 - int(name.split(".")[2]))
        elif name.startswith(("backbone.patch_embed", "backbone.tokens")):
            expected = 0.5**4
        else:
            expected = 1.0
        assert scale == pytest.approx(expected), name
        decays = model.get_parameter(name).ndim > 1 and name != "backbone.tokens"
        assert weight_decay == (0.05 if decays else 0.0), name
