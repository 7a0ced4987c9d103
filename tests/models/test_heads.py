import pytest
import torch
from torch.nn import functional as F

from devias.models.heads import SeparateHeads, UnifiedHead


def test_unified_head_reads_every_slot_alike():
    head = UnifiedHead(5, 3, 4).eval()
    slots = torch.randn(2, 6, 5)
    logits = head(slots)
    assert logits.shape == (2, 6, 7)
    torch.testing.assert_close(head(slots.flip(1)), logits.flip(1))
    torch.testing.assert_close(logits[1, 4], head.fc.weight @ slots[1, 4] + head.fc.bias)


@pytest.mark.parametrize(("actions", "scenes"), [(3, 0), (0, 4)])
def test_single_task_heads(actions, scenes):
    assert UnifiedHead(5, actions, scenes)(torch.randn(2, 1, 5)).shape == (2, 1, actions + scenes)


def test_separate_heads_read_their_own_slot():
    head = SeparateHeads(5, 3, 4)
    slots = torch.randn(2, 2, 5)
    action, scene = head(slots).log_softmax(-1).unbind(1)
    own = (slots[:, 0] @ head.action.weight.T + head.action.bias).log_softmax(-1)
    torch.testing.assert_close(action[:, :3], own)
    own = (slots[:, 1] @ head.scene.weight.T + head.scene.bias).log_softmax(-1)
    torch.testing.assert_close(scene[:, 3:], own)
    assert action.exp()[:, 3:].eq(0).all()
    assert scene.exp()[:, :3].eq(0).all()


def test_separate_heads_train_in_half_precision():
    head = SeparateHeads(5, 3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        logits = head(torch.randn(2, 2, 5))
        loss = F.cross_entropy(logits.flatten(0, 1), torch.tensor([0, 4, 2, 3]))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in head.parameters())


def test_init_scale():
    torch.manual_seed(1)
    full = UnifiedHead(5, 3, 4)
    torch.manual_seed(1)
    small = UnifiedHead(5, 3, 4, init_scale=0.001)
    torch.testing.assert_close(small.fc.weight, full.fc.weight * 0.001)
    assert full.fc.bias.eq(0).all()


def test_dropout_acts_in_training_only():
    head, slots = UnifiedHead(5, 3, 4, dropout=0.5), torch.randn(2, 2, 5)
    assert not torch.equal(head(slots), head(slots))
    head.eval()
    assert torch.equal(head(slots), head(slots))


@pytest.mark.parametrize(
    ("kind", "actions", "scenes"),
    [(UnifiedHead, 0, 0), (UnifiedHead, -1, 4), (SeparateHeads, 3, 0), (SeparateHeads, 0, 4)],
)
def test_missing_classes_are_refused(kind, actions, scenes):
    with pytest.raises(ValueError, match=f"cannot predict {actions} action and {scenes} scene"):
        kind(5, actions, scenes)
