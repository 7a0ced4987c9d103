"""Fails the moment code makes the host wait for the device.

A CPU test cannot see a synchronization by its slowness, so the guard watches for the calls that
would cause one on a GPU: reading a value (`item`, `float(t)`, `if t:`), a result whose shape
depends on values (`nonzero`, boolean-mask indexing) and moving a tensor off its device.

    with no_host_sync():
        loss = module.training_step(batch, 0)
        loss.backward()
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode


class HostSyncError(AssertionError):
    """Code that would make the host wait for the device."""


VALUE_READS = {
    "aten::_local_scalar_dense",
    "aten::equal",
    "aten::is_nonzero",
    "aten::item",
}
VALUE_SHAPES = {
    "aten::_unique2",
    "aten::bincount",
    "aten::masked_select",
    "aten::nonzero",
    "aten::repeat_interleave.Tensor",
    "aten::unique_consecutive",
    "aten::unique_dim",
}
HOST_METHODS = {
    torch.Tensor.cpu,
    torch.Tensor.item,
    torch.Tensor.numpy,
    torch.Tensor.tolist,
    torch.Tensor.__bool__,
    torch.Tensor.__float__,
    torch.Tensor.__int__,
    torch.Tensor.__index__,
    torch.Tensor.__array__,
}


class _Calls(TorchFunctionMode):
    """Watches the tensor methods that read values without passing the dispatcher."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in HOST_METHODS or (
            func is torch.Tensor.to and any(isinstance(a, str) and a == "cpu" for a in args)
        ):
            raise HostSyncError(f"Tensor.{func.__name__} makes the host wait for the device")
        return func(*args, **(kwargs or {}))


class _Operators(TorchDispatchMode):
    """Watches every operator, those of the backward pass and of library code included."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func._schema.name
        full_name = f"{name}.{func._overloadname}"
        if name in VALUE_READS or name in VALUE_SHAPES or full_name in VALUE_SHAPES:
            raise HostSyncError(f"{name} makes the host wait for the device")
        if name in {"aten::index", "aten::index_put", "aten::index_put_"} and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        ):
            raise HostSyncError("boolean-mask indexing makes the host wait for the device")
        if name == "aten::_to_copy":
            device = kwargs.get("device")
            if device is not None and torch.device(device).type != args[0].device.type:
                raise HostSyncError(f"a tensor moves from {args[0].device} to {device}")
        return func(*args, **kwargs)


@contextmanager
def no_host_sync() -> Iterator[None]:
    """Raise `HostSyncError` on any synchronization inside the `with` block."""
    with _Calls(), _Operators():
        yield
