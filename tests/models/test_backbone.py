import math

import pytest
import torch
from torch.nn import functional as F

from devias.models.backbone import VideoViT, interpolate_positions, sincos_positions

TINY = {
    "image_size": (8, 12),
    "num_frames": 6,
    "patch_size": 4,
    "tubelet_size": 3,
    "embed_dim": 10,
    "depth": 3,
    "num_heads": 2,
    "mlp_ratio": 1.5,
}  # grid (2, 2, 3)


def test_shapes_follow_the_arguments():
    model = VideoViT(**TINY, num_tokens=2)
    assert model.grid == (2, 2, 3)
    assert model(torch.randn(5, 3, 6, 8, 12)).shape == (5, 2 + 12, 10)


def test_parameter_names_are_timms():
    names = set(VideoViT(**TINY).state_dict())
    assert {
        "patch_embed.proj.weight",
        "pos_embed",
        "blocks.2.norm1.weight",
        "blocks.2.attn.qkv.bias",
        "blocks.2.attn.proj.weight",
        "blocks.2.norm2.bias",
        "blocks.2.mlp.fc1.weight",
        "blocks.2.mlp.fc2.bias",
        "norm.weight",
    } <= names
    assert len(names) == 2 + 1 + 3 * 12 + 2


def test_tokens_are_time_major_then_rows():
    model = VideoViT(**TINY)
    torch.nn.init.constant_(model.patch_embed.proj.weight, 1 / (3 * 3 * 4 * 4))
    torch.nn.init.zeros_(model.patch_embed.proj.bias)
    numbers = torch.arange(12.0).view(1, 1, 2, 2, 3)
    video = numbers.repeat_interleave(3, 2).repeat_interleave(4, 3).repeat_interleave(4, 4)
    tokens = model.patch_embed(video.expand(1, 3, -1, -1, -1))
    torch.testing.assert_close(tokens[0, :, 0], torch.arange(12.0))


@pytest.mark.parametrize(("num_tokens", "order"), [(0, range(12)), (3, [0, 13, 14, *range(1, 13)])])
def test_positions_are_the_sine_cosine_of_the_flattened_index(num_tokens, order):
    table = sincos_positions((2, 2, 3), 5, num_tokens)
    assert table.shape == (1, 12 + num_tokens, 5)
    for row, index in zip(table[0].tolist(), order, strict=True):
        for channel, value in enumerate(row):
            wave = math.cos if channel % 2 else math.sin
            assert value == pytest.approx(wave(index / 10000 ** ((channel // 2) * 2 / 5)), abs=1e-6)


def test_forward_is_the_textbook_transformer():
    model = VideoViT(**TINY, num_tokens=1).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    video = torch.randn(2, 3, 6, 8, 12)
    p = dict(model.named_parameters())

    def norm(x, name):
        return F.layer_norm(x, (10,), p[f"{name}.weight"], p[f"{name}.bias"], eps=1e-6)

    def linear(x, name):
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    # Unfold into [B, T', h, w, channel, frame, row, column], the kernel's own order last.
    patches = video.unfold(2, 3, 3).unfold(3, 4, 4).unfold(4, 4, 4).permute(0, 2, 3, 4, 1, 5, 6, 7)
    kernel = p["patch_embed.proj.weight"].flatten(1)
    x = patches.reshape(2, 12, -1) @ kernel.T + p["patch_embed.proj.bias"]
    x = torch.cat([p["tokens"].expand(2, -1, -1), x], 1) + model.pos_embed
    for i in range(3):
        block = f"blocks.{i}"
        qkv = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv")
        q, k, v = (t.view(2, 13, 2, 5).transpose(1, 2) for t in qkv.chunk(3, -1))
        mixed = (q @ k.mT / math.sqrt(5)).softmax(-1) @ v
        x = x + linear(mixed.transpose(1, 2).reshape(2, 13, 10), f"{block}.attn.proj")
        hidden = F.gelu(linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1"))
        x = x + linear(hidden, f"{block}.mlp.fc2")
    torch.testing.assert_close(model(video), norm(x, "norm"), rtol=1e-4, atol=1e-5)


def test_drop_path_grows_linearly():
    blocks = VideoViT(**TINY, drop_path_rate=0.4).blocks
    assert [getattr(block.drop_path1, "drop_prob", 0.0) for block in blocks] == pytest.approx(
        [0.0, 0.2, 0.4]
    )


def test_gradient_checkpointing_changes_nothing():
    video = torch.randn(2, 3, 6, 8, 12)
    plain, frugal = VideoViT(**TINY), VideoViT(**TINY, gradient_checkpointing=True)
    frugal.load_state_dict(plain.state_dict())
    for model in (plain, frugal):
        model(video).square().sum().backward()
    for a, b in zip(plain.parameters(), frugal.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_positions_are_kept_but_not_trained():
    model = VideoViT(**TINY)
    assert "pos_embed" in model.state_dict()
    assert "pos_embed" not in dict(model.named_parameters())


def test_interpolation_keeps_a_linear_ramp():
    t, y, x = torch.meshgrid(*(torch.arange(float(n)) for n in (4, 6, 8)), indexing="ij")
    ramp = torch.stack([t, y, x], -1).view(1, -1, 3)
    halved = interpolate_positions(ramp, (4, 6, 8), (2, 3, 4)).view(2, 3, 4, 3)
    # Centres of pairs: (0 + 1) / 2, (2 + 3) / 2, …
    assert halved[:, 0, 0, 0].tolist() == pytest.approx([0.5, 2.5])
    assert halved[0, :, 0, 1].tolist() == pytest.approx([0.5, 2.5, 4.5])
    assert halved[0, 0, :, 2].tolist() == pytest.approx([0.5, 2.5, 4.5, 6.5])
    assert interpolate_positions(ramp, (4, 6, 8), (4, 6, 8)) is ramp


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_frames": 7}, "num_frames 7 is not a multiple of tubelet_size 3"),
        ({"image_size": 10}, "height 10 is not a multiple of patch_size 4"),
        ({"image_size": (8, 13)}, "width 13 is not a multiple of patch_size 4"),
        ({"image_size": 0}, "height 0"),
        ({"num_heads": 3}, "embed_dim 10 is not a multiple of num_heads 3"),
    ],
)
def test_sizes_that_do_not_divide_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        VideoViT(**TINY | change)


@pytest.mark.parametrize("shape", [(1, 3, 6, 12, 8), (1, 3, 3, 8, 12), (3, 6, 8, 12)])
def test_clips_of_another_size_are_refused(shape):
    with pytest.raises(ValueError, match=r"takes clips \[B, 3, 6, 8, 12\], got"):
        VideoViT(**TINY)(torch.randn(shape))
