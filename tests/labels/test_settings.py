"""What pseudo labels depend on: makers told apart, and settings from a file checked."""

import torch
from torch import nn

from devias.labels.scene_teacher import SceneTeacher
from devias.labels.settings import describe
from devias.masks.fame import FAME


def test_makers_are_told_apart():
    assert describe(None) is None
    assert describe(FAME(0.3)) == describe(FAME(0.3))
    assert describe(FAME(0.3)) != describe(FAME(0.5))
    assert describe(FAME(0.3))["class"] == "FAME"


def test_networks_are_told_apart_by_the_content_of_their_weights():
    def teacher(seed, **settings):
        torch.manual_seed(seed)
        return SceneTeacher(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), **settings)

    same, again, other = describe(teacher(1)), describe(teacher(1)), describe(teacher(2))
    assert same == again
    assert same != other
    assert same != describe(teacher(1, per_frame=True))
    assert same != describe(teacher(1, mean=(0.5, 0.5, 0.5)))
    statistics = teacher(1)
    statistics.model[1].running_mean += 1
    assert same != describe(statistics)
    half = teacher(1)
    half.model.bfloat16()
    assert same != describe(half)
