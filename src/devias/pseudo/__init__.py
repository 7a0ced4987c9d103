"""Pseudo labels made on the device: human masks, mixed backgrounds, scenes."""

from devias.pseudo.background_erasing import BackgroundErasing
from devias.pseudo.fame import FAME
from devias.pseudo.labeller import PseudoLabeller
from devias.pseudo.mixing import BackgroundMixing
from devias.pseudo.scene_teacher import SceneTeacher, image_classifier
from devias.pseudo.segformer import SegFormerMasks
from devias.pseudo.true_masks import TrueMasks

__all__ = [
    "FAME",
    "BackgroundErasing",
    "BackgroundMixing",
    "PseudoLabeller",
    "SceneTeacher",
    "SegFormerMasks",
    "TrueMasks",
    "image_classifier",
]
