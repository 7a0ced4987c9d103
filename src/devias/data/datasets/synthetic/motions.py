"""Actions as joint angles over time.

A limb has two segments (upper arm and forearm, thigh and shin), each pointed by two angles in
degrees: the *elevation* from hanging straight down (0) over horizontal (90) to straight up (180),
and the *azimuth* of the plane it moves in, forward (0) or out to the limb's own side (90).
Elevations below 0 or above 180 reach to the other side. Both are relative to gravity and to the
body's heading, so that leaning the torso carries the shoulders along but does not turn the arms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from devias.data.datasets.synthetic.arrays import Floats, floats

Angle = float | Floats
Limb = tuple[Angle, Angle, Angle, Angle]
"""Elevation and azimuth of the upper segment, then of the lower one; numbers or `[T]`."""

ARM: Limb = (8, 80, 14, 40)
LEG: Limb = (4, 90, 3, 90)


@dataclass
class Pose:
    """A body over T frames; every angle is a number or `[T]` degrees, lengths in body heights."""

    left_arm: Limb = ARM
    right_arm: Limb = ARM
    left_leg: Limb = LEG
    right_leg: Limb = LEG
    lean: Angle = 0.0
    """Torso forward."""
    roll: Angle = 0.0
    """Torso to the left."""
    twist: Angle = 0.0
    """Shoulders against hips, to the left."""
    turn: Angle = 0.0
    """Heading of the whole body, to the left."""
    hop: Angle = 0.0
    """Height of the lowest point above the ground."""
    travel: Angle = 0.0
    """Way covered along the heading."""

    def mirrored(self) -> Pose:
        """The same action with left and right exchanged."""
        return Pose(
            left_arm=self.right_arm,
            right_arm=self.left_arm,
            left_leg=self.right_leg,
            right_leg=self.left_leg,
            lean=self.lean,
            roll=-self.roll,
            twist=-self.twist,
            turn=-self.turn,
            hop=self.hop,
            travel=self.travel,
        )

    def stacked(self, frames: int) -> dict[str, Floats]:
        """Every field as an array: limbs `[4, T]`, the rest `[T]`."""
        stacked = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            rows = value if isinstance(value, tuple) else (value,)
            array = np.stack([np.broadcast_to(floats(row), (frames,)) for row in rows])
            stacked[entry.name] = array if isinstance(value, tuple) else array[0]
        return stacked


@dataclass(frozen=True)
class Motion:
    """One action class."""

    pose: Callable[[Floats], Pose]
    """From the phase `[T]` in cycles to the body."""
    rate: tuple[float, float]
    """Cycles a second, slowest and fastest."""
    views: tuple[tuple[float, float], ...]
    """Ranges of headings in degrees: 0 faces the viewer, ±90 is in profile."""


FRONT = ((-35.0, 35.0),)
PROFILE = ((50.0, 115.0), (-115.0, -50.0))
HALF = ((25.0, 80.0), (-80.0, -25.0))


def _swing(phase: Angle) -> Floats:
    """Sine of the phase: −1 … 1."""
    return np.sin(2 * np.pi * floats(phase))


def _pulse(phase: Angle) -> Floats:
    """From 0 at phase 0 to 1 at half a cycle and back, smoothly."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * floats(phase))


def _lift(phase: Angle) -> Floats:
    """The positive half of the sine, as of a foot in the air."""
    return np.maximum(_swing(phase), 0)


def _stride(phase: Floats, reach: float, fold: float, offset: float = 0.0) -> Limb:
    """A leg that swings to and fro by `reach` and folds its knee by `fold` on the way forward."""
    thigh = offset + reach * _swing(phase)
    return (thigh, 0, thigh - 6 - fold * _lift(phase + 0.2), 0)


# --- the benchmark -----------------------------------------------------------------------------


def waving(p: Floats) -> Pose:
    """One raised forearm swings from side to side."""
    return Pose(right_arm=(112, 90, 178 + 48 * _swing(p), 90), roll=3 * _swing(p))


def bending(p: Floats) -> Pose:
    """Bow until the hands reach the shins, and rise again."""
    k = _pulse(p)
    arm = (6 + 10 * k, 20, 10 + 12 * k, 10)
    leg = (2 - 9 * k, 0, -2 - 4 * k, 0)
    return Pose(left_arm=arm, right_arm=arm, left_leg=leg, right_leg=leg, lean=3 + 98 * k)


def squatting(p: Floats) -> Pose:
    """Sink into the knees with both arms reaching forward."""
    k = _pulse(p)
    arm = (12 + 78 * k, 12, 16 + 74 * k, 8)
    leg = (5 + 88 * k, 25, 1 - 40 * k, 15)
    return Pose(left_arm=arm, right_arm=arm, left_leg=leg, right_leg=leg, lean=2 + 26 * k)


def jumping_jacks(p: Floats) -> Pose:
    """Jump between feet together, arms down, and feet apart, arms up."""
    k = _pulse(p)
    arm = (14 + 142 * k, 90, 10 + 156 * k, 90)
    leg = (3 + 27 * k, 90, 2 + 25 * k, 90)
    hop = 0.07 * np.abs(_swing(p))
    return Pose(left_arm=arm, right_arm=arm, left_leg=leg, right_leg=leg, hop=hop)


def walking(p: Floats) -> Pose:
    """Stride along the ground, arms swinging against the legs."""
    s = _swing(p)
    return Pose(
        left_arm=(-26 * s, 8, -18 * s + 16, 8),
        right_arm=(26 * s, 8, 18 * s + 16, 8),
        left_leg=_stride(p, 27, 38),
        right_leg=_stride(p + 0.5, 27, 38),
        lean=4,
        travel=0.40 * p,
    )


def kicking(p: Floats) -> Pose:
    """Swing one leg from behind up to the horizontal, leaning back."""
    k = _pulse(p) ** 1.5
    thigh = -28 + 120 * k
    return Pose(
        left_arm=(20 + 55 * k, 35, 30 + 55 * k, 20),
        right_arm=(10 - 50 * k, 25, 15 - 45 * k, 20),
        left_leg=(4 - 4 * k, 0, -5, 0),
        right_leg=(thigh, 0, thigh - 55 * (1 - k), 0),
        lean=10 - 26 * k,
    )


def spinning(p: Floats) -> Pose:
    """Turn round and round with the arms stretched out."""
    leg = (6, 90, 3, 90)
    arm = (84 + 6 * _swing(2 * p), 90, 86, 90)
    return Pose(left_arm=arm, right_arm=arm, left_leg=leg, right_leg=leg, turn=360 * p)


def clapping(p: Floats) -> Pose:
    """Beat the hands together in front of the chest."""
    k = _pulse(p)
    arm = (62 + 8 * k, 4 + 74 * k, 92 + 8 * k, -64 + 134 * k)
    return Pose(left_arm=arm, right_arm=arm)


# --- the pretraining set -----------------------------------------------------------------------


def running(p: Floats) -> Pose:
    """Bound along with bent elbows and high heels."""
    s = _swing(p)
    return Pose(
        left_arm=(-42 * s, 8, -30 * s + 80, 4),
        right_arm=(42 * s, 8, 30 * s + 80, 4),
        left_leg=_stride(p, 46, 75, offset=14),
        right_leg=_stride(p + 0.5, 46, 75, offset=14),
        lean=14,
        hop=0.05 * _pulse(2 * p),
        travel=0.30 * p,
    )


def boxing(p: Floats) -> Pose:
    """Punch forward with one fist after the other from a guard."""

    def punch(k: Floats) -> Limb:
        return (28 + 62 * k, 20 - 20 * k, 150 - 60 * k, 0)

    left, right = _lift(p) ** 0.7, _lift(p + 0.5) ** 0.7
    return Pose(
        left_arm=punch(left),
        right_arm=punch(right),
        left_leg=(22, 10, 4, 10),
        right_leg=(-12, 10, -24, 10),
        lean=8,
        twist=22 * (right - left),
    )


def side_bending(p: Floats) -> Pose:
    """Bend the torso to one side and the other, one arm over the head."""
    s = _swing(p)
    return Pose(
        left_arm=(95 - 70 * s, 90, 110 - 95 * s, 90),
        right_arm=(95 + 70 * s, 90, 110 + 95 * s, 90),
        left_leg=(13, 90, 11, 90),
        right_leg=(13, 90, 11, 90),
        roll=42 * s,
    )


def climbing(p: Floats) -> Pose:
    """Reach up hand over hand and pull the knees up, as on a ladder."""

    def arm(k: Floats) -> Limb:
        return (92 + 78 * k, 50 - 30 * k, 170, 20)

    def leg(k: Floats) -> Limb:
        return (6 + 72 * k, 35, 2 - 18 * k, 20)

    left, right = _pulse(p), _pulse(p + 0.5)
    return Pose(arm(left), arm(right), leg(right), leg(left), hop=0.03 * _pulse(2 * p))


def rowing(p: Floats) -> Pose:
    """Sit on the ground, reach forward and pull the hands to the chest."""
    k = _pulse(p)
    arm = (85 - 90 * k, 10 + 20 * k, 82 + 8 * k, 4)
    leg = (118 - 24 * k, 12, 48 + 30 * k, 8)
    return Pose(arm, arm, leg, leg, lean=34 - 54 * k)


def marching(p: Floats) -> Pose:
    """Raise the knees to the hip by turns on the spot with stiff arms."""
    left, right = _lift(p), _lift(p + 0.5)

    def leg(k: Floats) -> Limb:
        return (2 + 92 * k, 10, 1 - 8 * k, 5)

    s = _swing(p)
    return Pose((-48 * s, 5, -44 * s, 5), (48 * s, 5, 44 * s, 5), leg(left), leg(right))


def hopping(p: Floats) -> Pose:
    """Spring up and down on one leg, the other folded behind."""
    k = _pulse(p)
    spring = (30 - 28 * k, 0, -26 + 24 * k, 0)
    arm = (38 + 26 * k, 80, 60 + 10 * k, 70)
    return Pose(arm, arm, spring, (8, 0, -95, 0), lean=10 - 6 * k, hop=0.17 * k)


def arm_circling(p: Floats) -> Pose:
    """Swing both straight arms round in full circles."""
    turn = 360 * p
    return Pose((turn, 25, turn, 25), (turn, 25, turn, 25))


def swaying(p: Floats) -> Pose:
    """Hold both arms up and rock from foot to foot."""
    s = _swing(p)
    return Pose(
        left_arm=(165 - 22 * s, 90, 172 - 30 * s, 90),
        right_arm=(165 + 22 * s, 90, 172 + 30 * s, 90),
        left_leg=(10 + 14 * s, 90, 8 + 14 * s, 90),
        right_leg=(10 - 14 * s, 90, 8 - 14 * s, 90),
        roll=16 * s,
    )


def pushing(p: Floats) -> Pose:
    """Lean against something and press it away with both hands."""
    k = _pulse(p)
    arm = (22 + 62 * k, 20 - 14 * k, 128 - 42 * k, 4)
    return Pose(arm, arm, (30 + 8 * k, 5, 6, 5), (-22 - 8 * k, 5, -34, 5), lean=16 + 18 * k)


def throwing(p: Floats) -> Pose:
    """Draw one arm back over the shoulder and fling it forward."""
    u = p % 1.0
    # Draw back slowly for 65 % of the cycle, fling forward in the rest.
    k = np.where(u < 0.65, u / 0.65, (1 - u) / 0.35)
    k = k * k * (3 - 2 * k)
    return Pose(
        left_arm=(30 + 60 * k, 20, 40 + 50 * k, 10),
        right_arm=(40 + 125 * k, 10 + 10 * k, 30 + 215 * k, 5),
        left_leg=(26, 5, 2, 5),
        right_leg=(-14, 5, -26, 5),
        lean=24 - 36 * k,
        twist=-35 * k,
    )


def digging(p: Floats) -> Pose:
    """Stoop, thrust both hands down and heave them up to one side."""
    k = _pulse(p)
    arm = (22 + 48 * k, 0, 14 + 76 * k, 0)
    leg = (34 - 14 * k, 15, -20 + 8 * k, 10)
    return Pose(arm, arm, leg, leg, lean=62 - 34 * k, twist=45 * k)


def swimming(p: Floats) -> Pose:
    """Stoop and pull the arms through by turns, as in the crawl."""
    turn = -360 * p
    leg = (14, 10, -16, 10)
    return Pose((turn, 10, turn, 5), (turn + 180, 10, turn + 180, 5), leg, leg, lean=52)


def lunging(p: Floats) -> Pose:
    """Sink from standing into a long step, hands on the hips."""
    k = _pulse(p)
    arm = (32, 75, -28, 60)
    return Pose(
        left_arm=arm,
        right_arm=arm,
        left_leg=(4 + 76 * k, 0, 0, 0),
        right_leg=(-2 - 28 * k, 0, -6 - 72 * k, 0),
    )


def cheering(p: Floats) -> Pose:
    """Pump both fists above the head with small jumps."""
    k = _pulse(p)
    arm = (105 + 42 * k, 80, 185 - 25 * k, 80)
    leg = (16 - 12 * k, 40, -8 + 8 * k, 40)
    return Pose(arm, arm, leg, leg, hop=0.06 * k)


def twisting(p: Floats) -> Pose:
    """Twist the shoulders against the hips with bent elbows and knees."""
    s = _swing(p)
    leg = (28, 30, -18, 20)
    return Pose((35, 80, 88, 20), (35, 80, 88, 20), leg, leg, twist=58 * s, turn=-20 * s, lean=6)


BENCHMARK_ACTIONS: dict[str, Motion] = {
    "waving": Motion(waving, (0.9, 1.5), FRONT),
    "bending": Motion(bending, (0.5, 0.8), PROFILE),
    "squatting": Motion(squatting, (0.6, 0.95), HALF),
    "jumping_jacks": Motion(jumping_jacks, (0.75, 1.2), FRONT),
    "walking": Motion(walking, (0.75, 1.15), PROFILE),
    "kicking": Motion(kicking, (0.65, 1.0), PROFILE),
    "spinning": Motion(spinning, (0.5, 0.9), ((-180.0, 180.0),)),
    "clapping": Motion(clapping, (1.0, 1.6), FRONT),
}
"""Class name → motion, in class order."""

PRETRAIN_ACTIONS: dict[str, Motion] = {
    "running": Motion(running, (1.1, 1.5), PROFILE),
    "boxing": Motion(boxing, (0.9, 1.3), PROFILE),
    "side_bending": Motion(side_bending, (0.5, 0.85), FRONT),
    "climbing": Motion(climbing, (0.7, 1.1), ((-40.0, 40.0), (140.0, 220.0))),
    "rowing": Motion(rowing, (0.6, 0.95), PROFILE),
    "marching": Motion(marching, (0.8, 1.2), HALF),
    "hopping": Motion(hopping, (1.0, 1.6), PROFILE),
    "arm_circling": Motion(arm_circling, (0.6, 1.0), PROFILE),
    "swaying": Motion(swaying, (0.5, 0.8), FRONT),
    "pushing": Motion(pushing, (0.6, 1.0), PROFILE),
    "throwing": Motion(throwing, (0.6, 0.9), PROFILE),
    "digging": Motion(digging, (0.6, 0.9), PROFILE),
    "swimming": Motion(swimming, (0.6, 1.0), PROFILE),
    "lunging": Motion(lunging, (0.55, 0.9), PROFILE),
    "cheering": Motion(cheering, (1.0, 1.5), FRONT),
    "twisting": Motion(twisting, (0.7, 1.1), FRONT),
}
"""Class name → motion, in class order; none of them is a benchmark action."""
