"""The benchmark's scenes: places a person recognizes, a new instance for every clip.

A scene is a function of random numbers and a canvas that returns a planar picture `[3, H', W']`,
or `[3, T, H', W']` where something in it moves, in [0, 1]. People stand at 90–97 % of the height.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from devias.data.datasets.synthetic.arrays import Floats, floats, hsv
from devias.data.datasets.synthetic.canvas import Canvas, mix, sprinkle, step, wave

Scene = Callable[[np.random.Generator, Canvas], Floats]


def _sky(rng: np.random.Generator, canvas: Canvas, horizon: float) -> Floats:
    """A day or evening sky with clouds, lighter towards the horizon."""
    evening = rng.uniform() < 0.3
    top = hsv(rng.uniform(0.53, 0.64), rng.uniform(0.35, 0.7), rng.uniform(0.65, 0.95))
    low = (
        hsv(rng.uniform(0.02, 0.12), rng.uniform(0.3, 0.55), 0.97)
        if evening
        else (hsv(rng.uniform(0.5, 0.6), rng.uniform(0.05, 0.25), 0.98))
    )
    sky = mix(top, low, np.clip(canvas.y / horizon, 0, 1) + 0 * canvas.x)
    clouds = canvas.noise(rng, rng.uniform(18, 30)) - rng.uniform(0.48, 0.62)
    return mix(sky, floats([1, 0.98, 0.96]), 0.8 * step(clouds, 0.12))


def water(rng: np.random.Generator, canvas: Canvas) -> Floats:
    """The sea under a strip of sky, waves running to a sandy beach."""
    x, y, t = canvas.x, canvas.y, canvas.t
    horizon = rng.uniform(10, 20)
    shore = rng.uniform(52, 57)
    picture = _sky(rng, canvas, horizon)
    hue = rng.uniform(0.46, 0.62)
    deep = hsv(hue, rng.uniform(0.6, 0.9), rng.uniform(0.4, 0.65))
    light = hsv(hue - 0.03, rng.uniform(0.3, 0.55), rng.uniform(0.75, 0.95))
    sand = hsv(rng.uniform(0.08, 0.13), rng.uniform(0.25, 0.45), rng.uniform(0.75, 0.95))
    # Perspective: rows near the horizon are far away, waves there look short.
    far = np.maximum(y - horizon, 0.6)
    rows = 40 / (far + 7)
    bend = canvas.noise(rng, 14, 2)
    speed = rng.uniform(0.5, 0.9)
    ripple = wave(2.2 * rows + 0.9 * bend + speed * t)
    ripple *= 0.55 + 0.45 * wave(x / rng.uniform(22, 34) - 1.3 * rows - 0.3 * t)
    depth = np.clip(far / (shore - horizon), 0, 1)
    sea = mix(mix(deep, light, 0.6 * depth + 0 * x), light * 0.4 + 0.6, 0.75 * ripple**2)
    picture = mix(picture[:, None], sea, step(y - horizon + 0 * x)[None])
    edge = y - shore - 1.6 * np.sin(x / 9 + rng.uniform(0, 6)) - 1.5 * np.sin(2 * speed * t)
    beach = sand[:, None, None] * (0.86 + 0.22 * canvas.noise(rng, 5, 3))
    picture = mix(picture, beach, step(edge))
    return mix(picture, floats([1, 1, 1]), 0.8 * step(1.3 - np.abs(edge + 1), 1.2))


def hills(rng: np.random.Generator, canvas: Canvas) -> Floats:
    """Rows of hills under a sky with clouds, a meadow with flowers in front."""
    x, y = canvas.x, canvas.y
    picture = _sky(rng, canvas, 40)
    sun = np.hypot(x - rng.uniform(0, 80), y - rng.uniform(2, 14)) - rng.uniform(3.5, 5.5)
    picture = mix(picture, floats([1, 0.93, 0.62]), step(-sun, 0.8) + 0.25 * step(-sun, 9))
    hue, strength = rng.uniform(0.17, 0.36), rng.uniform(0.4, 0.7)
    layers = 4
    for layer in range(layers):
        near = layer / (layers - 1)
        ridge = 24 + 20 * near + rng.uniform(-3, 3)
        for _ in range(3):
            length = rng.uniform(14, 34)
            ridge = ridge + rng.uniform(1, 4) * (1.2 - near) * np.sin(
                x / length * 3 + rng.uniform(0, 6)
            )
        haze = 0.45 * (1 - near)
        color = hsv(
            hue + rng.uniform(-0.03, 0.03),
            strength * (1 - haze),
            0.45 + 0.3 * near * rng.uniform(0.7, 1.1),
        )
        color = color * (1 - haze) + haze * floats([0.72, 0.82, 0.93])
        texture = 0.84 + 0.30 * canvas.noise(rng, 9 - 4 * near, 3)
        slope = 1 + 0.008 * (y - ridge)
        picture = mix(picture, color[:, None, None] * texture * slope, step(y - ridge))
    count = int(rng.integers(20, 60))
    flowers = rng.uniform((0, 52), (96, 72), (count, 2)).T[:, None]
    sprinkle(
        picture[:, None],
        flowers[0],
        flowers[1],
        0.4,
        hsv(rng.uniform(), rng.uniform(0.1, 0.8), 1.0),
    )
    return picture


def brick_wall(rng: np.random.Generator, canvas: Canvas) -> Floats:
    """A wall of bricks in running bond above a pavement."""
    x, y = canvas.x, canvas.y
    height, ratio = rng.uniform(4.6, 7.0), rng.uniform(2.0, 2.5)
    width = height * ratio
    kerb = rng.uniform(53, 57)
    row = np.floor((y + 20) / height).astype(int)
    shifted = x + 40 + width * 0.5 * floats(row % 2) + rng.uniform(0, 20)
    column = np.floor(shifted / width).astype(int)
    base = hsv(
        float(rng.choice([0.01, 0.03, 0.06, 0.10])), rng.uniform(0.2, 0.65), rng.uniform(0.5, 0.85)
    )
    if rng.uniform() < 0.2:
        base = hsv(rng.uniform(), 0.08, rng.uniform(0.75, 0.9))
    tones = floats(rng.uniform(0.78, 1.16, (40, 60)))
    warmth = floats(rng.uniform(-0.05, 0.05, (40, 60)))
    tone, warm = tones[row, column], warmth[row, column]
    bricks = base[:, None, None] * tone + warm * floats([1, 0.2, -0.6])[:, None, None]
    bricks = bricks * (0.9 + 0.2 * canvas.noise(rng, 4, 2))
    # Distance to the nearest joint, from above and from the left.
    down, across = (y + 20) % height, shifted % width
    joint = np.minimum(np.minimum(down, height - down), np.minimum(across, width - across))
    mortar = floats([0.80, 0.78, 0.74]) * rng.uniform(0.55, 1.1)
    wall = mix(mortar, bricks, step(joint - 0.55, 0.45))
    wall = wall * (1.05 - 0.25 * np.abs(x - rng.uniform(10, 70)) / 80)
    slabs = np.minimum((x + 40 + (y - kerb) * 0.4 * np.sign(x - 40)) % 17, 1.2) / 1.2
    pavement = floats([0.60, 0.60, 0.62])[:, None, None] * rng.uniform(0.75, 1.2)
    pavement = pavement * (0.85 + 0.2 * canvas.noise(rng, 5, 3)) * (0.85 + 0.15 * slabs)
    picture = mix(wall, pavement, step(y - kerb + 0 * x))
    return picture * (1 - 0.35 * step(1.4 - np.abs(y - kerb), 1.2))


def checker_room(rng: np.random.Generator, canvas: Canvas) -> Floats:
    """A room with a chequered floor in perspective, a wall with pictures, a skirting board."""
    x, y = canvas.x, canvas.y
    corner = rng.uniform(36, 42)
    wall_color = hsv(rng.uniform(), rng.uniform(0.12, 0.45), rng.uniform(0.65, 0.95))
    wall = (
        wall_color[:, None, None]
        * (1.05 - 0.004 * np.abs(x - rng.uniform(0, 80)))
        * (0.9 + 0.003 * y)
    )
    left = rng.uniform(-6, 14)
    for _ in range(int(rng.integers(2, 4))):
        half_w, half_h = rng.uniform(5, 10), rng.uniform(5, 8)
        u, v = x - left - half_w, y - rng.uniform(12, 19)
        box = np.maximum(np.abs(u) - half_w, np.abs(v) - half_h)
        tint = hsv(rng.uniform(), rng.uniform(0.3, 0.7), rng.uniform(0.5, 0.95))
        art = mix(tint, hsv(rng.uniform(), 0.5, 0.8), step(canvas.noise(rng, 7, 2) - 0.5, 0.1))
        wall = mix(wall, hsv(rng.uniform(0.05, 0.12), 0.5, rng.uniform(0.25, 0.6)), step(-box))
        wall = mix(wall, art, step(-box - 1.6))
        left += 2 * half_w + rng.uniform(6, 16)
    # Tiles shrink with the distance, which is 1 at the bottom and 8 at the far edge of the floor.
    depth = (72 - corner + 4) / np.maximum(y - corner + 4, 1)
    tile = rng.uniform(0.06, 0.09)
    u = (x - rng.uniform(20, 60)) * depth * tile
    v = depth * rng.uniform(1.0, 1.4) + rng.uniform(0, 1)
    # A product of square waves, softened over the part of a tile that a pixel covers.
    soft_u, soft_v = np.pi * depth * tile, np.pi * 1.2 * depth * depth / 36
    square = np.clip(np.sin(np.pi * u) / soft_u, -1, 1) * np.clip(np.sin(np.pi * v) / soft_v, -1, 1)
    hue = rng.uniform()
    dark = hsv(hue, rng.uniform(0.1, 0.6), rng.uniform(0.12, 0.4))
    bright = hsv(hue + rng.uniform(0, 0.2), rng.uniform(0.02, 0.25), rng.uniform(0.8, 1.0))
    floor = mix(dark, bright, 0.5 + 0.5 * square) * (0.82 + 0.006 * (y - corner))
    picture = mix(wall, floor, step(y - corner + 0 * x))
    board = floats([0.95, 0.94, 0.9]) * rng.uniform(0.35, 1.0)
    return mix(picture, board, step(1.3 - np.abs(y - corner + 1.2) + 0 * x))


def forest(rng: np.random.Generator, canvas: Canvas) -> Floats:
    """Trunks between layers of leaves that sway in the wind, a floor of fallen leaves."""
    x, y = canvas.x, canvas.y
    hue = rng.uniform(0.22, 0.38) if rng.uniform() < 0.7 else rng.uniform(0.04, 0.13)
    shade = hsv(hue + 0.04, rng.uniform(0.45, 0.7), rng.uniform(0.14, 0.3))
    glow = hsv(hue - 0.03, rng.uniform(0.25, 0.5), rng.uniform(0.75, 0.95))
    picture = mix(shade, glow, np.clip(1.1 * canvas.noise(rng, 16, 3) - 0.25, 0, 1))
    ground = rng.uniform(48, 54)
    bark = hsv(rng.uniform(0.05, 0.1), rng.uniform(0.25, 0.5), rng.uniform(0.2, 0.5))
    for layer in range(2):
        grain = 0.75 + 0.5 * canvas.noise(rng, 3, 2)
        for _ in range(int(rng.integers(3, 5))):
            width = rng.uniform(1.2, 2.2) * (1 + 0.9 * layer)
            middle = rng.uniform(-8, 88) + rng.uniform(-0.08, 0.08) * (y - 30)
            trunk = np.abs(x - middle) - width * (0.8 + 0.006 * y)
            side = 0.8 + 0.35 * np.clip((x - middle) / width, -1, 1)
            tone = bark * (0.6 + 0.4 * layer)
            weight = step(-trunk) * (y < ground + 3 * layer)
            picture = mix(picture, tone[:, None, None] * grain * side, weight)
    floor_hue = hue if rng.uniform() < 0.5 else rng.uniform(0.06, 0.11)
    litter = hsv(floor_hue, rng.uniform(0.4, 0.6), rng.uniform(0.35, 0.6))
    floor = litter[:, None, None] * (0.55 + 0.9 * canvas.noise(rng, 4, 3))
    picture = mix(picture, floor, step(y - ground - 2 * np.sin(x / 11 + rng.uniform(0, 6)), 1.5))
    picture = np.repeat(picture[:, None], len(canvas.times), axis=1)
    reach = rng.uniform(16, 26)
    rows = slice(0, int(reach) + 20)
    for layer in range(2):
        rate, start = rng.uniform(1.5, 3), rng.uniform(0, 6)
        sway = (1 + layer) * np.sin(rate * canvas.times + start)
        crown = canvas.noise(rng, 9 - 3 * layer, 3)
        crown += 0.030 * (reach - y) * (1 - 0.4 * layer) - 0.10
        leaves = step(_swayed(crown[rows], sway) - 0.52, 0.06)
        tone = hsv(hue + rng.uniform(-0.03, 0.03), rng.uniform(0.5, 0.8), 0.35 + 0.25 * layer)
        light = tone[:, None, None] * (0.55 + 0.9 * canvas.noise(rng, 5, 2))
        picture[:, :, rows] = mix(picture[:, :, rows], light[:, rows], leaves)
    return picture


def _swayed(picture: Floats, shift: Floats) -> Floats:
    """`[H', W']` moved sideways by `shift [T]` pixels, the edge repeated → `[T, H', W']`."""
    width = picture.shape[1]
    position = np.clip(np.arange(width, dtype=np.float32) - shift[:, None], 0, width - 1.001)
    left = position.astype(int)
    weight = (position - left)[:, None, :]
    near, far = picture[:, left].transpose(1, 0, 2), picture[:, left + 1].transpose(1, 0, 2)
    return near + weight * (far - near)


def stadium(rng: np.random.Generator, canvas: Canvas) -> Floats:
    """Stands full of people above advertising boards, a mown pitch with its lines."""
    x, y = canvas.x, canvas.y
    boards = rng.uniform(27, 33)
    pitch = boards + rng.uniform(4, 6)
    roof = rng.uniform(-4, 4)
    seat = hsv(rng.uniform(), rng.uniform(0.3, 0.8), rng.uniform(0.25, 0.5))
    tiers = 0.75 + 0.25 * wave((y + rng.uniform(0, 9)) / rng.uniform(3.2, 4.2))
    stand = seat[:, None, None] * (tiers * (0.8 + 0.01 * y) + 0 * x)
    picture = mix(stand, floats([0.85, 0.88, 0.92]), step(roof - y + 0 * x))
    panel = np.floor((x + 60) / rng.uniform(13, 19)).astype(int) % 6
    paints = [hsv(rng.uniform(), rng.uniform(0.2, 0.9), rng.uniform(0.6, 1)) for _ in range(6)]
    picture = mix(picture, np.stack(paints, 1)[:, panel], step(y - boards + 0 * x))
    near = 40 / np.maximum(y - pitch + 14, 1)
    stripes = step(np.sin((x - rng.uniform(20, 60)) * near / rng.uniform(5, 7)), 0.15)
    dark = hsv(rng.uniform(0.25, 0.36), rng.uniform(0.55, 0.8), rng.uniform(0.4, 0.55))
    grass = mix(dark, dark * rng.uniform(1.2, 1.4), stripes)
    grass = grass * (0.9 + 0.2 * canvas.noise(rng, 3, 2))
    line = step(0.8 - np.abs(y - pitch - rng.uniform(4, 8)) + 0 * x)
    grass = mix(grass, floats([0.95, 0.97, 0.95]), 0.9 * line)
    picture = mix(picture, grass, step(y - pitch + 0 * x))
    return _crowd(rng, canvas, picture, roof + 7, boards + 2)


def _crowd(
    rng: np.random.Generator, canvas: Canvas, picture: Floats, top: float, bottom: float
) -> Floats:
    """Rows of fans in four colors between two canvas rows; a third of them bob up and down."""
    columns, rows = np.meshgrid(np.arange(1, 96, 2.9), np.arange(top, bottom, 3.7))
    taken = rng.uniform(size=columns.size) < 0.8
    count = int(taken.sum())
    x = columns.ravel()[taken] + rng.uniform(-0.7, 0.7, count)
    y = rows.ravel()[taken] + rng.uniform(-0.5, 0.5, count)
    team = rng.uniform()
    hues = (team, team, rng.uniform(), rng.uniform())
    shirts = [hsv(hue, rng.uniform(0.1, 0.8), rng.uniform(0.65, 1)) for hue in hues]
    color = np.stack(shirts, 1)[:, rng.integers(0, 4, count)]
    sits = rng.uniform(size=count) < 0.67
    sprinkle(picture[:, None], x[None, sits], y[None, sits], 0.9, color[:, sits])
    picture = np.repeat(picture[:, None], len(canvas.times), axis=1)
    beat = 7 * canvas.times[:, None] + rng.uniform(0, 6, int((~sits).sum()))
    sprinkle(picture, x[~sits] + 0 * beat, y[~sits] + 0.8 * np.sin(beat), 0.9, color[:, ~sits])
    return picture


def night_city(rng: np.random.Generator, canvas: Canvas) -> Floats:
    """Houses with lit windows under a night sky, lights flickering, a street in front."""
    x, y, t = canvas.x, canvas.y, canvas.t
    hue = rng.uniform(0.58, 0.78)
    top, low = (
        hsv(hue, 0.75, rng.uniform(0.10, 0.2)),
        hsv(hue + 0.08, 0.55, rng.uniform(0.35, 0.55)),
    )
    picture = mix(top, low, np.clip(y / 50, 0, 1) + 0 * x)
    stars = rng.uniform((0, 0), (96, 30), (40, 2)).T[:, None]
    sprinkle(picture[:, None], stars[0], stars[1], 0.15, floats([1, 1, 0.9]))
    moon = np.hypot(x - rng.uniform(5, 75), y - rng.uniform(3, 9)) - rng.uniform(3, 4.5)
    picture = mix(picture, floats([1, 0.97, 0.85]), step(-moon) + 0.18 * step(-moon, 8))
    street = rng.uniform(53, 57)
    lit = np.zeros(picture.shape[1:], np.float32)
    left = -10.0
    while left < 90:
        width, roof = rng.uniform(13, 24), rng.uniform(8, 30)
        inside = (x >= left) & (x < left + width) & (y >= roof)
        wall = hsv(hue + rng.uniform(-0.08, 0.08), rng.uniform(0.2, 0.5), rng.uniform(0.14, 0.32))
        picture = np.where(inside, wall[:, None, None], picture)
        cell_x, cell_y = rng.uniform(3.4, 4.8), rng.uniform(4.2, 5.6)
        u, v = (x - left - 1.2) / cell_x, (y - roof - 1.8) / cell_y
        on = rng.uniform(size=(40, 40)) < rng.uniform(0.4, 0.7)
        pane = step(0.31 - np.abs(u % 1 - 0.45), 0.1) * step(0.30 - np.abs(v % 1 - 0.45), 0.09)
        shown = (
            inside & (u > 0) & (u < np.floor((width - 1.6) / cell_x)) & (v > 0) & (y < street - 4)
        )
        lit += pane * shown * on[np.floor(v).astype(int) % 40, np.floor(u).astype(int) % 40]
        left += width + (rng.uniform(1, 5) if rng.uniform() < 0.3 else 0)
    warm = hsv(rng.uniform(0.09, 0.15), rng.uniform(0.35, 0.7), 1.0)
    cool = hsv(rng.uniform(0.45, 0.55), rng.uniform(0.1, 0.4), 0.95)
    lamp = mix(warm, cool, step(canvas.noise(rng, 9, 1) - rng.uniform(0.55, 0.8), 0.05))
    road = hsv(hue, 0.3, rng.uniform(0.14, 0.26))[:, None, None] * (
        0.75 + 0.5 * canvas.noise(rng, 5, 3)
    )
    gleam = wave(x / rng.uniform(14, 24) + rng.uniform(0, 1)) ** 4
    road = mix(road, warm, 0.4 * gleam * np.clip(1.3 - (y - street) / 14, 0, 1))
    picture = mix(picture, road, step(y - street + 0 * x))
    flicker = 1 - 0.35 * floats(np.sin(9 * t + 6 * canvas.noise(rng, 12, 1)) > 0.75)
    return mix(picture[:, None], lamp[:, None], np.clip(lit, 0, 1) * flicker)


def snow(rng: np.random.Generator, canvas: Canvas) -> Floats:
    """Fir trees in snow under a pale sky, flakes falling."""
    x, y = canvas.x, canvas.y
    hue = rng.uniform(0.52, 0.68)
    top, low = hsv(hue, rng.uniform(0.12, 0.45), rng.uniform(0.55, 0.88)), hsv(hue, 0.06, 0.95)
    picture = mix(top, low, np.clip(y / 44, 0, 1) + 0 * x)
    drift = hsv(hue, rng.uniform(0.03, 0.1), rng.uniform(0.9, 1.0))
    for layer in range(3):
        ground = 38 + 7 * layer + 1.8 * np.sin(x / rng.uniform(9, 20) + rng.uniform(0, 6))
        for _ in range(int(rng.integers(3, 6)) - layer):
            middle, size = rng.uniform(-6, 86), rng.uniform(16, 23) * (0.8 + 0.25 * layer)
            foot = 41 + 7 * layer
            height = (foot - y) / size
            # Three skirts of branches, each wider towards its lower edge.
            skirt = 0.20 * (1 - height) + 0.13 * (1 - (3 * height) % 1.0) * (1.2 - height)
            inside = (height > 0) & (height < 1)
            tree = np.where(inside, skirt * size - np.abs(x - middle), -9)
            green = hsv(rng.uniform(0.36, 0.46), rng.uniform(0.25, 0.5), 0.24 + 0.08 * (2 - layer))
            white = step((3 * height) % 1.0 - 1.05 + 0.6 * canvas.noise(rng, 3, 1), 0.15)
            fir = mix(green, drift, 0.8 * white)
            picture = mix(picture, fir, step(tree, 0.6))
        tone = 0.84 + 0.05 * layer + 0.14 * (canvas.noise(rng, 14, 3) - 0.3)
        picture = mix(picture, drift[:, None, None] * tone, step(y - ground))
    count = int(rng.integers(50, 110))
    speed, wind = rng.uniform(9, 22, count), rng.uniform(-9, 9)
    fall_y = (rng.uniform(0, 72, count) + speed * canvas.times[:, None]) % 72
    fall_x = (rng.uniform(0, 96, count) + wind * canvas.times[:, None]) % 96
    picture = np.repeat(picture[:, None], len(canvas.times), axis=1)
    sprinkle(picture, fall_x, fall_y, rng.uniform(0.3, 0.95, count), floats([1, 1, 1]))
    return picture


BENCHMARK_SCENES: dict[str, Scene] = {
    scene.__name__: scene
    for scene in (water, hills, brick_wall, checker_room, forest, stadium, night_city, snow)
}
"""Class name → scene, in class order."""
