"""Human masks from a semantic segmentation network (SegFormer by default)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from devias.masks.base import MaskExtractor
from devias.models.frozen import Frozen
from devias.models.normalize import IMAGENET_MEAN, IMAGENET_STD

CITYSCAPES_PERSON = 11

ClipMask = Literal["mean", "tubelet"]


class SegFormerMasks(Frozen, MaskExtractor):
    """Marks the pixels that a segmentation network gives to a class such as person.

    Looks at the first frame of every tubelet.

    Args:
        model: id on the Hugging Face hub, or a local folder with `config.json` and weights, of any
            semantic segmentation model of transformers.
        class_ids: the model's classes that count as foreground.
        tubelet_size: frames that share one frame mask.
        clip_mask: the clip mask is the `mean` of the frame masks (the paper's average over time)
            or, as in the released code, that of one `tubelet`, drawn once for the batch.
        mean: normalization of the model's input, one number a channel.
        std: likewise.
    """

    foreground: Tensor

    def __init__(
        self,
        model: str = "nvidia/segformer-b3-finetuned-cityscapes-1024-1024",
        class_ids: Sequence[int] = (CITYSCAPES_PERSON,),
        tubelet_size: int = 2,
        clip_mask: ClipMask = "mean",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        if clip_mask not in get_args(ClipMask):
            raise ValueError(f"clip_mask must be mean or tubelet, not {clip_mask!r}")
        network = load_segmentation_model(model)
        super().__init__(network, mean, std)
        self.tubelet_size = tubelet_size
        self.clip_mask = clip_mask
        classes = network.config.num_labels
        if not class_ids or not all(0 <= index < classes for index in class_ids):
            raise ValueError(f"class_ids {list(class_ids)} must be among 0 … {classes - 1}")
        foreground = torch.zeros(classes)
        foreground[list(class_ids)] = 1
        self.register_buffer("foreground", foreground, persistent=False)

    @torch.no_grad()
    def forward(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Mask clips `[B, 3, T, H, W]` with values in [0, 1].

        Returns:
            The clip masks `[B, H, W]` in [0, 1], and the frame masks `[B, T', H, W]` of 0 and 1.
        """
        if video.shape[2] % self.tubelet_size:
            raise ValueError(
                f"{video.shape[2]} frames do not divide into tubelets of {self.tubelet_size}"
            )
        frames = video[:, :, :: self.tubelet_size].transpose(1, 2)
        logits = self.model(self.normalize(frames.flatten(0, 1))).logits
        logits = F.interpolate(logits, video.shape[-2:], mode="bilinear", align_corners=False)
        frame_masks = self.foreground[logits.argmax(1)].unflatten(0, frames.shape[:2])
        if self.clip_mask == "mean":
            return frame_masks.mean(1), frame_masks
        drawn = torch.randint(frame_masks.shape[1], (1,), device=video.device)
        return frame_masks.index_select(1, drawn)[:, 0], frame_masks


def load_segmentation_model(name: str) -> Any:
    """Load from the hub or a folder; raise `ImportError` that says what to install."""
    try:
        from transformers import AutoModelForSemanticSegmentation
    except ImportError as error:
        message = "SegFormer masks need transformers: pip install 'devias[segformer]'"
        raise ImportError(message) from error
    return AutoModelForSemanticSegmentation.from_pretrained(name)
