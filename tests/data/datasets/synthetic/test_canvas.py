import numpy as np
import pytest

from devias.data.datasets.synthetic.canvas import MARGIN, Canvas, mix, noise, sprinkle, step, wave


def test_the_canvas_exceeds_the_frame_by_the_margin():
    canvas = Canvas(9, 5, np.zeros(3, np.float32))
    assert canvas.x.shape == (1, 9 + 2 * MARGIN[1])
    assert canvas.y.shape == (5 + 2 * MARGIN[0], 1)
    assert canvas.x[0, MARGIN[1]] == 0.5
    assert canvas.y[-1 - MARGIN[0], 0] == 4.5
    assert canvas.t.shape == (3, 1, 1)


def test_noise_stays_in_range_and_is_as_smooth_as_its_cell(rng):
    grid = np.arange(64, dtype=np.float32)
    values = noise(rng, grid, grid, cell=16, octaves=1)
    assert values.dtype == np.float32
    assert 0 <= values.min() < values.max() <= 1
    # Smooth steps rise by at most 1.5 / cell a pixel.
    assert np.abs(np.diff(values, axis=0)).max() <= 1.5 / 16 + 1e-6
    assert np.abs(np.diff(values, axis=1)).max() <= 1.5 / 16 + 1e-6


def test_step_and_wave_at_known_points():
    np.testing.assert_allclose(step(np.float32([-2, -1, 0, 1, 2]), 1.0), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(wave(np.float32([0, 0.25, 0.5, 1])), [1, 0.5, 0, 1], atol=1e-6)


@pytest.mark.parametrize("frames", [(), (2,)])
def test_mix_blends_colors_and_pictures(frames):
    red, picture = np.float32([1, 0, 0]), np.full((3, 4, 5), 0.5, np.float32)
    weight = np.full((*frames, 4, 5), 0.25, np.float32)
    mixed = mix(picture, red, weight)
    assert mixed.shape == (3, *frames, 4, 5)
    np.testing.assert_allclose(mixed[0], 0.625)
    np.testing.assert_allclose(mixed[1], 0.375)


def test_a_dot_covers_its_area_in_its_color_and_frame():
    picture = np.zeros((3, 2, 9, 9), np.float32)
    x, y = np.float32([[4.5, 0.2], [4.3, 4.5]]), np.float32([[4.5, 0.2], [20.0, 3.5]])
    sprinkle(picture, x, y, [0.8, 0.5], np.float32([[1, 0], [0, 0], [0, 1]]))
    assert picture[0, 0, 4, 4] == 1
    assert picture[0, 0].sum() == pytest.approx(np.pi * 0.8**2, rel=0.2)
    assert picture[0, 1].sum() == 0  # the first dot has left the canvas
    assert picture[2, 0].sum() == 0  # the second lies on the border
    assert picture[2, 1].sum() == pytest.approx(np.pi * 0.5**2, rel=0.3)
    assert not picture[1].any()
