import numpy as np
import pytest

from devias.data.datasets.synthetic.motions import BENCHMARK_ACTIONS, PRETRAIN_ACTIONS

ACTIONS = BENCHMARK_ACTIONS | PRETRAIN_ACTIONS
PHASE = np.linspace(0, 1, 17, dtype=np.float32)


@pytest.mark.parametrize("name", ACTIONS)
def test_a_motion_repeats_after_one_cycle(name):
    pose = ACTIONS[name].pose
    first, second = pose(PHASE).stacked(17), pose(PHASE + 1).stacked(17)
    first["travel"] = second["travel"] = np.zeros(17)
    for key in first:
        turns = (second[key] - first[key]) / 360
        np.testing.assert_allclose(turns, np.round(turns), atol=1e-4, err_msg=key)


@pytest.mark.parametrize("name", ACTIONS)
def test_mirroring_twice_changes_nothing_and_once_swaps_the_sides(name):
    pose = ACTIONS[name].pose(PHASE)
    original, mirrored = pose.stacked(17), pose.mirrored().stacked(17)
    again = pose.mirrored().mirrored().stacked(17)
    for key, value in original.items():
        np.testing.assert_array_equal(again[key], value)
    np.testing.assert_array_equal(mirrored["left_arm"], original["right_arm"])
    np.testing.assert_array_equal(mirrored["twist"], -original["twist"])


@pytest.mark.parametrize("name", ACTIONS)
def test_something_moves_far(name):
    pose = ACTIONS[name].pose(PHASE).stacked(17)
    angles = np.concatenate([np.atleast_2d(v) for k, v in pose.items() if k not in ("hop",)])
    assert np.ptp(angles, axis=1).max() > 25


def test_rates_leave_several_frames_to_a_cycle_and_one_cycle_to_a_clip():
    for motion in ACTIONS.values():
        slow, fast = motion.rate
        assert 0.5 <= slow < fast <= 10 / 6  # six frames of ten a second; a clip lasts two seconds
