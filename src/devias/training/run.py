"""From the composed configuration to the objects of a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.callbacks import Checkpoint, LearningRateMonitor
from omegaconf import DictConfig, OmegaConf

from devias.config.instantiate import instantiate
from devias.config.shipped import check_keys
from devias.errors import ConfigError
from devias.labels.lookup import find_labels
from devias.labels.on_device import BatchStage
from devias.losses.base import LossTerm
from devias.structures import Requirement
from devias.training.callbacks import StoreConfig
from devias.training.checkpoint_io import AtomicCheckpointIO
from devias.training.data import RunData
from devias.training.dry_run import dry_run
from devias.training.exact_resume import ExactResume
from devias.training.module import ActionSceneModule
from devias.training.optim import split_global_batch
from devias.training.quiet import quiet_lightning
from devias.training.ranks import end_with_parent
from devias.training.trainer import check_support, trainer_errors
from devias.weights.assign import load_weights

log = logging.getLogger(__name__)


@dataclass
class Run:
    """Everything a run works with."""

    config: DictConfig
    data: RunData
    module: ActionSceneModule
    trainer: L.Trainer

    @property
    def folder(self) -> Path:
        """The run directory."""
        return Path(self.config.paths.run_dir)

    def close(self) -> None:
        """Let loggers that upload finish, so that the next run of this process starts its own."""
        for logger in self.trainer.loggers:
            if hasattr(logger, "close"):
                logger.close()


def build_run(config: DictConfig) -> Run:
    """Instantiate trainer, data and model of a composed configuration.

    The random state is set before anything draws from it, so that initial weights depend on
    `seed` alone. Per-device batch and accumulation follow from `global_batch` and the number of
    devices.

    Raises:
        ConfigError: unknown keys.
        ConfigError, LossTermError: model, loss terms and labels do not fit together.
        ConfigError: a global batch the devices cannot share.
        FileNotFoundError, WeightsError: weights the configuration names are missing or unfit.
    """
    check_keys(config)
    quiet_lightning()
    L.seed_everything(config.seed, workers=True, verbose=False)
    trainer = build_trainer(config)
    per_device, accumulation = split_global_batch(
        config.global_batch,
        trainer.world_size,
        config.max_batch_per_device,
        config.trainer.get("accumulate_grad_batches"),
    )
    trainer.accumulate_grad_batches = accumulation
    losses = build_losses(config)
    stage = build_stage(config, losses)
    data = build_data(config, stage, per_device)
    module = build_module(config, data, losses)
    if config.train:
        dry_run(
            module.model,
            module.losses,
            module.matcher,
            stage,
            data.train.input_size,
            data.train.has_ground_truth_masks,
        )
    settings = module.optimizer_settings
    log.info(
        "global batch %d = %d devices × %d clips × %d accumulated; lr %.2e",
        config.global_batch,
        trainer.world_size,
        per_device,
        accumulation,
        settings.scaled(settings.base_lr, config.global_batch),
    )
    return Run(config, data, module, trainer)


def build_trainer(config: DictConfig) -> L.Trainer:
    """The Trainer with its loggers and callbacks; the configuration goes into checkpoints.

    Callbacks, loggers and plugins that `config.trainer` names are added to ours.

    Raises:
        ConfigError: the Trainer refuses an argument, or does something that training here can't.
    """
    with trainer_errors(ValueError, TypeError, ImportError):
        make = instantiate(config.trainer, _partial_=True, _convert_="all")
        # Lightning's own root is the working directory, which jobs of a cluster share.
        given = {"default_root_dir": config.paths.run_dir}
        given |= {name: value for name, value in make.keywords.items() if value is not None}
        if given.get("use_distributed_sampler"):
            raise ConfigError(
                "trainer.use_distributed_sampler must be false: the data module's samplers share "
                "the videos out among the ranks already"
            )
        loggers, callbacks = [], _parts(config.callbacks, given.get("callbacks"))
        if given.get("logger") is not False:
            loggers = _parts(config.logger, given.get("logger"))
        # What has no use without them is refused by Lightning.
        useless = () if loggers else (LearningRateMonitor,)
        if given.get("enable_checkpointing") is False:
            useless = (*useless, Checkpoint)
        trainer = make.func(
            **given
            | {
                "callbacks": [
                    *(callback for callback in callbacks if not isinstance(callback, useless)),
                    StoreConfig(OmegaConf.to_yaml(config)),
                    ExactResume(),
                ],
                "logger": loggers,
                "plugins": [AtomicCheckpointIO(), *_parts({}, given.get("plugins"))],
            }
        )
    check_support(trainer)
    environment = trainer._accelerator_connector.cluster_environment
    if isinstance(environment, SLURMEnvironment):
        # It would save from within the signal handler, to a file that any job may load.
        environment.auto_requeue = False
    if trainer.global_rank > 0 or isinstance(environment, TorchElasticEnvironment):
        end_with_parent()
    return trainer


def _parts(group: Mapping[str, Any], added: Any) -> list[Any]:
    """The objects of a config group, and those the Trainer's own argument adds: one or several."""
    parts = [instantiate(part) for part in group.values() if part]
    if added is None or added is True:  # true: the usual ones
        return parts
    return parts + (added if isinstance(added, list) else [added])


def build_losses(config: DictConfig) -> dict[str, LossTerm]:
    """The loss terms by name; a term that is `null` has been dropped."""
    return {name: instantiate(term, name=name) for name, term in config.loss.items() if term}


def build_stage(config: DictConfig, losses: Mapping[str, LossTerm]) -> BatchStage:
    """What happens to a batch on the device: what the loss terms require, and no more."""
    requires = set().union(*(term.requires for term in losses.values()))
    return instantiate(config.batch_stage, requires=requires)


def build_data(config: DictConfig, stage: BatchStage, batch_size: int) -> RunData:
    """The data modules of training and protocol, with the stage in their hands.

    The configurations in `eval_data` say how the clips of other evaluation sets are made.
    """
    protocol = instantiate(config.protocol)
    given: dict[str, Any] = {
        "seed": config.seed,
        "stage": stage,
        "find_labels": partial(find_labels, stage),
    }
    masks = Requirement.GROUND_TRUTH_MASKS in stage.data_requires
    train = instantiate(config.data, batch_size=batch_size, ground_truth_masks=masks, **given)
    others = {name: instantiate(option, **given) for name, option in config.eval_data.items()}
    return RunData(train, protocol, others)


def build_module(
    config: DictConfig, data: RunData, losses: Mapping[str, LossTerm]
) -> ActionSceneModule:
    """The LightningModule with model, loss terms and matching.

    `weights` fill the whole model; only for training may they lack a part, such as the head.
    """
    if config.weights:  # the backbone is among them
        config = OmegaConf.merge(config, {"backbone": {"weights": None}})  # type: ignore[assignment]
    model = instantiate(config.model)
    if config.weights:
        log.info("%s", load_weights(model, config.weights, strict=not config.train))
    return ActionSceneModule(
        model=model,
        losses=losses,
        matcher=instantiate(config.matcher),
        optimizer=instantiate(config.optim),
        global_batch=config.global_batch,
        protocol=data.protocol,
        reference=data.reference,
        compile=config.compile,
    )
