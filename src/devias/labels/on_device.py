"""Everything that happens to a batch between the loader and the model, on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from devias.augment.background_erasing import BackgroundErasing
from devias.augment.mixing import BackgroundMixing
from devias.labels.scene_teacher import SceneTeacher
from devias.masks.ground_truth import GroundTruthMasks
from devias.models.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from devias.structures import UNKNOWN, ClipBatch


class MaskExtractor(Protocol):
    """What makes human masks from clips."""

    tubelet_size: int
    """Frames that share one frame mask; T' = T / tubelet_size."""

    def __call__(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Clips `[B, 3, T, H, W]` in [0, 1] → clip `[B, H, W]` and frame `[B, T', H, W]` masks."""
        ...


class BatchStage(nn.Module):
    """Turns the loader's `uint8` batch into the model's: masks, mixing, normalisation, scenes.

    Masks are made in training, if mixing or `masks_in_training` asks for them, and in evaluation
    if `masks_in_eval` does; clips are mixed in training only. What the batch already holds (masks,
    scene logits) is kept instead of computed; a clip mask it lacks is the mean of its frame masks.
    The module follows the batch to its device.

    Args:
        mean: normalisation of the model's input, one number a channel.
        std: likewise.
        masks: makes masks from clips; `GroundTruthMasks` takes the data's own.
        mixing: pastes foregrounds on other backgrounds, which needs masks, or adds a distracted
            view.
        scene_teacher: labels the clips as the model sees them, so a mixed clip by its background.
        masks_in_training: make masks in training though mixing does not need them.
        masks_in_eval: make masks in evaluation too.
    """

    def __init__(
        self,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        masks: MaskExtractor | GroundTruthMasks | None = None,
        mixing: BackgroundMixing | BackgroundErasing | None = None,
        scene_teacher: SceneTeacher | None = None,
        masks_in_training: bool = True,
        masks_in_eval: bool = False,
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.masks = masks
        self.mixing = mixing
        self.scene_teacher = scene_teacher
        self.masks_in_training = masks_in_training
        self.masks_in_eval = masks_in_eval

    @torch.no_grad()
    def forward(self, batch: ClipBatch) -> ClipBatch:
        """Return a new batch with normalised float32 video; raise `TypeError` unless `uint8`."""
        if batch.video.dtype != torch.uint8:
            raise TypeError(f"the stage takes uint8 clips, not {batch.video.dtype}")
        if self.normalize.mean.device != batch.video.device:
            self.to(batch.video.device)
        batch = replace(batch, video=batch.video.float().div_(255))
        if self._wants_masks():
            batch = self._with_masks(batch)
        if self.training and self.mixing is not None:
            batch = self.mixing(batch)
        batch = self._with_scenes(batch)
        if batch.distracted is not None:
            batch = replace(batch, distracted=self.normalize(batch.distracted))
        return replace(batch, video=self.normalize(batch.video))

    @torch.no_grad()
    def masked(self, batch: ClipBatch) -> ClipBatch:
        """A batch this module returned, with masks also where they were not made (figures)."""
        if batch.clip_mask is not None:
            return batch
        with_masks = self._with_masks(replace(batch, video=self.normalize.undo(batch.video)))
        return replace(with_masks, video=batch.video)

    def _wants_masks(self) -> bool:
        if not self.training:
            return self.masks_in_eval
        return self.masks_in_training or isinstance(self.mixing, BackgroundMixing)

    def _with_masks(self, batch: ClipBatch) -> ClipBatch:
        if batch.frame_masks is not None:
            frame_masks = batch.frame_masks.float()
            clip_mask = frame_masks.mean(1) if batch.clip_mask is None else batch.clip_mask.float()
        elif self.masks is None:
            return batch
        elif isinstance(self.masks, GroundTruthMasks):
            clip_mask, frame_masks = self.masks(batch.ground_truth_masks)
        else:
            clip_mask, frame_masks = self.masks(batch.video)
        return replace(batch, clip_mask=clip_mask, frame_masks=frame_masks)

    def _with_scenes(self, batch: ClipBatch) -> ClipBatch:
        """Add the teacher's logits; label the videos whose scene is unknown by them.

        The views of a video vote with the mean of their probabilities.
        """
        logits = batch.scene_logits
        if logits is None:
            if self.scene_teacher is None:
                return batch
            logits = self.scene_teacher(batch.video)
        probability = logits.float().softmax(-1).unflatten(0, (-1, batch.num_views)).mean(1)
        scene = torch.where(batch.scene == UNKNOWN, probability.argmax(1), batch.scene)
        return replace(batch, scene=scene, scene_logits=logits)
