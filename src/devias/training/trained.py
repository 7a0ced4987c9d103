"""A trained model, and data to look at through it, which may be other than it was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig
from torch import nn

from devias.config import compose
from devias.config.instantiate import instantiate
from devias.data.datamodule import VideoDataModule
from devias.errors import ConfigError
from devias.labels.on_device import BatchStage
from devias.models.baselines import TokenViT
from devias.models.matching import SlotMatcher
from devias.structures import UNKNOWN
from devias.training.checkpoints import load_checkpoint, reading_weights, stored_config
from devias.training.transfer import is_transfer
from devias.weights.infer import load_model

OF_THE_CLIPS = ("clip_length", "stride", "image_size")
"""Settings of the data that stay those of the training, unless they are given."""


@dataclass
class TrainedModel:
    """A model out of a run's checkpoint, and two configurations.

    `own` is the one it was trained with, which alone says how it is built: its sizes follow from
    the training data's classes. `config` has the changes of today's call, and says what is looked
    at.
    """

    model: nn.Module
    matcher: SlotMatcher
    own: DictConfig
    config: DictConfig

    def data(self) -> VideoDataModule:
        """The data, in clips as the model was trained on."""
        data: VideoDataModule = instantiate(self.config.data)
        data.prepare_data()
        return data

    def stage(self, data: VideoDataModule, splits: Sequence[str]) -> BatchStage:
        """Normalization as in training; scenes by the scene model where these splits lack some."""
        unlabeled = any(r.scene == UNKNOWN for split in splits for r in data.records(split))
        teacher = instantiate(self.config.scene_teacher) if unlabeled else None
        return instantiate(
            self.own.batch_stage, masks=None, augment=None, scene_teacher=teacher, requires=()
        )


def load_trained(
    checkpoint: Path | str,
    overrides: Sequence[str] = (),
    trust: bool = False,
    num_actions: int | None = None,
    num_scenes: int | None = None,
) -> TrainedModel:
    """Rebuild the model of a run and load its weights, in evaluation mode.

    Args:
        checkpoint: of a run of this package; with class counts, any weights of a whole model.
        overrides: of the configuration in it, for the data: `data=hmdb51`, `scene_teacher=…`.
        trust: build whatever the configuration names; see `devias.config.stored`.
        num_actions: N_A, of weights without a configuration; see `load_model`.
        num_scenes: N_S, likewise.

    Raises:
        CheckpointError: it is not such a checkpoint.
        ConfigError: an override names no key.
        WeightsError: as `load_model`.
    """
    if num_actions is not None or num_scenes is not None:
        return _load_weights(checkpoint, overrides, num_actions, num_scenes)
    own = stored_config(checkpoint, [], trust)
    forget_weights(own)
    config = stored_config(checkpoint, overrides, trust)
    _keep_clips(config, overrides, {name: own.data[name] for name in OF_THE_CLIPS})
    model = instantiate(own.model)
    state = load_checkpoint(checkpoint)["state_dict"]
    prefix = "model."
    with reading_weights(Path(checkpoint)):
        model.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
    _check_clips(model, config)
    if config.compile:
        model.compile()
    return TrainedModel(model.eval(), instantiate(own.matcher), own, config)


def _load_weights(
    source: Path | str, overrides: Sequence[str], num_actions: int | None, num_scenes: int | None
) -> TrainedModel:
    """Likewise of weights that hold no configuration, under the shipped one."""
    model = load_model(source, num_actions, num_scenes)
    config = compose(*overrides)
    frames, height, _ = model.backbone.input_size
    _keep_clips(config, overrides, {"clip_length": frames, "image_size": height})
    _check_clips(model, config)
    matcher = SlotMatcher(assignment="fixed" if isinstance(model, TokenViT) else "hungarian")
    return TrainedModel(model, matcher, config, config)


def forget_weights(config: DictConfig) -> None:
    """Start from no weights: a checkpoint has all, and those before it may be gone by now."""
    config.backbone.weights = config.weights = None
    if is_transfer(config):
        config.model.source = None


def forget_cluster(config: DictConfig, overrides: Sequence[str]) -> None:
    """Compute on this machine, not on as many as the training had, but for what is given."""
    if config.get("cluster") is None:
        return
    given = {word.lstrip("+").partition("=")[0] for word in overrides}
    here = {"num_nodes": 1, "devices": 1 if config.trainer.accelerator == "cpu" else "auto"}
    for name, value in here.items():
        if f"trainer.{name}" not in given:
            config.trainer[name] = value


def _keep_clips(config: DictConfig, overrides: Sequence[str], clips: Mapping[str, int]) -> None:
    """Set how the data is cut into clips, but for what the overrides set themselves."""
    given = {word.lstrip("+").partition("=")[0] for word in overrides}
    for name, value in clips.items():
        if f"data.{name}" not in given:
            config.data[name] = value


def _check_clips(model: nn.Module, config: DictConfig) -> None:
    """Refuse, before anything is decoded, clips of another size than the model takes."""
    expected = getattr(getattr(model, "backbone", None), "input_size", None)
    size = config.data.image_size
    if expected not in (None, (config.data.clip_length, size, size)):
        frames, height, width = expected
        raise ConfigError(
            f"the model takes clips of {frames} frames of {height}×{width}: set data.clip_length "
            "and data.image_size to these, or leave them out"
        )
