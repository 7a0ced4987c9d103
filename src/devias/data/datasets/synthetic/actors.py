"""Articulated people: a body drawn from a seed, posed by a motion, as rounded parts on screen.

A body stands in heights: 1 is from sole to crown. Its own axes are forward, left and up; turned by
its heading they become screen right, screen down and depth (towards the viewer), seen from
slightly above.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from devias.data.datasets.synthetic.arrays import Floats, floats, hsv
from devias.data.datasets.synthetic.motions import Motion
from devias.data.datasets.synthetic.raster import Parts

TILT = 0.14
"""How much lower on screen a nearer point lies, per unit of depth: the viewer looks down a bit."""

SOLE = 0.03
"""Height of the ankle's and the toe's center above the ground, in body heights."""
SIDES = ("left", "right")
SKIN = (
    (1.0, 0.86, 0.74),
    (0.94, 0.76, 0.62),
    (0.83, 0.62, 0.46),
    (0.66, 0.45, 0.31),
    (0.50, 0.33, 0.23),
    (0.36, 0.24, 0.18),
)
HAIR = (
    (0.12, 0.09, 0.08),
    (0.29, 0.18, 0.10),
    (0.50, 0.31, 0.15),
    (0.85, 0.68, 0.36),
    (0.62, 0.25, 0.12),
    (0.70, 0.70, 0.72),
)


@dataclass(frozen=True)
class Body:
    """Proportions in body heights and colors `[3]` in [0, 1]."""

    torso: float
    shoulder: float
    """Half the distance between the shoulder joints."""
    hip: float
    arm: float
    """Length of the upper arm."""
    leg: float
    """Length of the thigh, and of the shin."""
    head: float
    """Radius."""
    girth: float
    """Factor on the thickness of everything."""
    colors: dict[str, Floats]
    """`skin`, `hair`, `shirt`, `trousers`, `shoes`, `sleeve` (forearm) and `shin`."""


@dataclass(frozen=True)
class Placement:
    """Where a body stands on screen, in pixels."""

    x: float
    ground: float
    height: float
    heading: float
    """Degrees; 0 faces the viewer, 90 faces right."""


def draw_body(rng: np.random.Generator) -> Body:
    """A person of random build and clothes."""
    skin = floats(SKIN[rng.integers(len(SKIN))]) * rng.uniform(0.92, 1.04)
    shirt = hsv(rng.uniform(), rng.uniform(0.15, 0.9), rng.uniform(0.4, 1.0))
    trousers = hsv(rng.uniform(), rng.uniform(0.1, 0.75), rng.uniform(0.15, 0.75))
    shoes = floats([1.0, 0.97, 0.95]) * float(rng.choice([0.12, 0.3, 0.9]))
    leg = rng.uniform(0.222, 0.240)
    return Body(
        torso=rng.uniform(0.285, 0.315),
        shoulder=rng.uniform(0.100, 0.128),
        hip=rng.uniform(0.052, 0.068),
        arm=rng.uniform(0.160, 0.182),
        leg=leg,
        head=rng.uniform(0.080, 0.095),
        girth=rng.uniform(0.88, 1.18),
        colors={
            "skin": skin,
            "hair": floats(HAIR[rng.integers(len(HAIR))]),
            "shirt": shirt,
            "trousers": trousers,
            "shoes": shoes,
            "sleeve": shirt if rng.uniform() < 0.4 else skin,
            "shin": trousers if rng.uniform() < 0.75 else skin,
        },
    )


def draw_pose(motion: Motion, times: Floats, rng: np.random.Generator) -> dict[str, Floats]:
    """The motion at `times [T]` seconds in one person's manner: rate, phase, side, noise."""
    phase = rng.uniform(0, 1) + rng.uniform(*motion.rate) * times
    pose = motion.pose(phase)
    if rng.uniform() < 0.5:
        pose = pose.mirrored()
    angles = pose.stacked(len(times))
    for name, sd in (("left_arm", 5), ("right_arm", 5), ("left_leg", 2.5), ("right_leg", 2.5)):
        offset, drift = rng.normal(0, sd, (2, 4, 1))
        angles[name] += floats(offset + 0.5 * drift * np.sin(1.7 * times + offset))
    angles["lean"] += rng.normal(0, 3)
    angles["roll"] += rng.normal(0, 2)
    return angles


def draw_placement(motion: Motion, rng: np.random.Generator, width: int, height: int) -> Placement:
    """A random size, place and heading that keep a standing body inside the frame."""
    low, high = motion.views[rng.integers(len(motion.views))]
    return Placement(
        x=width / 2 + rng.uniform(-0.15, 0.15) * width,
        ground=rng.uniform(0.90, 0.965) * height,
        height=rng.uniform(0.60, 0.74) * height,
        heading=rng.uniform(low, high),
    )


def joints(body: Body, pose: dict[str, Floats]) -> dict[str, Floats]:
    """Every joint `[T, 3]` in the body's own axes, feet on the ground or `hop` above it."""
    lean, roll = np.deg2rad(pose["lean"]), np.deg2rad(pose["roll"])
    spine = _vectors(np.sin(lean) * np.cos(roll), np.sin(roll), np.cos(lean) * np.cos(roll))
    neck = body.torso * spine
    at = {"pelvis": np.zeros_like(spine), "neck": neck, **_head(body, pose, neck, spine)}
    across = _turned(_vectors(0.0, np.cos(roll), -np.sin(roll)), pose["twist"])
    for name, side in zip(SIDES, (1.0, -1.0), strict=True):
        shoulder = neck - 0.035 * spine + side * body.shoulder * across
        arm = pose[f"{name}_arm"]
        upper = _turned(_direction(arm[0], arm[1], side), pose["twist"])
        lower = _turned(_direction(arm[2], arm[3], side), pose["twist"])
        elbow = shoulder + body.arm * upper
        at[f"{name}_shoulder"], at[f"{name}_elbow"] = shoulder, elbow
        at[f"{name}_wrist"] = elbow + 0.85 * body.arm * lower
        at[f"{name}_hand"] = elbow + 1.08 * body.arm * lower

        leg = pose[f"{name}_leg"]
        hip = at["pelvis"] + floats([0, side * body.hip, 0])
        knee = hip + body.leg * _direction(leg[0], leg[1], side)
        shin = _direction(leg[2], leg[3], side)
        ankle = knee + body.leg * shin
        # The foot stands at a right angle to the shin, toes forward and a little outward.
        toe = _vectors(-shin[:, 2], 0.25 * side, shin[:, 0])
        at[f"{name}_hip"], at[f"{name}_knee"], at[f"{name}_ankle"] = hip, knee, ankle
        at[f"{name}_toe"] = ankle + 0.085 * toe
    lowest = np.min([at[name][:, 2] for name in GROUNDED], axis=0)
    shift = _vectors(pose["travel"], 0.0, pose["hop"] + SOLE - lowest)
    return {name: point + shift for name, point in at.items()}


def _head(body: Body, pose: dict[str, Floats], neck: Floats, spine: Floats) -> dict[str, Floats]:
    """The head's center, a point towards the nose, and the middle of the hair behind."""
    # The head follows half of the torso's lean.
    up = spine + floats([0, 0, 0.25])
    up /= np.linalg.norm(up, axis=-1, keepdims=True)
    half = 0.5 * np.deg2rad(pose["lean"])
    face = _turned(_vectors(np.cos(half), 0.0, -np.sin(half)), pose["twist"])
    head = neck + (0.045 + body.head) * up
    return {
        "head": head,
        "nose": head + 0.5 * body.head * face,
        "nape": head + body.head * (0.28 * up - 0.30 * face),
    }


def _vectors(forward: Floats | float, left: Floats | float, up: Floats | float) -> Floats:
    """Components `[T]`, or numbers beside them, as `[T, 3]`."""
    return np.stack(np.broadcast_arrays(floats(forward), floats(left), floats(up)), -1)


def _direction(elevation: Floats, azimuth: Floats, side: float) -> Floats:
    """Unit vector `[T, 3]` (forward, left, up); `side` is +1 for left limbs, −1 for right ones."""
    e, a = np.deg2rad(elevation), np.deg2rad(azimuth)
    return _vectors(np.sin(e) * np.cos(a), side * np.sin(e) * np.sin(a), -np.cos(e))


def _turned(points: Floats, degrees: Floats) -> Floats:
    """Turn `[T, 3]` to the left about the vertical axis."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    f, left, up = points[..., 0], points[..., 1], points[..., 2]
    return np.stack([f * c - left * s, f * s + left * c, up], -1)


GROUNDED = ("left_ankle", "right_ankle", "left_toe", "right_toe", "pelvis")
"""What can touch the ground; the lowest of them does."""


def project(points: Floats, heading: Floats, place: Placement) -> tuple[Floats, Floats]:
    """Body axes `[…, T, 3]` → screen pixels `[…, T, 2]` and depth `[…, T]` in body heights."""
    c, s = np.cos(np.deg2rad(heading)), np.sin(np.deg2rad(heading))
    forward, left, up = points[..., 0], points[..., 1], points[..., 2]
    depth = forward * c - left * s
    x = place.x + place.height * (forward * s + left * c)
    y = place.ground + place.height * (TILT * depth - up)
    return np.stack([x, y], -1), depth


@dataclass(frozen=True)
class Segment:
    """One rounded part between two joints."""

    first: str
    last: str
    radius: tuple[float, float]
    """At either joint, in body heights; in head radii where `color` is the head's."""
    color: str
    roundness: float = 1.0


def _both(first: str, last: str, radius: tuple[float, float], color: str) -> list[Segment]:
    """The same part on the left and on the right."""
    return [Segment(f"{side}_{first}", f"{side}_{last}", radius, color) for side in SIDES]


SEGMENTS = (
    Segment("neck", "head", (0.036, 0.040), "skin"),
    Segment("head", "nose", (1.0, 0.55), "skin", 0.7),
    Segment("nape", "nape", (0.98, 0.98), "hair", 0.7),
    # Three parts make the trunk; nearly flat shading lets them look like one.
    Segment("neck", "pelvis", (0.074, 0.072), "shirt", 0.25),
    Segment("left_shoulder", "left_hip", (0.058, 0.062), "shirt", 0.25),
    Segment("right_shoulder", "right_hip", (0.058, 0.062), "shirt", 0.25),
    *_both("hip", "knee", (0.066, 0.049), "trousers"),
    *_both("knee", "ankle", (0.046, 0.036), "shin"),
    *_both("ankle", "toe", (0.036, 0.026), "shoes"),
    *_both("shoulder", "elbow", (0.047, 0.040), "shirt"),
    *_both("elbow", "wrist", (0.038, 0.030), "sleeve"),
    *_both("wrist", "hand", (0.034, 0.036), "skin"),
)
HEAD = ("head", "nape")
"""First joints of the parts whose thickness follows the head, not the girth."""


def figure(body: Body, pose: dict[str, Floats], place: Placement) -> Parts:
    """The posed body as parts on screen, in front of each other by depth."""
    at = joints(body, pose)
    points = np.stack(list(at.values()))
    points[..., 0] -= pose["travel"].mean()  # halfway at the place, not at the start
    screen, depth = project(points, place.heading + pose["turn"], place)
    names = list(at)
    first = [names.index(segment.first) for segment in SEGMENTS]
    last = [names.index(segment.last) for segment in SEGMENTS]
    scale = [body.head if segment.first in HEAD else body.girth for segment in SEGMENTS]
    radius = floats([segment.radius for segment in SEGMENTS])
    return Parts(
        start=screen[first].swapaxes(0, 1),
        end=screen[last].swapaxes(0, 1),
        radius=radius * floats(scale)[:, None] * place.height,
        depth=0.5 * (depth[first] + depth[last]).T,
        color=np.stack([body.colors[segment.color] for segment in SEGMENTS]),
        roundness=floats([segment.roundness for segment in SEGMENTS]),
    )
