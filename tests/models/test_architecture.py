import json

import pytest
import torch
from torch import nn

from devias.models.architecture import build, describe
from devias.models.backbone import VideoViT
from devias.models.baselines import TokenViT
from devias.models.devias import DEVIAS
from devias.models.heads import SeparateHeads, UnifiedHead
from devias.models.mask_decoder import MaskDecoder
from devias.models.slot_attention import SlotAttention


def backbone(**change):
    return VideoViT((8, 12), 4, 4, embed_dim=6, depth=1, num_heads=2, **change)


@pytest.mark.parametrize(
    "model",
    [
        DEVIAS(
            backbone(),
            SlotAttention(6, 3, iterations=2, head_dim=5, softmax_axis="keys"),
            UnifiedHead(6, 5, 4, dropout=0.5),
            MaskDecoder(6, 6, hidden_dims=(7,)),
        ),
        TokenViT(backbone(num_tokens=2), SeparateHeads(6, 5, 4)),
        TokenViT(backbone(final_norm=False), UnifiedHead(6, 5, 0), pooling="mean"),
    ],
)
def test_a_described_model_is_built_again(model):
    description = json.loads(json.dumps(describe(model)))
    twin = build(description)
    assert describe(twin) == description
    twin.load_state_dict(model.state_dict())
    video = torch.randn(2, 3, 4, 8, 12)
    torch.testing.assert_close(twin.eval()(video).logits, model.eval()(video).logits)


def test_defaults_and_sequences_are_spelt_out():
    description = describe(MaskDecoder(6, output=4))
    expected = {"type": "MaskDecoder", "dim": 6, "output": 4, "hidden_dims": [512, 256]}
    assert description == expected


def test_a_replaced_part_is_described_as_it_is():
    model = TokenViT(backbone(num_tokens=1), UnifiedHead(6, 5, 4))
    model.head = UnifiedHead(6, 2, 3)
    assert describe(model)["head"]["num_actions"] == 2


def test_only_this_packages_models_are_described_and_built():
    with pytest.raises(TypeError, match="Linear is not a model of this package"):
        describe(nn.Linear(2, 3))
    with pytest.raises(ValueError, match=r"unknown model type 'os.system'; known are DEVIAS"):
        build({"type": "os.system", "command": "true"})
    with pytest.raises(ValueError, match=r"cannot build a MaskDecoder: .*depth"):
        build({"type": "MaskDecoder", "dim": 6, "output": 4, "depth": 2})
