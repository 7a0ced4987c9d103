"""One clip: its scene through a camera, its actor on top, the file and the silhouette."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray

from devias.data.datasets.synthetic.actors import (
    Placement,
    draw_body,
    draw_placement,
    draw_pose,
    figure,
)
from devias.data.datasets.synthetic.arrays import Bools, Floats, floats
from devias.data.datasets.synthetic.canvas import MARGIN, Canvas
from devias.data.datasets.synthetic.motions import Motion
from devias.data.datasets.synthetic.raster import Parts, paint
from devias.data.datasets.synthetic.scenes import Scene
from devias.data.mask_files import write_masks

WIDTH, HEIGHT = 80, 64
"""Wider than high, so that the three spatial crops of a test view differ."""
FRAMES, RATE = 20, 10
"""Frames in a clip, and frames a second."""
CODEC_OPTIONS = {
    "crf": "20",
    "preset": "superfast",
    "g": "10",
    # Looking ahead saves bits in long videos and costs a third of the time in these.
    "x264-params": "rc-lookahead=0:sync-lookahead=0:mbtree=0",
}


@dataclass(frozen=True)
class Clip:
    """A drawn clip."""

    video: NDArray[np.uint8]
    """`[T, H, W, 3]` RGB."""
    masks: Bools
    """`[T, H, W]`, the actor's silhouette."""


def draw_clip(seed: tuple[int, ...], motion: Motion | None, scene: Scene) -> Clip:
    """Draw one clip; `seed` alone decides everything that is random. No motion: no actor.

    The scene, the camera and the actor draw from streams of their own, so that a change of one
    class leaves the others' instances as they are.
    """
    scene_rng, camera_rng, actor_rng = (np.random.default_rng([*seed, i]) for i in range(3))
    times = floats(np.arange(FRAMES) / RATE)
    shift = _camera_path(camera_rng, times)
    frames = _view(scene(scene_rng, Canvas(WIDTH, HEIGHT, times)), shift)
    masks = np.zeros((FRAMES, HEIGHT, WIDTH), bool)
    if motion is not None:
        body = draw_body(actor_rng)
        place = draw_placement(motion, actor_rng, WIDTH, HEIGHT)
        parts = figure(body, draw_pose(motion, times, actor_rng), place).moved(-shift)
        _cast_shadow(frames, parts, place, shift)
        masks = paint(frames, parts)
    _grade(camera_rng, frames)
    pixels = np.clip(frames * 255 + 0.5, 0, 255).astype(np.uint8)
    return Clip(np.ascontiguousarray(pixels.transpose(1, 2, 3, 0)), masks)


def _camera_path(rng: np.random.Generator, times: Floats) -> Floats:
    """A slow pan with a little jitter, inside the canvas's margin → `[T, 2]` pixels (x, y)."""
    middle = times - times.mean()
    pan = rng.normal(0, (2.0, 0.5)) * middle[:, None]
    jitter = rng.normal(0, rng.uniform(0.05, 0.25), (len(times), 2))
    limit = floats([MARGIN[1] - 1, MARGIN[0] - 1])
    return floats(np.clip(pan + jitter, -limit, limit))


def _view(picture: Floats, shift: Floats) -> Floats:
    """The frame cut from the canvas at every sub-pixel camera position → `[3, T, H, W]`."""
    frames = np.empty((3, len(shift), HEIGHT, WIDTH), np.float32)
    for frame, (x, y) in enumerate(shift + floats([MARGIN[1], MARGIN[0]])):
        column, row = int(x), int(y)
        at = picture if picture.ndim == 3 else picture[:, min(frame, picture.shape[1] - 1)]
        at = at[:, row : row + HEIGHT + 1, column : column + WIDTH + 1]
        at = at[:, :-1] + (y - row) * (at[:, 1:] - at[:, :-1])
        frames[:, frame] = at[..., :-1] + (x - column) * (at[..., 1:] - at[..., :-1])
    return frames


def _cast_shadow(frames: Floats, parts: Parts, place: Placement, shift: Floats) -> None:
    """Darken the ground under the actor's feet softly; the shadow is no part of the silhouette."""
    x = np.arange(WIDTH, dtype=np.float32) + 0.5
    top = int(place.ground - 0.16 * place.height)
    y = np.arange(top, HEIGHT, dtype=np.float32) + 0.5
    middle = 0.5 * (parts.start[..., 0].min(1) + parts.start[..., 0].max(1))
    across = (x - middle[:, None]) / (0.24 * place.height)
    down = (y - (place.ground - shift[:, 1:])) / (0.055 * place.height)
    shade = np.exp(-(across * across))[:, None] * np.exp(-(down * down))[:, :, None]
    frames[:, :, top:] *= 1 - 0.45 * shade


def _grade(rng: np.random.Generator, frames: Floats) -> None:
    """The camera's exposure, contrast and white balance, alike for scene and actor, in place."""
    gain = rng.uniform(0.88, 1.1) * rng.uniform(0.96, 1.04, 3)
    contrast = rng.uniform(0.85, 1.08)
    frames *= floats(gain * contrast)[:, None, None, None]
    frames += 0.5 * (1 - contrast)


def write_clip(clip: Clip, video: Path, masks: Path) -> None:
    """Encode as h264 and write the silhouettes; the same clip always gives the same bytes."""
    with av.open(str(video), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options=CODEC_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, RATE)
        stream.codec_context.thread_count = 1
        for pixels in clip.video:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    write_masks(masks, torch.from_numpy(clip.masks))
