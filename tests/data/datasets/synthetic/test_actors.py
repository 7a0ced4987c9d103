import numpy as np
import pytest

from devias.data.datasets.synthetic.actors import (
    GROUNDED,
    SOLE,
    Placement,
    draw_body,
    draw_placement,
    draw_pose,
    figure,
    joints,
    project,
)
from devias.data.datasets.synthetic.motions import BENCHMARK_ACTIONS, PRETRAIN_ACTIONS

ACTIONS = BENCHMARK_ACTIONS | PRETRAIN_ACTIONS
TIMES = np.arange(20, dtype=np.float32) / 10


def length(at, first, last):
    return np.linalg.norm(at[first] - at[last], axis=-1)


@pytest.mark.parametrize("name", ACTIONS)
def test_bones_keep_their_length(name, rng):
    body = draw_body(rng)
    at = joints(body, draw_pose(ACTIONS[name], TIMES, rng))
    np.testing.assert_allclose(length(at, "pelvis", "neck"), body.torso, rtol=1e-4)
    for side in ("left", "right"):
        upper, thigh = (f"{side}_shoulder", f"{side}_elbow"), (f"{side}_hip", f"{side}_knee")
        np.testing.assert_allclose(length(at, *upper), body.arm, rtol=1e-4)
        np.testing.assert_allclose(length(at, *thigh), body.leg, rtol=1e-4)
        np.testing.assert_allclose(length(at, f"{side}_knee", f"{side}_ankle"), body.leg, rtol=1e-4)


@pytest.mark.parametrize("name", ACTIONS)
def test_the_lowest_joint_stands_on_the_ground_unless_hopping(name, rng):
    pose = draw_pose(ACTIONS[name], TIMES, rng)
    at = joints(draw_body(rng), pose)
    lowest = np.min([at[joint][:, 2] for joint in GROUNDED], axis=0)
    np.testing.assert_allclose(lowest, SOLE + pose["hop"], atol=1e-5)


def heights(name, joint, rng):
    """Height of a joint over one undisturbed cycle, in body heights."""
    phase = np.linspace(0, 1, 21, dtype=np.float32)
    return joints(draw_body(rng), ACTIONS[name].pose(phase).stacked(21))[joint][:, 2]


def test_actions_do_what_they_are_called(rng):
    assert (
        heights("bending", "head", rng).min() < 0.55 < 0.8 < heights("bending", "head", rng).max()
    )
    assert heights("bending", "pelvis", rng).min() > 0.4
    assert heights("squatting", "pelvis", rng).min() < 0.3
    assert heights("jumping_jacks", "left_hand", rng).max() > 1
    assert heights("jumping_jacks", "left_hand", rng).min() < 0.5
    assert heights("kicking", "right_toe", rng).max() > 0.4
    assert heights("kicking", "left_ankle", rng).max() < 0.1
    assert np.ptp(heights("waving", "left_hand", rng)) < 0.05
    assert heights("rowing", "pelvis", rng).max() < 0.1


def test_clapping_hands_meet_and_part(rng):
    phase = np.linspace(0, 1, 21, dtype=np.float32)
    at = joints(draw_body(rng), ACTIONS["clapping"].pose(phase).stacked(21))
    apart = length(at, "left_hand", "right_hand")
    assert apart.min() < 0.1
    assert apart.max() > 0.6


def test_projection_of_the_three_axes():
    place = Placement(x=40, ground=60, height=50, heading=0)
    axes = np.eye(3, dtype=np.float32)  # forward, left, up
    facing, depth = project(axes, np.float32(0), place)
    np.testing.assert_allclose(facing - [40, 60], [[0, 7], [50, 0], [0, -50]], atol=1e-4)
    np.testing.assert_allclose(depth, [1, 0, 0], atol=1e-6)
    profile, depth = project(axes, np.float32(90), place)
    np.testing.assert_allclose(profile[0], [90, 60], atol=1e-4)  # forward is right on screen
    assert depth[1] == pytest.approx(-1)  # the left side is the far one


@pytest.mark.parametrize("name", ACTIONS)
def test_figures_stay_inside_the_frame(name):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        motion = ACTIONS[name]
        place = draw_placement(motion, rng, 80, 64)
        parts = figure(draw_body(rng), draw_pose(motion, TIMES, rng), place)
        middle = 0.5 * (parts.start + parts.end)[:, 3]  # the trunk
        assert middle.min() > 4
        assert middle[:, 0].max() < 76
        points = np.concatenate([parts.start, parts.end], 1)
        inside = (points > 0).all(-1) & (points < (80, 64)).all(-1)
        assert inside.mean() > 0.95
