import numpy as np
import pytest

from devias.data.datasets.synthetic.raster import Parts, paint


def capsule(start, end, radius=(3.0, 3.0), depth=0.0, color=(1, 1, 1), frames=1):
    """One part that stands still."""
    return Parts(
        start=np.tile(np.float32(start), (frames, 1, 1)),
        end=np.tile(np.float32(end), (frames, 1, 1)),
        radius=np.float32([radius]),
        depth=np.full((frames, 1), depth, np.float32),
        color=np.float32([color]),
        roundness=np.zeros(1, np.float32),
    )


def together(*parts):
    fields = {name: [getattr(part, name) for part in parts] for name in Parts.__annotations__}
    axes = {"start": 1, "end": 1, "radius": 0, "depth": 1, "color": 0, "roundness": 0}
    return Parts(**{name: np.concatenate(fields[name], axis) for name, axis in axes.items()})


def blank(frames=1, height=31, width=41):
    return np.zeros((3, frames, height, width), np.float32)


@pytest.mark.parametrize(
    ("end", "area"),
    [
        ((10.3, 15.2), np.pi * 9),  # a disc
        ((30.3, 15.2), np.pi * 9 + 6 * 20),  # lying
        ((22.3, 24.2), np.pi * 9 + 6 * 15),  # 3-4-5 triangle: 12 across, 9 down, 15 long
    ],
)
def test_coverage_sums_to_the_area_of_a_capsule(end, area):
    frames = blank()
    silhouette = paint(frames, capsule((10.3, 15.2), end))
    full = 1.05 * 0.8  # the light inside, on a part as far as the farthest
    assert frames[0].sum() / full == pytest.approx(area, rel=0.01)
    assert silhouette.sum() == pytest.approx(area, rel=0.05)


def test_a_tapered_capsule_has_both_radii():
    silhouette = paint(blank(), capsule((8, 15.5), (32, 15.5), radius=(2, 6)))[0]
    assert silhouette[:, 8].sum() == pytest.approx(2 * 2, abs=1)
    assert silhouette[:, 31].sum() == pytest.approx(2 * 6, abs=1)


def test_the_nearer_part_hides_the_farther_one_whatever_their_order():
    red = capsule((20.5, 15.5), (20.5, 15.5), depth=0.0, color=(1, 0, 0))
    blue = capsule((21.5, 15.5), (21.5, 15.5), depth=1.0, color=(0, 0, 1))
    for parts in (together(red, blue), together(blue, red)):
        frames = blank()
        paint(frames, parts)
        assert frames[0, 0, 15, 21] == 0
        assert frames[2, 0, 15, 21] > 0.9


def test_depth_is_compared_in_every_frame():
    red = capsule((20.5, 15.5), (20.5, 15.5), color=(1, 0, 0), frames=2)
    blue = capsule((20.5, 15.5), (20.5, 15.5), color=(0, 0, 1), frames=2)
    red.depth[:, 0], blue.depth[:, 0] = (0, 1), (1, 0)
    frames = blank(2)
    paint(frames, together(red, blue))
    assert (frames[2, :, 15, 20] > 0.9).tolist() == [True, False]


def test_what_lies_outside_the_frame_is_left_out():
    frames = blank()
    silhouette = paint(frames, capsule((-50, -50), (-40, 100)))
    assert not silhouette.any()
    assert not frames.any()
    half = paint(blank(), capsule((0, 15.5), (0, 15.5)))
    assert half.sum() == pytest.approx(np.pi * 9 / 2, rel=0.1)


def test_moved_parts_draw_the_moved_picture():
    still, moved = blank(2), blank(2)
    parts = capsule((12.5, 10.5), (20.5, 14.5), frames=2)
    paint(still, parts)
    paint(moved, parts.moved(np.float32([[0, 0], [3, 2]])))
    np.testing.assert_allclose(moved[:, 0], still[:, 0], atol=1e-5)
    np.testing.assert_allclose(moved[:, 1, 2:, 3:], still[:, 1, :-2, :-3], atol=1e-5)
