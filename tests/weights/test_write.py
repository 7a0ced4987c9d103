import os

import pytest
import torch
from safetensors.torch import load_file

from devias import load_model
from devias.models.backbone import VideoViT
from devias.models.baselines import TokenViT
from devias.models.devias import DEVIAS
from devias.models.heads import SeparateHeads, UnifiedHead
from devias.models.mask_decoder import MaskDecoder, PixelDecoder
from devias.models.slot_attention import SlotAttention
from devias.weights.write import released_state, save_description, save_released, save_weights
from released_layout import by_formula, devias_shapes, linear, norm, vit_shapes

DIM = 12
VIT = {"dim": DIM, "depth": 2, "patch": 4, "hidden": 20}
SIZE = {"num_frames": 4, "num_heads": 2, "image_size": 8}


def tokens(count):
    names = ("cls_token", "scene_token")[:count]
    return dict.fromkeys(names, (1, 1, DIM)) | norm("norm", DIM)


RELEASES = {
    "tied": (devias_shapes(**VIT, rounds=3, slots=2, classes=9, inner=8, mask=(6, 4)), True),
    "untied": (devias_shapes(**VIT, rounds=3, slots=4, classes=9, inner=8, mask=(6, 4)), False),
    "two-token": (vit_shapes(**VIT) | tokens(2) | linear("head", 9, DIM), True),
    "two heads": (
        vit_shapes(**VIT) | tokens(2) | linear("head", 5, DIM) | linear("scene_head", 4, DIM),
        True,
    ),
    "scene model": (vit_shapes(**VIT) | tokens(1) | linear("head", 4, DIM), True),
    "action ViT": (vit_shapes(**VIT) | norm("fc_norm", DIM) | linear("head", 5, DIM), True),
}


@pytest.mark.parametrize("kind", RELEASES)
def test_released_weights_come_back_as_they_were(tmp_path, kind):
    shapes, tied = RELEASES[kind]
    state = by_formula(shapes, tied)
    torch.save({"model": state}, tmp_path / "x.pth")
    back = released_state(load_model(tmp_path / "x.pth", 5, 4, **SIZE))
    assert back.keys() == state.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(back[name], tensor, rtol=0, atol=0, msg=name)


def test_key_biases_may_be_dropped(tmp_path):
    """The released layout has none; scores of one query shift together, the softmax does not."""
    backbone = VideoViT(8, 4, 4, embed_dim=DIM, depth=2, num_heads=2)
    slots = SlotAttention(DIM, head_dim=2, key_normalization="l1")
    model = DEVIAS(backbone, slots, UnifiedHead(DIM, 5, 4)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    torch.save({"model": released_state(model)}, tmp_path / "x.pth")
    twin = load_model(tmp_path / "x.pth", 5, 4, **SIZE)
    video = torch.randn(2, 3, 4, 8, 8)
    torch.testing.assert_close(twin(video).logits, model(video).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("slots", "change", "message"),
    [
        ({"key_normalization": "l2"}, {}, "key_normalization is 'l2', not 'l1'"),
        ({"softmax_axis": "keys"}, {}, "softmax_axis is 'keys'"),
        ({"num_heads": 2}, {}, "slot attention has 2 heads, not 4"),
        ({}, {"pos_embed": 1.0}, "its positions are not the sine-cosine ones"),
    ],
)
def test_what_the_released_code_cannot_compute_is_refused(slots, change, message):
    backbone = VideoViT(8, 4, 4, embed_dim=DIM, depth=1, num_heads=2)
    slots = SlotAttention(DIM, head_dim=2, **{"key_normalization": "l1"} | slots)
    model = DEVIAS(backbone, slots, UnifiedHead(DIM, 5, 4))
    backbone.pos_embed += change.get("pos_embed", 0.0)
    with pytest.raises(ValueError, match=f"cannot compute this model: {message}"):
        released_state(model)


@pytest.mark.parametrize(
    ("decoder", "message"),
    [(MaskDecoder(DIM, 4), "its tokens have a mask"), (PixelDecoder(DIM, 4), "it decodes pixels")],
)
def test_decoders_the_released_code_lacks(decoder, message):
    backbone = VideoViT(8, 4, 4, embed_dim=DIM, depth=1, num_heads=2, num_tokens=2)
    with pytest.raises(ValueError, match=message):
        released_state(TokenViT(backbone, UnifiedHead(DIM, 5, 4), mask_decoder=decoder))


def test_three_tokens_have_no_released_name():
    backbone = VideoViT(8, 4, 4, embed_dim=DIM, depth=1, num_heads=2, num_tokens=3)
    with pytest.raises(ValueError, match="it has 3 extra tokens"):
        released_state(TokenViT(backbone, UnifiedHead(DIM, 5, 4)))


@pytest.mark.parametrize("save", [save_weights, save_released, save_description])
def test_files_are_readable_as_the_umask_says(tmp_path, save):
    backbone = VideoViT(8, 4, 4, embed_dim=DIM, depth=1, num_heads=2, num_tokens=2)
    before = os.umask(0o022)
    try:
        save(TokenViT(backbone, SeparateHeads(DIM, 5, 4)), tmp_path / "x")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644


def test_files_appear_whole(tmp_path):
    backbone = VideoViT(8, 4, 4, embed_dim=DIM, depth=1, num_heads=2, num_tokens=2)
    model = TokenViT(backbone, SeparateHeads(DIM, 5, 4))
    path = tmp_path / "new" / "x.safetensors"
    save_weights(model, path)
    assert [file.name for file in path.parent.iterdir()] == ["x.safetensors"]
    torch.testing.assert_close(load_file(path), dict(model.state_dict()))
