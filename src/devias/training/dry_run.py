"""A training step on shapes alone: what does not fit is refused before anything is decoded."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from devias.augment.background_erasing import BackgroundErasing
from devias.augment.mixing import BackgroundMixing
from devias.config import ConfigError
from devias.labels.on_device import BatchStage
from devias.losses.base import LossTerm
from devias.models.matching import SlotMatcher
from devias.structures import ClipBatch

CLIPS = 2


def dry_run(
    model: nn.Module,
    losses: Mapping[str, LossTerm],
    matcher: SlotMatcher,
    stage: BatchStage,
    input_size: tuple[int, int, int],
    ground_truth_masks: bool = False,
) -> None:
    """Compute every loss term on a batch without contents, on PyTorch's meta device.

    Args:
        model: its parameters are left alone.
        losses: by name.
        matcher: of slots to labels.
        stage: tells what a batch will hold: masks, a distracted view, the scene model's logits.
        input_size: `(T, H, W)` of a clip.
        ground_truth_masks: whether the data hands on its own silhouettes.

    Raises:
        ConfigError: clips are to be mixed, but nothing makes masks; or they are not of the size
            that the model takes.
        LossTermError: a term needs what the model or the batch lacks.
    """
    if isinstance(stage.mixing, BackgroundMixing) and stage.masks is None:
        raise ConfigError("mixing needs masks: choose an extractor, as masks=fame, or augment=none")
    state = {
        name: torch.empty_like(tensor, device="meta")
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
    }
    eager = torch.compiler.set_stance("force_eager")  # compiling is for the real batch
    with torch.no_grad(), torch.device("meta"), eager:
        batch = _batch_without_contents(stage, input_size, ground_truth_masks)
        try:
            prediction = torch.func.functional_call(model, state, (batch.video,))
        except ValueError as error:  # the clips are not of the size the model was built for
            raise ConfigError(str(error)) from error
        if batch.distracted is not None:
            prediction.distracted = prediction
        if stage.scene_teacher is not None:
            num_scenes = prediction.logits.shape[-1] - prediction.num_actions
            batch.scene_logits = torch.empty(CLIPS, num_scenes)
        roles = matcher.match(prediction, batch.action, batch.scene)
        for term in losses.values():
            try:
                term(prediction, roles, batch)
            except RuntimeError:  # a term that reads values, which these tensors lack
                continue


def _batch_without_contents(
    stage: BatchStage, input_size: tuple[int, int, int], ground_truth_masks: bool
) -> ClipBatch:
    frames, *size = input_size
    video = torch.empty(CLIPS, 3, *input_size)
    labels = torch.zeros(CLIPS, dtype=torch.long)
    batch = ClipBatch(video, action=labels, scene=labels, index=labels)
    if stage.masks is not None:
        tubelets = frames // stage.masks.tubelet_size
        batch.clip_mask = torch.empty(CLIPS, *size)
        batch.frame_masks = torch.empty(CLIPS, tubelets, *size)
    if isinstance(stage.mixing, BackgroundErasing):
        batch.distracted = video
    if ground_truth_masks:
        batch.ground_truth_masks = torch.empty(CLIPS, *input_size, dtype=torch.bool)
    return batch
