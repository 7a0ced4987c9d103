"""The guard itself must catch what it exists for."""

import numpy as np
import pytest
import torch

from sync_guard import HostSyncError, no_host_sync

SYNCS = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x.sum()),
    "if": lambda x: 1 if x.sum() > 0 else 2,
    "tolist": lambda x: x.tolist(),
    "numpy": lambda x: x.numpy(),
    "asarray": lambda x: np.asarray(x),
    "cpu": lambda x: x.cpu(),
    "to cpu": lambda x: x.to("cpu"),
    "nonzero": lambda x: x.nonzero(),
    "where": lambda x: torch.where(x > 0),
    "mask": lambda x: x[x > 0],
    "masked assignment": lambda x: x.__setitem__(x > 0, x.new_ones(1)),
    "unique": lambda x: x.unique(),
    "allclose": lambda x: torch.equal(x, x),
    "moved": lambda x: x.to("meta"),
    "repeat": lambda x: torch.repeat_interleave(x[0], torch.tensor([1, 2, 3])),
}


@pytest.mark.parametrize("name", SYNCS)
def test_a_synchronization_is_caught(name):
    x = torch.randn(2, 3)
    SYNCS[name](x)
    with pytest.raises(HostSyncError), no_host_sync():
        SYNCS[name](x)


def test_a_synchronization_in_the_backward_pass_is_caught():
    x = torch.randn(3, requires_grad=True)
    y = x * 1
    y.register_hook(lambda grad: grad * grad.sum().item())
    with pytest.raises(HostSyncError), no_host_sync():
        y.sum().backward()


def test_device_code_passes():
    x = torch.randn(4, 3, requires_grad=True)
    with no_host_sync():
        rows = torch.arange(4)
        picked = x[rows, x.argmax(1)] + x.where(x > 0, 0).masked_fill(x < -1, 2).sum(1)
        picked.mean().backward()
    assert x.grad is not None
