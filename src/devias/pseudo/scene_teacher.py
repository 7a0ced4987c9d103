"""The frozen scene model that tells the scene of a clip where the data does not."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from devias.models.matching import SlotMatcher
from devias.pseudo.frozen import Frozen
from devias.pseudo.normalise import IMAGENET_MEAN, IMAGENET_STD
from devias.structures import Roles, SlotPrediction


class SceneTeacher(Frozen):
    """Scene logits of clips from a frozen network.

    Args:
        model: a video model of this package, `[B, 3, T, H, W]` → `SlotPrediction` with scene
            classes; or, with `per_frame`, an image classifier, `[B, 3, H, W]` → `[B, N_S]`.
        per_frame: apply an image classifier to every frame and average the probabilities.
        mean: normalisation the model was trained with, one number a channel.
        std: likewise.
    """

    def __init__(
        self,
        model: nn.Module,
        per_frame: bool = False,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__(model, mean, std)
        self.per_frame = per_frame

    @torch.no_grad()
    def forward(self, video: Tensor) -> Tensor:
        """Clips `[B, 3, T, H, W]` in [0, 1] → logits `[B, N_S]`.

        Raises `TypeError` where the model's output is not what `per_frame` says.
        """
        video = self.normalise(video)
        return self._of_frames(video) if self.per_frame else self._of_clips(video)

    def _of_clips(self, video: Tensor) -> Tensor:
        prediction = self.model(video)
        if not isinstance(prediction, SlotPrediction):
            raise TypeError(
                f"the scene model returned {type(prediction).__name__}, not a SlotPrediction; "
                "an image classifier needs per_frame=true"
            )
        return Roles.pick(prediction.scene_logits, SlotMatcher().infer(prediction).scene)

    def _of_frames(self, video: Tensor) -> Tensor:
        clips, _, frames = video.shape[:3]
        logits = self.model(video.transpose(1, 2).flatten(0, 1))
        if not isinstance(logits, Tensor):
            raise TypeError(
                f"per_frame needs an image classifier that returns logits, not "
                f"{type(logits).__name__}"
            )
        log_probability = logits.float().log_softmax(-1).unflatten(0, (clips, frames))
        return log_probability.logsumexp(1) - math.log(frames)
