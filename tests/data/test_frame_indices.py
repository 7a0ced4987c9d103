import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devias.data.frame_indices import (
    matching_indices,
    nearest_windows,
    random_view_indices,
    segment_frames,
    train_indices,
    view_indices,
    window_indices,
)

counts = st.integers(1, 400)
lengths = st.integers(1, 32)
strides = st.integers(1, 8)
positions = st.floats(0, 1, exclude_max=True)


@given(counts, lengths, strides, positions)
def test_train_clip_lies_in_the_video_and_ascends(num_frames, length, stride, position):
    clip = train_indices(num_frames, length, stride, position)
    assert clip.shape == (length,)
    assert clip.dtype == np.int64
    assert clip.min() >= 0
    assert clip.max() < num_frames
    assert (np.diff(clip) >= 0).all()


@given(st.integers(0, 200), lengths, strides, positions)
def test_train_clip_keeps_the_stride_where_the_video_is_long_enough(
    spare, length, stride, position
):
    num_frames = (length - 1) * stride + 1 + spare
    assert (np.diff(train_indices(num_frames, length, stride, position)) == stride).all()


@given(st.integers(1, 60), st.integers(1, 8), st.integers(1, 4))
def test_every_start_is_reached_equally_often(num_starts, length, stride):
    num_frames = (length - 1) * stride + num_starts
    # 3 positions inside each of num_starts equal parts of [0, 1)
    draws = (np.arange(3 * num_starts) + 0.5) / (3 * num_starts)
    starts = [train_indices(num_frames, length, stride, p)[0] for p in draws]
    assert starts == [start for start in range(num_starts) for _ in range(3)]


@given(st.data(), st.integers(2, 32), strides, positions)
def test_short_video_is_spread_from_end_to_end(data, length, stride, position):
    num_frames = data.draw(st.integers(1, (length - 1) * stride))
    clip = train_indices(num_frames, length, stride, position)
    assert (clip[0], clip[-1]) == (0, num_frames - 1)
    steps = np.diff(clip)
    assert steps.max() - steps.min() <= 1
    if num_frames >= length:
        assert steps.min() >= 1


def test_clips_by_hand():
    # 5 frames at stride 3 span 13 frames: a video of 15 has the starts 0, 1, 2.
    assert train_indices(15, 5, 3, 0.0).tolist() == [0, 3, 6, 9, 12]
    assert train_indices(15, 5, 3, 0.5).tolist() == [1, 4, 7, 10, 13]
    assert train_indices(15, 5, 3, math.nextafter(1, 0)).tolist() == [2, 5, 8, 11, 14]
    assert train_indices(5, 5, 3, 0.9).tolist() == [0, 1, 2, 3, 4]
    assert train_indices(3, 5, 3, 0.9).tolist() == [0, 0, 1, 2, 2]
    assert train_indices(1, 3, 4, 0.9).tolist() == [0, 0, 0]
    assert view_indices(15, 5, 3, 1).tolist() == [[1, 4, 7, 10, 13]]
    assert view_indices(15, 5, 3, 3)[:, 0].tolist() == [0, 1, 2]
    assert view_indices(15, 5, 3, 2)[:, 0].tolist() == [0, 2]
    assert view_indices(1, 2, 4, 2).tolist() == [[0, 0], [0, 0]]


@given(counts, lengths, strides, st.integers(2, 10))
def test_views_cover_the_first_and_the_last_start(num_frames, length, stride, num_clips):
    views = view_indices(num_frames, length, stride, num_clips)
    assert views.shape == (num_clips, length)
    assert views.dtype == np.int64
    assert views[0, 0] == 0
    if length > 1:
        assert views[-1, -1] == num_frames - 1
    starts = np.diff(views[:, 0])
    assert starts.max() - starts.min() <= 1
    # Every view is a clip that training can draw.
    last_start = max(num_frames - ((length - 1) * stride + 1), 0)
    for view in views:
        position = (view[0] + 0.5) / (last_start + 1)
        assert (view == train_indices(num_frames, length, stride, position)).all()


@given(counts, lengths, strides)
def test_single_view_is_centered(num_frames, length, stride):
    (view,) = view_indices(num_frames, length, stride, 1)
    before, after = view[0], num_frames - 1 - view[-1]
    if length > 1 or num_frames > 1:
        assert 0 <= after - before <= 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train_indices(0, 4, 1, 0.0), "num_frames must be at least 1"),
        (lambda: train_indices(9, 0, 1, 0.0), "clip_length must be at least 1"),
        (lambda: train_indices(9, 4, 0, 0.0), "stride must be at least 1"),
        (lambda: train_indices(9, 4, 1, 1.0), r"position must lie in \[0, 1\)"),
        (lambda: train_indices(9, 4, 1, float("nan")), r"position must lie in \[0, 1\)"),
        (lambda: view_indices(9, 4, 1, 0), "num_clips must be at least 1"),
        (lambda: window_indices(9, 4, 1, 0.0), "hop is a share of the clip's span, above 0"),
    ],
)
def test_values_out_of_range_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_segment_holds_the_frames_from_start_until_before_end():
    timestamps = np.arange(10) / 5  # 0.0 … 1.8 s
    assert segment_frames(timestamps, None, None) == range(10)
    assert segment_frames(timestamps, 0.4, 1.0) == range(2, 5)
    assert segment_frames(timestamps, 0.41, 1.01) == range(3, 6)
    assert segment_frames(timestamps, None, 0.1) == range(1)
    assert segment_frames(timestamps, 1.7, 99.0) == range(9, 10)


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=30, unique=True).map(sorted),
    st.integers(0, 500),
    st.integers(0, 500),
)
def test_segment_is_what_a_search_by_hand_finds(times, start, end):
    wanted = [i for i, t in enumerate(times) if start <= t < end]
    if wanted:
        assert list(segment_frames(np.array(times, float), start, end)) == wanted
    else:
        with pytest.raises(ValueError, match=f"from {start} s to {end} s"):
            segment_frames(np.array(times, float), start, end)


@given(counts, lengths, strides, st.floats(0.1, 3))
def test_windows_cover_the_video_at_most_a_hop_apart(num_frames, length, stride, hop):
    windows = window_indices(num_frames, length, stride, hop)
    span = (length - 1) * stride + 1
    last_start = max(num_frames - span, 0)
    assert windows.shape[1] == length
    assert windows[0, 0] == 0
    assert windows[-1, -1] == num_frames - 1
    gaps = np.diff(windows[:, 0])
    assert (gaps <= max(int(hop * span), 1)).all()
    # One window fewer would leave a wider gap.
    assert len(windows) == 1 or last_start / max(int(hop * span), 1) > len(windows) - 2


@given(counts, st.integers(1, 8), strides, st.floats(0.3, 2), st.integers(1, 2), st.data())
def test_a_window_finds_itself(num_frames, tubelets, stride, hop, tubelet, data):
    windows = window_indices(num_frames, tubelets * tubelet, stride, hop)[:, ::tubelet]
    number = data.draw(st.integers(0, len(windows) - 1))
    nearest, window, place = nearest_windows(windows[number], windows)
    assert nearest == number
    assert np.array_equal(windows[window, place], windows[number])
    if num_frames >= tubelets * tubelet * stride:  # otherwise frames, and so tubelets, repeat
        assert (window == number).all()
        assert np.array_equal(place, np.arange(tubelets))


@given(counts, st.integers(1, 8), strides, st.floats(0.3, 1), positions)
def test_the_nearest_windows_are_what_a_search_by_hand_finds(
    num_frames, length, stride, hop, position
):
    windows = window_indices(num_frames, length, stride, hop)
    clip = train_indices(num_frames, length, stride, position)
    nearest, window, place = nearest_windows(clip, windows)
    starts = [abs(int(start) - int(clip[0])) for start in windows[:, 0]]
    assert starts[nearest] == min(starts)
    for time, w, p in zip(clip, window, place, strict=True):
        distances = [abs(int(other) - int(time)) for row in windows for other in row]
        assert abs(int(windows[w, p]) - int(time)) == min(distances)
        # Windows overlap or touch, so some frame of one is at most half a stride away.
        assert min(distances) <= math.ceil(stride / 2)


@given(counts, lengths, strides, st.integers(1, 3), st.integers(0, 99))
def test_random_views_lie_in_the_video_and_repeat(num_frames, length, stride, clips, seed):
    views, again = (
        random_view_indices(num_frames, length, stride, clips, np.random.default_rng(seed))
        for _ in range(2)
    )
    assert views.shape == (clips, length)
    assert views.dtype == np.int64
    assert views.min() >= 0
    assert views.max() < num_frames
    assert (np.diff(views) >= 0).all()
    assert (views == again).all()


def test_random_views_by_hand():
    """As `np.linspace(end − 8, end, 4)` of the released code, cut to whole numbers below `end`."""
    views = random_view_indices(300, 4, 2, 500, np.random.default_rng(0))
    assert {tuple(view - view[0]) for view in views} == {(0, 2, 5, 7)}
    assert (views[:, 0].min(), views[:, 0].max()) == (0, 291)
    short = [random_view_indices(n, 4, 2, 1, np.random.default_rng(0))[0] for n in (8, 7, 3, 1)]
    assert [view.tolist() for view in short] == [[0, 2, 5, 7], [0, 3, 6, 6], [0, 2, 2, 2], [0] * 4]


@given(counts, counts, st.data())
def test_matching_frames_keep_their_order_and_both_ends(num_frames, other, data):
    indices = np.array(data.draw(st.lists(st.integers(0, num_frames - 1), min_size=1)))
    for late in (False, True):
        frames = matching_indices(np.sort(indices), num_frames, other, late)
        assert frames.min() >= min(late, other - 1)
        assert frames.max() < other
        assert (np.diff(frames) >= 0).all()
    assert matching_indices(np.zeros(1, np.int64), num_frames, other)[0] == 0


def test_matching_frames_by_hand():
    every = np.arange(6)
    assert matching_indices(every, 6, 6).tolist() == [0, 1, 2, 3, 4, 5]
    assert matching_indices(every, 6, 9).tolist() == [0, 2, 3, 4, 6, 8]  # halves to even
    assert matching_indices(every, 6, 2).tolist() == [0, 0, 1, 1, 1, 1]
    assert matching_indices(every, 6, 9, late=True).tolist() == [1, 2, 3, 5, 6, 7]
    # The released code's own words.
    theirs = np.linspace(1, 151, 97, endpoint=False).astype(int)
    assert matching_indices(np.arange(97), 97, 151, late=True).tolist() == theirs.tolist()
