"""The terms of the training loss, each a Lightning callback."""

from devias.losses.action import ActionRecognition
from devias.losses.attention_guidance import AttentionGuidance
from devias.losses.base import LossTerm, LossTermError
from devias.losses.consistency import Consistency
from devias.losses.mask_prediction import MaskPrediction
from devias.losses.pixel_prediction import PixelPrediction
from devias.losses.scene import SceneRecognition
from devias.losses.slot_diversity import SlotDiversity

__all__ = [
    "ActionRecognition",
    "AttentionGuidance",
    "Consistency",
    "LossTerm",
    "LossTermError",
    "MaskPrediction",
    "PixelPrediction",
    "SceneRecognition",
    "SlotDiversity",
]
