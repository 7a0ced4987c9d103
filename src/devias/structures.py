"""Tensor containers that travel between data, models, losses and evaluation.

Letters used in shapes everywhere: B videos, V views per video, T frames, T' = T / tubelet,
H×W pixels, h×w patches per frame, N = T'·h·w tokens, K slots, D embedding width,
N_A action classes, N_S scene classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

UNKNOWN = -1
"""The label of a video whose action or scene is not known."""


class Requirement(StrEnum):
    """What a part of a run looks at in a batch beside clips and labels.

    Loss terms, mask extractors and augmentations declare theirs in `requires`; what nobody
    declares is not made.
    """

    MASKS = "masks"
    """`clip_mask` and `frame_masks`."""
    GROUND_TRUTH_MASKS = "ground_truth_masks"
    SECOND_VIEW = "second_view"
    SCENE_LOGITS = "scene_logits"


@dataclass
class ClipBatch:
    """A batch of clips with everything known or derived about them.

    The loader fills the fields without a default, and those that the data or a cache holds; other
    pseudo labels are added on the device.
    """

    video: Tensor
    """`[B·V, 3, T, H, W]`; `uint8` from the loader, normalized floating point afterwards.
    The V views of one video are neighbors."""
    action: Tensor
    """`[B]` int64 action class, `UNKNOWN` where there is none."""
    scene: Tensor
    """`[B]` int64 scene class (of the data, or the scene model's arg-max), or `UNKNOWN`."""
    index: Tensor
    """`[B]` int64 position of each video in its dataset's records."""
    num_views: int = 1
    ground_truth_masks: Tensor | None = None
    """`[B·V, T, H, W]` bool, the actor's true silhouette where the data has it."""
    clip_mask: Tensor | None = None
    """`[B·V, H, W]` the pseudo-human mask of the whole clip, H̃; floating point in [0, 1], bool
    from a loader that reads it from a cache."""
    frame_masks: Tensor | None = None
    """`[B·V, T', H, W]` one pseudo-human mask a tubelet, Ĥ; likewise."""
    second_view: Tensor | None = None
    """As `video`: a second view of every clip, to be predicted as well (background erasing)."""
    scene_logits: Tensor | None = None
    """`[B·V, N_S]` the frozen scene model's logits."""
    errors: dict[int, str] = field(default_factory=dict)
    """By `index`, why videos could not be read whose clips show nothing of them."""

    def __len__(self) -> int:
        return len(self.action)

    def per_clip(self, labels: Tensor) -> Tensor:
        """Repeat labels `[B]` of the videos for each of their views → `[B·V]`."""
        return labels.repeat_interleave(self.num_views)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ClipBatch:
        """The same batch on another device; Lightning's batch transfer calls this."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> ClipBatch:
        """The same batch in page-locked memory; the data loader calls this."""
        return self._map(lambda tensor: tensor.pin_memory())

    def share_memory(self) -> ClipBatch:
        """The same batch in memory that other processes read."""
        return self._map(lambda tensor: tensor.share_memory_())

    def _map(self, function: Callable[[Tensor], Tensor]) -> ClipBatch:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {
            name: function(value) for name, value in values.items() if isinstance(value, Tensor)
        }
        return replace(self, **changed)


@dataclass
class SlotPrediction:
    """What every model of the package returns for `[B, 3, T, H, W]` clips.

    Baselines return it too: a two-token model is a model of two slots, so nothing downstream
    asks which model ran.
    """

    slots: Tensor
    """`[B, K, D]` the representations."""
    logits: Tensor
    """`[B, K, N_A + N_S]` the head's output for every slot, actions first."""
    num_actions: int
    """N_A, where the logits' action half ends."""
    grid: tuple[int, int, int]
    """`(T', h, w)`: tokens lie time-major, then row by row."""
    attention: Tensor | None = None
    """`[B, heads, K, N]` attention of the last iteration, before any normalization over keys;
    `None` where the model has none."""
    mask_logits: Tensor | None = None
    """`[B, K, h·w]` the mask decoder's output before its sigmoid, for every slot; `None` where
    the model has no decoder."""
    pixels: Tensor | None = None
    """`[B, K, 3·h·w]` the colors a pixel decoder makes of every slot, in the units of the
    normalized clip: all red values, then green, then blue."""
    segmentation_logits: Tensor | None = None
    """`[B, T, H', W']` where the actor is in every frame, at a resolution of the model's own;
    `None` unless the model is being pretrained to tell it."""
    second_view: SlotPrediction | None = None
    """The prediction for the batch's second view of the same clips, where it has one."""

    def halves(self) -> tuple[SlotPrediction, SlotPrediction]:
        """The predictions for the first and for the second half of the clips."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        parts: list[dict[str, Any]] = [
            {name: value.chunk(2)[half] for name, value in tensors.items()} for half in (0, 1)
        ]
        return replace(self, **parts[0]), replace(self, **parts[1])

    @property
    def action_logits(self) -> Tensor:
        """`[B, K, N_A]`."""
        return self.logits[..., : self.num_actions]

    @property
    def scene_logits(self) -> Tensor:
        """`[B, K, N_S]`."""
        return self.logits[..., self.num_actions :]


@dataclass
class Roles:
    """Which slot stands for the action and which for the scene, for every clip."""

    action: Tensor
    """`[B]` int64 slot index."""
    scene: Tensor
    """`[B]` int64 slot index."""

    @staticmethod
    def pick(values: Tensor, role: Tensor) -> Tensor:
        """Take from `values [B, K, …]` the slot `role [B]` of each clip → `[B, …]`."""
        return values[torch.arange(len(role), device=role.device), role]
