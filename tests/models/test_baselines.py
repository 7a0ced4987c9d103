import pytest
import torch

from devias.models.backbone import VideoViT
from devias.models.baselines import TokenViT
from devias.models.heads import SeparateHeads, UnifiedHead
from devias.models.mask_decoder import MaskDecoder


def backbone(num_tokens, final_norm=True):
    return VideoViT(
        image_size=8,
        num_frames=4,
        patch_size=4,
        embed_dim=6,
        depth=1,
        num_heads=2,
        num_tokens=num_tokens,
        final_norm=final_norm,
    )


@pytest.fixture
def video():
    return torch.randn(3, 3, 4, 8, 8)


@pytest.mark.parametrize("kind", [UnifiedHead, SeparateHeads])
def test_two_tokens_are_two_slots(kind, video):
    model = TokenViT(backbone(2), kind(6, 5, 4))
    prediction = model(video)
    torch.testing.assert_close(prediction.slots, model.backbone(video)[:, :2])
    assert prediction.logits.shape == (3, 2, 9)
    assert prediction.attention is None
    assert prediction.mask_logits is None


def test_one_token_with_a_unified_head_is_one_slot(video):
    prediction = TokenViT(backbone(1), UnifiedHead(6, 5, 4))(video)
    assert prediction.slots.shape == (3, 1, 6)
    assert prediction.logits.shape == (3, 1, 9)


def test_one_token_with_separate_heads_is_read_twice(video):
    model = TokenViT(backbone(1), SeparateHeads(6, 5, 4)).eval()
    prediction = model(video)
    token = model.backbone(video)[:, 0]
    torch.testing.assert_close(prediction.slots, torch.stack([token, token], 1))
    torch.testing.assert_close(prediction.action_logits[:, 0], model.head.action(token))
    torch.testing.assert_close(prediction.scene_logits[:, 1], model.head.scene(token))


def test_mean_pooling_norms_after_the_mean(video):
    model = TokenViT(backbone(0, final_norm=False), UnifiedHead(6, 5, 0), pooling="mean")
    mean = model.backbone(video).mean(1)
    centered = mean - mean.mean(-1, keepdim=True)
    expected = centered / (centered.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    prediction = model(video)
    torch.testing.assert_close(prediction.slots, expected[:, None])
    assert prediction.action_logits.shape == (3, 1, 5)
    assert prediction.scene_logits.shape == (3, 1, 0)


def test_the_mask_decoder_reads_every_token(video):
    decoder = MaskDecoder(6, 4, (3,))
    prediction = TokenViT(backbone(2), UnifiedHead(6, 5, 4), mask_decoder=decoder)(video)
    torch.testing.assert_close(prediction.mask_logits, decoder(prediction.slots))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((backbone(0), UnifiedHead(6, 5, 4)), "'tokens' needs num_tokens >= 1"),
        ((backbone(1, final_norm=False), UnifiedHead(6, 5, 4)), "and final_norm=True"),
        ((backbone(0), UnifiedHead(6, 5, 4), "mean"), "final_norm=False"),
        ((backbone(1, final_norm=False), UnifiedHead(6, 5, 4), "mean"), "num_tokens=0"),
        ((backbone(1), UnifiedHead(6, 5, 4), "max"), "pooling must be .* got 'max'"),
        ((backbone(3), SeparateHeads(6, 5, 4)), "separate heads read 2 tokens, got 3"),
        ((backbone(2), UnifiedHead(7, 5, 4)), "head has dim 7"),
    ],
)
def test_parts_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TokenViT(*arguments)
