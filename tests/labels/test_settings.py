"""What pseudo labels depend on: makers told apart, and settings from a file checked."""

import contextlib
import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from devias.labels.scene_teacher import SceneTeacher
from devias.labels.settings import check_settings, describe
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


SETTINGS = {
    "masks": {"class": "FAME", "beta": 0.5, "sizes": [3, 5]},
    "scene_teacher": None,
    "clip_length": 16,
    "stride": 4,
    "image_size": 224,
    "videos": 7,
    "list": "0123456789abcdef",
    "tubelets": 8,
    "clip_masks": False,
    "scene_classes": 0,
    "hop": 1.0,
    "mask_size": 112,
    "shard_size": 256,
}


def test_sound_settings_pass():
    assert check_settings(SETTINGS, complete=True) is SETTINGS
    assert check_settings({**SETTINGS, "new": 3}) == {**SETTINGS, "new": 3}
    few = {"masks": None, "scene_teacher": None, "videos": 1, "shard_size": 1}
    assert check_settings(few) is few
    old = {key: value for key, value in SETTINGS.items() if key != "scene_classes"}
    assert check_settings(old, complete=True) is old


@pytest.mark.parametrize("key", sorted(set(SETTINGS) - {"scene_classes"}))
def test_a_missing_key_is_named(key):
    settings = {name: value for name, value in SETTINGS.items() if name != key}
    with pytest.raises(ValueError, match=rf"settings\.{key} is missing"):
        check_settings(settings, complete=True)


ODD = [-1, 0, 0.0, -0.0, 2.5, 3.0, 10**30, math.nan, math.inf, True, None, "7", [7], {"class": 7}]
ALLOWED = {
    "masks": [None],
    "scene_teacher": [None],
    "list": ["7"],
    "tubelets": [],
    "scene_classes": [0],
    "clip_masks": [True],
    "hop": [2.5, 3.0],
}


@pytest.mark.parametrize("key", sorted(SETTINGS))
def test_odd_values_are_named(key):
    for value in ODD:
        settings = {**SETTINGS, key: value}
        if any(
            value is good or (value == good and type(value) is type(good))
            for good in ALLOWED.get(key, [])
        ):
            check_settings(settings, complete=True)
            continue
        with pytest.raises(ValueError, match=rf"settings\.{key} "):
            check_settings(settings, complete=True)


def test_keys_that_do_not_go_together_are_named():
    for tubelets in (0, 3, 17, 32):
        with pytest.raises(ValueError, match=r"tubelets is \d+, not a divisor of clip_length 16"):
            check_settings({**SETTINGS, "tubelets": tubelets})
    assert check_settings({**SETTINGS, "tubelets": 0, "masks": None})
    with pytest.raises(ValueError, match=r"shard_size makes more than 1000000 files"):
        check_settings({**SETTINGS, "videos": 10**9, "shard_size": 999})
    with pytest.raises(ValueError, match=r"unknown key 'beta'"):
        check_settings({**SETTINGS, "beta": 1}, complete=True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@given(
    settings=JSON | st.dictionaries(st.sampled_from(sorted(SETTINGS)), JSON), whole=st.booleans()
)
def test_anything_passes_or_is_a_value_error(settings, whole):
    if whole and isinstance(settings, dict):
        settings = {**SETTINGS, **settings}
    with contextlib.suppress(ValueError):
        assert json.dumps(check_settings(settings, complete=whole))
