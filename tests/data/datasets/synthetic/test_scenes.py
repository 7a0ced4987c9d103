import numpy as np
import pytest

from devias.data.datasets.synthetic.canvas import MARGIN, Canvas
from devias.data.datasets.synthetic.scenes import BENCHMARK_SCENES
from devias.data.datasets.synthetic.scenes_pretrain import PRETRAIN_SCENES

SCENES = BENCHMARK_SCENES | PRETRAIN_SCENES
MOVING = {"water", "forest", "stadium", "night_city", "snow", "blobs", "rings"}
CANVAS = Canvas(80, 64, np.arange(6, dtype=np.float32) / 10)


def draw(name, seed):
    return SCENES[name](np.random.default_rng(seed), CANVAS)


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_is_a_planar_picture_of_the_canvas(name):
    picture = draw(name, 0)
    frames = (6,) if name in MOVING else ()
    assert picture.shape == (3, *frames, 64 + 2 * MARGIN[0], 80 + 2 * MARGIN[1])
    assert picture.dtype == np.float32
    assert np.isfinite(picture).all()
    assert ((picture > -0.01) & (picture < 1.01)).mean() > 0.97
    assert picture.std() > 0.02


@pytest.mark.parametrize("name", SCENES)
def test_instances_differ_and_repeat(name):
    np.testing.assert_array_equal(draw(name, 3), draw(name, 3))
    assert np.abs(draw(name, 3) - draw(name, 4)).mean() > 0.02


@pytest.mark.parametrize("name", sorted(MOVING - {"rings"}))
def test_what_moves_moves_a_little(name):
    change = np.mean([np.abs(np.diff(draw(name, seed), axis=1)).mean() for seed in range(3)])
    assert 1e-4 < change < 0.05
