"""Everything that happens to a batch between the loader and the model, on the device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import nn

from devias.augment.base import BatchAugmentation
from devias.labels.scene_teacher import SceneTeacher
from devias.masks.base import MaskExtractor
from devias.models.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from devias.structures import UNKNOWN, ClipBatch, Requirement


class BatchStage(nn.Module):
    """Turns the loader's `uint8` batch into the model's.

    Masks → augmentation → normalization → scenes. In training it makes what the parts of the run
    declare in their `requires`, and no more; in evaluation, scenes alone, unless `masks_in_eval`.
    What the batch already holds (masks, scene logits) is kept instead of computed; a clip mask it
    lacks is the mean of its frame masks. The module follows the batch to its device.

    Args:
        mean: normalization of the model's input, one number a channel.
        std: likewise.
        masks: makes masks from clips.
        augment: of training batches.
        scene_teacher: labels the clips as the model sees them, so a mixed clip by its background.
        requires: what the loss terms declare.
        masks_in_eval: make masks in evaluation too.

    Raises:
        ConfigError: the augmentation needs masks and nothing makes them.
    """

    def __init__(
        self,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        masks: MaskExtractor | None = None,
        augment: BatchAugmentation | None = None,
        scene_teacher: SceneTeacher | None = None,
        requires: Iterable[Requirement] = (Requirement.MASKS,),
        masks_in_eval: bool = False,
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.masks = masks
        self.augment = augment
        self.scene_teacher = scene_teacher
        self.masks_in_eval = masks_in_eval
        self.requires = set(requires)
        if augment is not None:
            augment.connect(masks)
            self.requires |= augment.requires

    @property
    def data_requires(self) -> set[Requirement]:
        """What training batches need that only the data can have."""
        needs = set(self.requires)
        if self.masks is not None and Requirement.MASKS in needs:
            needs |= self.masks.requires
        return needs & {Requirement.GROUND_TRUTH_MASKS}

    @property
    def provides(self) -> set[Requirement]:
        """What this stage adds to a training batch."""
        added = set() if self.augment is None else set(self.augment.provides)
        if self.masks is not None and Requirement.MASKS in self.requires:
            added.add(Requirement.MASKS)
        if self.scene_teacher is not None:
            added.add(Requirement.SCENE_LOGITS)
        return added

    @torch.no_grad()
    def forward(self, batch: ClipBatch) -> ClipBatch:
        """Return a new batch with normalized float32 video.

        Raises:
            TypeError: the clips are not `uint8`.
        """
        if batch.video.dtype != torch.uint8:
            raise TypeError(f"the batch stage takes uint8 clips, not {batch.video.dtype}")
        self._follow(batch)
        batch = replace(batch, video=batch.video.float().div_(255))
        if self.masks_in_eval or (self.training and Requirement.MASKS in self.requires):
            batch = self._with_masks(batch)
        if self.training and self.augment is not None:
            batch = self.augment(batch)
        batch = self._with_scenes(batch)
        if batch.second_view is not None:
            batch = replace(batch, second_view=self.normalize(batch.second_view))
        return replace(batch, video=self.normalize(batch.video))

    @torch.no_grad()
    def displayable(self, batch: ClipBatch) -> ClipBatch:
        """A batch this module returned as people look at it: `uint8` clips, masks in any case."""
        video = self.normalize.undo(batch.video.float())
        if batch.clip_mask is None:
            batch = self._with_masks(replace(batch, video=video))
        return replace(batch, video=(video * 255).round().clamp(0, 255).to(torch.uint8))

    def _follow(self, batch: ClipBatch) -> None:
        if self.normalize.mean.device != batch.video.device:
            self.to(batch.video.device)

    def _with_masks(self, batch: ClipBatch) -> ClipBatch:
        if batch.frame_masks is not None:
            frame_masks = batch.frame_masks.float()
            clip_mask = frame_masks.mean(1) if batch.clip_mask is None else batch.clip_mask.float()
        elif self.masks is None:
            return batch
        else:
            clip_mask, frame_masks = self.masks.extract(batch)
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
