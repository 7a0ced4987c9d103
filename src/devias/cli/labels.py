"""Make the pseudo labels of a dataset once: masks and scenes of all its videos.

    devias labels experiment=ucf101 data.pseudo_cache=/cache/ucf101
    torchrun --nproc-per-node 8 -m devias labels experiment=ucf101 data.pseudo_cache=/cache/ucf101

Takes the words of the training it is for; that then reads the labels with the same
`data.pseudo_cache`. A run that was stopped continues; the processes of torchrun or SLURM share
the work.
"""

from __future__ import annotations

from omegaconf import DictConfig

from devias.cli.command import command
from devias.errors import ConfigError


@command("labels")
def main(config: DictConfig) -> None:
    """Make the labels."""
    label(config)


def label(config: DictConfig) -> None:
    """Label the splits that `labels.splits` names; raise `ConfigError` where no folder is given."""
    import torch

    from devias.config.instantiate import instantiate
    from devias.labels.make import label_split

    if config.data.pseudo_cache is None:
        raise ConfigError("say where the labels shall go: data.pseudo_cache=FOLDER")
    rank, world_size, local_rank = process()
    use_gpu = torch.cuda.is_available() and config.trainer.accelerator in ("auto", "gpu", "cuda")
    device = f"cuda:{local_rank % torch.cuda.device_count()}" if use_gpu else "cpu"
    data, stage = instantiate(config.data), instantiate(config.batch_stage)
    data.prepare_data()
    for split in config.labels.splits:
        label_split(
            stage,
            data,
            split,
            instantiate(config.labels.settings),
            device,
            config.trainer.precision,
            rank,
            world_size,
        )


def process() -> tuple[int, int, int]:
    """This process's rank, the number of processes, and its rank on this machine."""
    from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

    for launcher in (TorchElasticEnvironment, SLURMEnvironment):
        if launcher.detect():
            this = launcher()
            return this.global_rank(), this.world_size(), this.local_rank()
    return 0, 1, 0


if __name__ == "__main__":
    main()
