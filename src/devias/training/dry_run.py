"""A training step on shapes alone: what does not fit is refused before anything is decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from devias.errors import ConfigError
from devias.labels.on_device import BatchStage
from devias.losses.base import LossTerm, LossTermError
from devias.models.matching import SlotMatcher
from devias.structures import ClipBatch, Requirement, SlotPrediction

CLIPS = 2

Container = TypeVar("Container", ClipBatch, SlotPrediction)


def dry_run(
    model: nn.Module,
    losses: Mapping[str, LossTerm],
    matcher: SlotMatcher,
    stage: BatchStage,
    input_size: tuple[int, int, int],
    ground_truth_masks: bool = False,
) -> None:
    """Compute every loss term on a batch of zeros.

    The networks run on PyTorch's meta device, where they cost nothing; the loss terms on zeros of
    the shapes that come out, so that one that reads values is computed like any other.

    Args:
        model: its parameters are left alone.
        losses: by name.
        matcher: of slots to labels.
        stage: tells by its declarations what a batch will hold.
        input_size: `(T, H, W)` of a clip.
        ground_truth_masks: whether the data has masks of its own.

    Raises:
        ConfigError: something asks for masks that the data does not have, or shapes do not fit.
        LossTermError: a term needs what the model or the batch lacks, or cannot be computed.
    """
    of_the_masks = set() if stage.masks is None else stage.masks.requires & stage.data_requires
    if of_the_masks and not ground_truth_masks:
        raise ConfigError("masks=ground_truth needs data with such masks; this data has none")
    with torch.no_grad(), torch.device("meta"), torch.compiler.set_stance("force_eager"):
        batch = _empty_batch(stage, input_size, ground_truth_masks)
        if isinstance(stage.masks, nn.Module) and Requirement.MASKS in stage.provides:
            batch.clip_mask, batch.frame_masks = _on_meta(stage.masks, batch.video)
        prediction = _predict(model, batch)
        if stage.scene_teacher is not None:
            batch.scene_logits = _scene_logits(stage.scene_teacher, batch, prediction)
    batch, prediction = _zeros(batch), _zeros(prediction)
    with torch.no_grad():
        if Requirement.MASKS in stage.provides and batch.clip_mask is None:
            batch.clip_mask, batch.frame_masks = _masks(stage, batch)
        roles = matcher.match(prediction, batch.action, batch.scene)
        for name, term in losses.items():
            try:
                term(prediction, roles, batch)
            except (RuntimeError, IndexError) as error:
                raise LossTermError(f"{name} cannot be computed: {error}") from error


def _empty_batch(
    stage: BatchStage, input_size: tuple[int, int, int], ground_truth_masks: bool
) -> ClipBatch:
    """What the stage hands to the model, without contents."""
    video = torch.empty(CLIPS, 3, *input_size)
    labels = torch.zeros(CLIPS, dtype=torch.long)
    batch = ClipBatch(video, action=labels, scene=labels, index=labels)
    if Requirement.SECOND_VIEW in stage.provides:
        batch.second_view = video
    if ground_truth_masks and stage.data_requires:
        batch.ground_truth_masks = torch.empty(CLIPS, *input_size, dtype=torch.bool)
    return batch


def _masks(stage: BatchStage, batch: ClipBatch) -> tuple[Tensor, Tensor]:
    """What an extractor that is no network makes of zeros; it costs little, and draws nothing."""
    assert stage.masks is not None
    try:
        with torch.random.fork_rng(devices=[]):
            return stage.masks.extract(batch)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"masks: {error}") from error


def _predict(model: nn.Module, batch: ClipBatch) -> SlotPrediction:
    prediction = _on_meta(model, batch.video)
    if batch.second_view is not None:
        prediction.second_view = replace(prediction)
    return prediction


def _scene_logits(teacher: nn.Module, batch: ClipBatch, prediction: SlotPrediction) -> Tensor:
    logits = _on_meta(teacher, batch.video)
    scenes = prediction.scene_logits.shape[-1]
    if scenes and logits.shape[-1] != scenes:
        raise ConfigError(
            f"scene_teacher tells {logits.shape[-1]} scenes apart, the head has {scenes}: "
            "choose another scene model, or change data.num_scenes"
        )
    return logits


def _on_meta(network: nn.Module, video: Tensor) -> Any:
    """What a network makes of clips without contents; its own parameters are left alone.

    Raises:
        ConfigError: the clips are not of the size that it was built for.
    """
    state = {
        name: torch.empty_like(tensor, device="meta")
        for name, tensor in (*network.named_parameters(), *network.named_buffers())
    }
    try:
        return torch.func.functional_call(network, state, (video,))
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"{type(network).__name__}: {error}") from error


def _zeros(container: Container) -> Container:
    """The same container with real zeros in the place of tensors without contents."""
    changes: dict[str, Any] = {}
    for field in fields(container):
        value = getattr(container, field.name)
        if isinstance(value, Tensor):
            changes[field.name] = torch.zeros(value.shape, dtype=value.dtype)
        elif is_dataclass(value):
            changes[field.name] = _zeros(value)  # type: ignore[type-var]
    return replace(container, **changes)
