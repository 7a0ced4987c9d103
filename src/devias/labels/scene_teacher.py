"""The frozen scene model that tells the scene of a clip where the data does not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from devias.models.frozen import Frozen
from devias.models.matching import SlotMatcher
from devias.models.normalize import IMAGENET_MEAN, IMAGENET_STD
from devias.structures import Roles, SlotPrediction
from devias.weights.read import WeightsError, read


class SceneTeacher(Frozen):
    """Scene logits of clips from a frozen network.

    Args:
        model: a video model of this package, `[B, 3, T, H, W]` → `SlotPrediction` with scene
            classes; or, with `per_frame`, an image classifier, `[B, 3, H, W]` → `[B, N_S]`.
        per_frame: apply an image classifier to every frame and average the probabilities.
        mean: normalization the model was trained with, one number a channel.
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
        video = self.normalize(video)
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


def image_classifier(name: str, num_classes: int, weights: str | Path | None = None) -> nn.Module:
    """An image classifier of timm, for a `SceneTeacher` with `per_frame`.

    Args:
        name: timm's name of the model.
        num_classes: N_S.
        weights: file of a state dict, read without running code; `None` fetches timm's own
            weights, whose classes must then be the scenes.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: it is unreadable, or not of this model.
    """
    model = timm.create_model(name, pretrained=weights is None, num_classes=num_classes)
    if weights is None:
        return model
    # Data-parallel training, in which the released Places365 networks were saved, adds `module.`.
    state = {key.removeprefix("module."): value for key, value in read(weights).tensors.items()}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"{weights} does not fit {name} of {num_classes} classes: {error}"
        ) from error
    return model
