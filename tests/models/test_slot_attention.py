import itertools

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from devias.models.slot_attention import SlotAttention


def naive(module, tokens, axis, normalization, heads, head_dim):
    """Slot attention as published: keys and values formed, one head and iteration at a time."""
    slots = module.slots.unsqueeze(0).repeat(len(tokens), 1, 1)
    for i in range(module.iterations):
        j = 0 if module.shared else i
        update = module.updates[j]
        context, query = module.norm_tokens[j](tokens), update.norm_slots(slots)
        mixed, attentions = [], []
        for head in range(heads):
            rows = slice(head * head_dim, (head + 1) * head_dim)
            q = query @ update.to_q.weight[rows].T
            k = context @ update.to_k.weight[rows].T
            v = context @ update.to_v.weight[rows].T
            logits = (k @ q.mT) / head_dim**0.5  # [B, N, K]
            a = F.softmax(logits, dim=2 if axis == "slots" else 1)
            scale = {
                "l1": a.abs().sum(1, keepdim=True),
                "l2": a.square().sum(1, keepdim=True).sqrt(),
                "none": torch.ones(()),
            }[normalization]
            mixed.append((a / scale).mT @ v)
            attentions.append(a.mT)
        summed = slots + update.to_out(torch.cat(mixed, -1))
        slots = update.mlp(update.norm_mlp(summed)) + summed
    return module.norm(slots), torch.stack(attentions, 1)


CASES = [
    *itertools.product(["slots", "keys"], ["l1", "l2", "none"], [True, False], [2]),
    *itertools.product(["slots"], ["l2"], [True], [1, 3, 4, 5]),
]


@pytest.mark.parametrize(("axis", "normalization", "shared", "num_slots"), CASES)
def test_equals_the_naive_form(axis, normalization, shared, num_slots):
    module = SlotAttention(
        6,
        num_slots,
        iterations=3,
        shared=shared,
        num_heads=2,
        head_dim=5,
        mlp_ratio=1.5,
        softmax_axis=axis,
        key_normalization=normalization,
    ).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    tokens = torch.randn(2, 7, 6, dtype=torch.float64, requires_grad=True)
    inputs = [tokens, *module.parameters()]

    ours = module(tokens)
    theirs = naive(module, tokens, axis, normalization, heads=2, head_dim=5)
    weights = [torch.randn_like(value) for value in ours]
    gradients = [
        torch.autograd.grad(
            sum((w * v).sum() for w, v in zip(weights, values, strict=True)), inputs
        )
        for values in (ours, theirs)
    ]
    # 1e-6: the guard against division by zero, 1e-7, is not in the naive form.
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)


def test_shapes_and_softmax_axis():
    tokens = torch.randn(3, 11, 6)
    for axis, dim in (("slots", 2), ("keys", 3)):
        module = SlotAttention(6, num_slots=4, num_heads=2, head_dim=3, softmax_axis=axis)
        slots, attention = module(tokens)
        assert slots.shape == (3, 4, 6)
        assert attention.shape == (3, 2, 4, 11)
        total = attention.sum(dim)
        torch.testing.assert_close(total, torch.ones_like(total))


def test_shared_weights_exist_once():
    def count(module):
        return sum(p.numel() for p in module.updates.parameters())

    shared = SlotAttention(6, iterations=5, head_dim=3)
    separate = SlotAttention(6, iterations=5, head_dim=3, shared=False)
    assert count(separate) == 5 * count(shared)


def test_token_order_does_not_matter():
    module = SlotAttention(6, num_slots=3, head_dim=3)
    tokens, order = torch.randn(2, 9, 6), torch.randperm(9)
    slots, attention = module(tokens)
    shuffled_slots, shuffled_attention = module(tokens[:, order])
    torch.testing.assert_close(shuffled_slots, slots)
    torch.testing.assert_close(shuffled_attention, attention[..., order])


def test_dropout_acts_in_training_only():
    module = SlotAttention(6, head_dim=3, dropout=0.5)
    tokens = torch.randn(2, 9, 6)
    assert not torch.equal(module(tokens)[0], module(tokens)[0])
    module.eval()
    assert torch.equal(module(tokens)[0], module(tokens)[0])


def test_initialization_is_as_named():
    normal = SlotAttention(64, head_dim=64, init="trunc_normal").updates[0].to_q.weight
    assert normal.std().item() == pytest.approx(0.02, rel=0.05)
    glorot = SlotAttention(64, head_dim=64, init="xavier").updates[0].to_q.weight
    assert glorot.abs().max().item() == pytest.approx((6 / (64 + 256)) ** 0.5, rel=0.01)


def test_vit_b_size_takes_less_than_a_gigaflop():
    with torch.device("meta"):
        module, tokens = SlotAttention(768), torch.empty(1, 1568, 768)
    with FlopCounterMode(display=False) as counter:
        module(tokens)
    assert counter.get_total_flops() <= 1e9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_slots": 0}, "at least one slot"),
        ({"iterations": 0}, "at least one slot and one iteration"),
        ({"softmax_axis": "key"}, "softmax_axis must be 'slots' or 'keys', got 'key'"),
        ({"key_normalization": "L2"}, "key_normalization must be .* got 'L2'"),
        ({"init": "normal"}, "init must be 'xavier' or 'trunc_normal', got 'normal'"),
    ],
)
def test_unknown_choices_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        SlotAttention(6, **change)
