"""What a run that starts from another run's model must know of it."""

from __future__ import annotations

from omegaconf import DictConfig

from devias.config.stored import rebuild_config
from devias.training.callbacks import StoreConfig
from devias.training.checkpoints import CheckpointError, load_checkpoint
from devias.weights.transfer import source_architecture

TARGET = "devias.weights.transfer.transfer_model"


def is_transfer(config: DictConfig) -> bool:
    """Whether a run trains a new classifier over another run's model."""
    return config.model.get("_target_") == TARGET


def record_source(config: DictConfig) -> None:
    """Write down, in place, what a transfer's source is built of and how its slots get their roles.

    The transferred model can then be built again where the source is no more.

    Raises:
        MissingWeightsError: there is no such source.
        WeightsError: it is no whole model.
    """
    model = config.model
    if not is_transfer(config) or model.source is None:
        return
    counts = model.source_actions, model.source_scenes
    model.architecture = source_architecture(model.source, *counts)
    if model.assignment is None:
        model.assignment = _assignment(model.source)


def _assignment(source: str) -> str | None:
    """That of the run which wrote a checkpoint; `None` of other weights."""
    try:
        text = load_checkpoint(source).get(StoreConfig.key)
    except CheckpointError:  # in a format of others
        return None
    if text is None:
        return None
    # Nothing is built of it here.
    return rebuild_config(text, trust=True).matcher.assignment
