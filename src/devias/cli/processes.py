"""How the processes of a command that needs no Trainer share its work."""

from __future__ import annotations

from omegaconf import DictConfig


def process() -> tuple[int, int, int]:
    """This process's rank, the number of processes, and its rank on this machine."""
    from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

    for launcher in (TorchElasticEnvironment, SLURMEnvironment):
        if launcher.detect():
            this = launcher()
            return this.global_rank(), this.world_size(), this.local_rank()
    return 0, 1, 0


def device(trainer: DictConfig, local_rank: int) -> str:
    """Where this process computes, as `trainer.accelerator` allows."""
    import torch

    use_gpu = torch.cuda.is_available() and trainer.accelerator in ("auto", "gpu", "cuda")
    return f"cuda:{local_rank % torch.cuda.device_count()}" if use_gpu else "cpu"
