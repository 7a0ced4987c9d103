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
from devias.cli.processes import device, process
from devias.errors import ConfigError


@command("labels")
def main(config: DictConfig) -> None:
    """Make the labels."""
    label(config)


def label(config: DictConfig) -> None:
    """Label the splits that `labels.splits` names; raise `ConfigError` where no folder is given."""
    from devias.config.instantiate import instantiate
    from devias.labels.make import label_split

    if config.data.pseudo_cache is None:
        raise ConfigError("say where the labels shall go: data.pseudo_cache=FOLDER")
    rank, world_size, local_rank = process()
    data, stage = instantiate(config.data), instantiate(config.batch_stage)
    data.prepare_data()
    for split in config.labels.splits:
        label_split(
            stage,
            data,
            split,
            instantiate(config.labels.settings),
            device(config.trainer, local_rank),
            config.trainer.precision,
            rank,
            world_size,
        )


if __name__ == "__main__":
    main()
