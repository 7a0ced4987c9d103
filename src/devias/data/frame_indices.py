"""Which frames make a clip: pure index arithmetic, no I/O.

A clip of T frames at stride s spans `(T − 1)·s + 1` frames of the video. A video shorter than
that gives up the stride instead of the content: the clip is spread evenly from its first to its
last frame. (Keeping the stride and repeating the last frame would end the clip in a still, and
frame differences, from which the human masks are made, are empty there.)
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def train_indices(num_frames: int, clip_length: int, stride: int, position: float) -> Indices:
    """The frames of one training clip → `[clip_length]`, ascending, in `0 … num_frames − 1`.

    `position` in [0, 1) is the random draw: uniform positions make every start equally likely,
    the last start ending on the last frame. Raises `ValueError` for values out of range.
    """
    if not 0 <= position < 1:
        raise ValueError(f"position must lie in [0, 1), got {position}")
    last_start = _last_start(num_frames, clip_length, stride)
    start = int(position * (last_start + 1))
    return _clips(np.array([start]), num_frames, clip_length, stride)[0]


def view_indices(num_frames: int, clip_length: int, stride: int, num_clips: int) -> Indices:
    """The frames of the test clips of one video → `[num_clips, clip_length]`.

    The starts are evenly spaced, from the first possible to the last; a single clip is centered.
    Raises `ValueError` for values out of range.
    """
    if num_clips < 1:
        raise ValueError(f"num_clips must be at least 1, got {num_clips}")
    last_start = _last_start(num_frames, clip_length, stride)
    if num_clips == 1:
        starts = np.array([last_start // 2])
    else:
        starts = np.arange(num_clips) * last_start // (num_clips - 1)
    return _clips(starts, num_frames, clip_length, stride)


def random_view_indices(
    num_frames: int,
    clip_length: int,
    stride: int,
    num_clips: int,
    generator: np.random.Generator,
) -> Indices:
    """Test clips at random places, as the code released with DEVIAS reads HAT's → as above.

    A clip spreads over `clip_length · stride` frames; a shorter video goes on with its last frame.
    """
    _last_start(num_frames, clip_length, stride)  # refuses values out of range
    span, last = clip_length * stride, num_frames - 1
    if num_frames <= span:
        clip = np.full(clip_length, last)
        clip[: num_frames // stride] = np.linspace(0, num_frames, num_frames // stride).clip(
            0, last
        )
        return np.tile(clip, (num_clips, 1))
    ends = generator.integers(span, num_frames, num_clips)
    clips = np.linspace(ends - span, ends, clip_length, axis=1)
    return np.minimum(clips, ends[:, None] - 1).astype(np.int64)


def matching_indices(indices: Indices, num_frames: int, other: int, late: bool = False) -> Indices:
    """Frames of a video of `other` frames at the same relative positions as `indices` in theirs.

    They are rounded, as HAT's authors do; `late` as the code released with DEVIAS: the second frame
    goes with the first, and the last stays the last.
    """
    if late:
        return np.floor(1 + indices * (other - 1) / num_frames).astype(np.int64).clip(0, other - 1)
    return np.round(indices / num_frames * other).astype(np.int64).clip(0, other - 1)


def window_indices(num_frames: int, clip_length: int, stride: int, hop: float) -> Indices:
    """The frames of clips that cover the whole video → `[W, clip_length]`.

    They are evenly spaced from the first possible clip to the last, neighbors at most `hop` times
    the span of a clip apart, so as few as that allows. Raises `ValueError` for values out of range.
    """
    if hop <= 0:
        raise ValueError(f"hop is a share of the clip's span, above 0, not {hop}")
    last_start = _last_start(num_frames, clip_length, stride)
    gap = max(int(hop * _span(clip_length, stride)), 1)
    return view_indices(num_frames, clip_length, stride, num_clips=1 + math.ceil(last_start / gap))


def nearest_windows(clip: Indices, windows: Indices) -> tuple[int, Indices, Indices]:
    """Where in `windows [W, P]` the times of a clip `[P]` are best met.

    Returns:
        The window that starts nearest to the clip's start; and for each time of the clip the
        window `[P]` and the place in it `[P]` of the nearest time. Of equally near ones the one in
        the window that starts nearer to the clip's start is taken.
    """
    order = np.abs(windows[:, 0] - clip[0]).argsort(kind="stable")
    distance = np.abs(windows[order].reshape(-1) - clip[:, None])
    window, place = np.divmod(distance.argmin(1), windows.shape[1])
    return int(order[0]), order[window], place


def segment_frames(
    timestamps: npt.NDArray[np.float64], start: float | None, end: float | None
) -> range:
    """The frames shown from `start` until before `end`, in seconds of `timestamps` (ascending).

    `None` leaves that side open; an `end` after the last frame is the end of the video. Raises
    `ValueError` where no frame lies in the segment.
    """
    first = 0 if start is None else int(np.searchsorted(timestamps, start))
    stop = len(timestamps) if end is None else int(np.searchsorted(timestamps, end))
    if first >= stop:
        last = f"its last frame stands at {timestamps[-1]:.3f} s" if len(timestamps) else "no frame"
        raise ValueError(f"no frame of the video lies from {start} s to {end} s: {last}")
    return range(first, stop)


def _last_start(num_frames: int, clip_length: int, stride: int) -> int:
    """The last start of a clip that ends within the video; 0 where the video is too short."""
    for name, value in (
        ("num_frames", num_frames),
        ("clip_length", clip_length),
        ("stride", stride),
    ):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    return max(num_frames - _span(clip_length, stride), 0)


def _clips(starts: Indices, num_frames: int, clip_length: int, stride: int) -> Indices:
    """The frames of clips at `starts [n]` → `[n, clip_length]`."""
    if num_frames < _span(clip_length, stride):
        spread = np.linspace(0, num_frames - 1, clip_length).round().astype(np.int64)
        return np.tile(spread, (len(starts), 1))
    return starts[:, None] + stride * np.arange(clip_length)


def _span(clip_length: int, stride: int) -> int:
    return (clip_length - 1) * stride + 1
