import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from devias.errors import ConfigError
from devias.models.backbone import VideoViT
from devias.models.devias import DEVIAS
from devias.models.heads import UnifiedHead
from devias.models.slot_attention import SlotAttention
from devias.training.optim import (
    OptimizerSettings,
    build_optimizer,
    cosine_with_warmup,
    parameter_groups,
    split_global_batch,
)


def tiny_model():
    backbone = VideoViT(image_size=6, num_frames=2, patch_size=3, embed_dim=8, depth=2, num_heads=2)
    return DEVIAS(
        backbone,
        SlotAttention(8, num_heads=2, head_dim=3),
        UnifiedHead(8, num_actions=3, num_scenes=2),
    )


def test_each_parameter_is_in_one_group_with_the_scale_of_its_layer():
    model = tiny_model()
    settings = OptimizerSettings(layer_decay=0.5, slot_attention_lr_scale=0.1, weight_decay=0.3)
    scale, decay = {}, {}
    for group in parameter_groups(model, settings):
        for parameter in group["params"]:
            assert id(parameter) not in scale
            scale[id(parameter)] = group["lr_scale"]
            decay[id(parameter)] = group["weight_decay"]
    assert len(scale) == len(list(model.parameters()))
    # Layers from the top: head and slots 0.5⁰, block 1 0.5¹, block 0 0.5², embedding 0.5³.
    assert scale[id(model.head.fc.weight)] == 1
    assert scale[id(model.backbone.blocks[1].mlp.fc1.weight)] == 0.5
    assert scale[id(model.backbone.blocks[0].attn.qkv.weight)] == 0.25
    assert scale[id(model.backbone.patch_embed.proj.weight)] == 0.125
    assert {scale[id(p)] for p in model.slot_attention.parameters()} == {0.1}
    assert decay[id(model.head.fc.weight)] == 0.3
    assert decay[id(model.head.fc.bias)] == decay[id(model.backbone.norm.weight)] == 0


def test_schedule_by_hand():
    values = [cosine_with_warmup(step, 2, 7, start=0.1, end=0.2) for step in range(7)]
    # Warm-up 0.1 → 1 in two steps; then half a cosine from 1 to 0.2 over steps 2 … 6.
    expected = [0.1, 0.55, *(0.6 + 0.4 * math.cos(math.pi * k / 4) for k in range(5))]
    assert values == pytest.approx(expected)


@given(
    warmup=st.integers(0, 30),
    total=st.integers(1, 100),
    start=st.floats(0, 1),
    end=st.floats(0, 1),
)
def test_schedule_stays_between_its_ends(warmup, total, start, end):
    values = [cosine_with_warmup(step, warmup, total, start, end) for step in range(total + 5)]
    assert all(min(start, end) - 1e-9 <= value <= 1 + 1e-9 for value in values)
    tail = values[warmup:]
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(tail))


def test_rates_scale_with_the_global_batch():
    model = tiny_model()
    settings = OptimizerSettings(base_lr=1e-3, warmup_epochs=0.5, layer_decay=1.0, min_lr=1e-4)
    optimizer, schedule = build_optimizer(
        model, settings, global_batch=512, steps_per_epoch=4, total_steps=8
    )
    rates = []
    for _ in range(8):
        rates.append(max(group["lr"] for group in optimizer.param_groups))
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(2e-8)  # warm-up starts at warmup_lr · 512/256
    assert rates[2] == pytest.approx(2e-3)  # after half an epoch of 4 steps
    assert rates[7] == pytest.approx(2e-4)


@given(per_device=st.integers(1, 40), devices=st.integers(1, 16), limit=st.integers(1, 40))
def test_global_batch_is_shared_exactly(per_device, devices, limit):
    size, accumulation = split_global_batch(per_device * devices, devices, limit)
    assert size * accumulation * devices == per_device * devices
    assert size <= limit


@given(per_device=st.integers(1, 9), devices=st.integers(1, 5), steps=st.integers(1, 7))
def test_given_steps_settle_the_per_device_batch(per_device, devices, steps):
    whole = per_device * devices * steps
    assert split_global_batch(whole, devices, 1, steps) == (per_device, steps)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((96, 7, 12), "global_batch=96 cannot be shared evenly by 7 devices"),
        ((96, 2, 12, 5), "by 2 devices in trainer.accumulate_grad_batches=5 steps"),
        ((0, 1, 12), "global_batch=0 must be at least 1"),
        ((96, 1, 0), "max_batch_per_device=0 must be at least 1"),
        ((96, 1, 12, 0), "trainer.accumulate_grad_batches=0 must be at least 1"),
    ],
)
def test_global_batch_that_cannot_be_shared(arguments, message):
    with pytest.raises(ConfigError, match=message):
        split_global_batch(*arguments)


def test_settings_refuse_unknown_keys():
    with pytest.raises(TypeError, match="bse_lr"):
        OptimizerSettings(bse_lr=1.0)


def test_frozen_parameters_are_left_out():
    model = tiny_model()
    model.backbone.requires_grad_(False)
    groups = parameter_groups(model, OptimizerSettings())
    assert all(parameter.requires_grad for group in groups for parameter in group["params"])
    assert torch.tensor([len(group["params"]) for group in groups]).sum() > 0
