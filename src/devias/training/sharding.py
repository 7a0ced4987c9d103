"""FSDP2: weights, gradients and optimizer states shared out among the ranks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn
from torch.optim import Optimizer

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


class ShardedStrategy(ModelParallelStrategy):
    """Lightning's strategy over all ranks, with the checkpoints of every other strategy.

    Rank 0 puts the shards together when a checkpoint is written, so there must be memory for the
    whole model on one host. Lightning itself would number the optimizer's states in another order
    than its other strategies do.

    Args:
        timeout: that collectives wait for a rank.
    """

    def __init__(self, timeout: timedelta = timedelta(minutes=30)) -> None:
        super().__init__(save_distributed_checkpoint=False, timeout=timeout)

    def setup_environment(self) -> None:
        """Take every process for a shard; their number is known only here."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        self._tensor_parallel_size = 1
        super().setup_environment()

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The whole state on rank 0, numbered as PyTorch's optimizers do; nothing elsewhere."""
        from torch.distributed.checkpoint.state_dict import (
            StateDictOptions,
            get_optimizer_state_dict,
        )

        optimizer = getattr(optimizer, "_optimizer", optimizer)  # within Lightning's wrapper
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        assert self.model is not None
        state: Any = get_optimizer_state_dict(self.model, optimizer, options=options)
        names = [name for group in state.get("param_groups", ()) for name in group["params"]]
        return _renamed(state, {name: number for number, name in enumerate(names)})

    def load_checkpoint(
        self, checkpoint_path: str | Path, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a whole checkpoint on every rank, which keeps its shard of it."""
        from torch.distributed.checkpoint.state_dict import (
            StateDictOptions,
            set_model_state_dict,
            set_optimizer_state_dict,
        )

        module, options = self.lightning_module, StateDictOptions(full_state_dict=True)
        assert module is not None
        checkpoint = self.checkpoint_io.load_checkpoint(
            self.broadcast(checkpoint_path), weights_only=weights_only
        )
        set_model_state_dict(module, checkpoint["state_dict"], options=options)
        if module.trainer.state.fn == TrainerFn.FITTING:
            states = checkpoint["optimizer_states"]
            for optimizer, state in zip(self.optimizers, states, strict=True):
                named = _renamed(state, dict(enumerate(_names(module, optimizer))))
                set_optimizer_state_dict(module, optimizer, named, options=options)
        return checkpoint


def shard(model: nn.Module, mesh: DeviceMesh) -> None:
    """Share out a model: every block of the ViT and the slot attention for itself, then the rest.

    A part is whole on each rank only while it computes. Harmless to call twice.

    Args:
        model: of this package.
        mesh: of one dimension.
    """
    from torch.distributed.fsdp import FSDPModule, fully_shard

    if isinstance(model, FSDPModule):
        return
    backbone, slots = getattr(model, "backbone", None), getattr(model, "slot_attention", None)
    for part in (*getattr(backbone, "blocks", ()), *([slots] if slots is not None else ())):
        fully_shard(part, mesh=mesh)
    fully_shard(model, mesh=mesh)


def _names(module: nn.Module, optimizer: Optimizer) -> Iterator[str]:
    """Of the optimizer's parameters, in its order."""
    known = {id(parameter): name for name, parameter in module.named_parameters()}
    for group in optimizer.param_groups:
        yield from (known[id(parameter)] for parameter in group["params"])


def _renamed(state: Mapping[str, Any], keys: Mapping[Any, Any]) -> dict[str, Any]:
    """An optimizer's state with other keys for the parameters."""
    if not state:
        return {}
    return {
        "state": {keys[key]: value for key, value in state["state"].items()},
        "param_groups": [
            {**group, "params": [keys[key] for key in group["params"]]}
            for group in state["param_groups"]
        ],
    }
