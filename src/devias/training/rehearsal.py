"""A training step on shapes alone: what does not fit is refused before anything is decoded."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from devias.config import ConfigError
from devias.losses.base import LossTerm
from devias.models.matching import SlotMatcher
from devias.pseudo.background_erasing import BackgroundErasing
from devias.pseudo.labeller import PseudoLabeller
from devias.pseudo.mixing import BackgroundMixing
from devias.structures import ClipBatch

CLIPS = 2


def rehearse(
    model: nn.Module,
    losses: Mapping[str, LossTerm],
    matcher: SlotMatcher,
    labeller: PseudoLabeller,
    input_size: tuple[int, int, int],
    true_masks: bool = False,
) -> None:
    """Compute every loss term on a batch without contents, on PyTorch's meta device.

    Args:
        model: its parameters are left alone.
        losses: by name.
        matcher: of slots to labels.
        labeller: tells what a batch will hold: masks, a distracted view, the scene model's logits.
        input_size: `(T, H, W)` of a clip.
        true_masks: whether the data hands on its own silhouettes.

    Raises:
        ConfigError: clips are to be mixed, but nothing makes masks; or they are not of the size
            that the model takes.
        LossTermError: a term needs what the model or the batch lacks.
    """
    if isinstance(labeller.mixing, BackgroundMixing) and labeller.masks is None:
        raise ConfigError("mixing needs masks: choose an extractor, as pseudo=fame, or debias=none")
    state = {
        name: torch.empty_like(tensor, device="meta")
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
    }
    eager = torch.compiler.set_stance("force_eager")  # compiling is for the real batch
    with torch.no_grad(), torch.device("meta"), eager:
        batch = _batch_without_contents(labeller, input_size, true_masks)
        try:
            prediction = torch.func.functional_call(model, state, (batch.video,))
        except ValueError as error:  # the clips are not of the size the model was built for
            raise ConfigError(str(error)) from error
        if batch.distracted is not None:
            prediction.distracted = prediction
        if labeller.scene_teacher is not None:
            num_scenes = prediction.logits.shape[-1] - prediction.num_actions
            batch.scene_logits = torch.empty(CLIPS, num_scenes)
        roles = matcher.match(prediction, batch.action, batch.scene)
        for term in losses.values():
            try:
                term(prediction, roles, batch)
            except RuntimeError:  # a term that reads values, which these tensors lack
                continue


def _batch_without_contents(
    labeller: PseudoLabeller, input_size: tuple[int, int, int], true_masks: bool
) -> ClipBatch:
    frames, *size = input_size
    video = torch.empty(CLIPS, 3, *input_size)
    labels = torch.zeros(CLIPS, dtype=torch.long)
    batch = ClipBatch(video, action=labels, scene=labels, index=labels)
    if labeller.masks is not None:
        tubelets = frames // labeller.masks.tubelet_size
        batch.clip_mask = torch.empty(CLIPS, *size)
        batch.frame_masks = torch.empty(CLIPS, tubelets, *size)
    if isinstance(labeller.mixing, BackgroundErasing):
        batch.distracted = video
    if true_masks:
        batch.true_masks = torch.empty(CLIPS, *input_size, dtype=torch.bool)
    return batch
