"""Camera paths that are known, and reads at shifted places worked out by hand."""

import pytest
import torch

from devias.masks.camera import camera_path, gaussian_blur, gaussian_weights, shift
from sync_guard import no_host_sync


def texture(height=40, width=60, seed=0):
    """A smooth random picture `[3, height, width]` in [0, 1]."""
    noise = torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))
    blurred = gaussian_blur(noise, 1.5)
    return (blurred - blurred.min()) / (blurred.max() - blurred.min())


def panned(steps, size=28):
    """Views of one texture `[1, 3, T, size, size]`, the camera at (y, x) = `steps` `[T, 2]`."""
    wide = texture()
    views = [wide[:, y : y + size, x : x + size] for y, x in steps]
    return torch.stack(views, 1)[None]


@pytest.mark.parametrize("step", [(0, 2), (1, -1), (-1, 1), (0, 0)])
def test_it_finds_a_pan(step):
    frames = 5
    start = (6, 12)
    steps = [(start[0] + step[0] * t, start[1] + step[1] * t) for t in range(frames)]
    path = camera_path(panned(steps))
    # The camera moves right: what is seen moves left.
    expected = -torch.tensor(step) * (torch.arange(frames) - frames // 2)[:, None]
    assert (path[0] - expected).abs().max() < 0.15


def test_an_actor_that_moves_against_the_camera_does_not_mislead_it():
    video = panned([(6, 10 + t) for t in range(5)])
    for t in range(5):
        video[:, :, t, 8:20, 6 + 3 * t : 12 + 3 * t] = 1
    path = camera_path(video)
    expected = -(torch.arange(5) - 2)
    assert (path[0, :, 1] - expected).abs().max() < 0.1
    assert path[0, :, 0].abs().max() < 0.1


def test_a_picture_without_structure_stays_in_its_place():
    flat = torch.full((1, 3, 4, 12, 15), 0.4)
    assert torch.equal(camera_path(flat), torch.zeros(1, 4, 2))
    stripes = flat + 0.3 * (torch.arange(15) % 4 < 2)
    assert torch.equal(camera_path(stripes), torch.zeros(1, 4, 2))


def test_reads_at_a_shifted_place():
    image = torch.arange(12.0).view(1, 1, 3, 4)
    moved, inside = shift(image, torch.tensor([[1.0, 0.5]]))
    # Rows 4 … 7 and 8 … 11 between neighboring columns; the last row and column repeat.
    expected = [[4.5, 5.5, 6.5, 7.0], [8.5, 9.5, 10.5, 11.0], [8.5, 9.5, 10.5, 11.0]]
    torch.testing.assert_close(moved[0, 0], torch.tensor(expected))
    assert inside[0, 0].tolist() == [[True] * 3 + [False]] * 2 + [[False] * 4]


def test_there_and_back():
    image = texture()[None]
    by = torch.tensor([[2.0, -3.0]])
    there, _ = shift(image, by)
    back, inside = shift(there, -by)
    torch.testing.assert_close(back.where(inside, 0), image.where(inside, 0), atol=1e-4, rtol=0)
    assert inside.float().mean() > 0.85


def test_the_blur_keeps_constants_and_centers():
    weights = gaussian_weights(9, 1.3, torch.device("cpu"))
    torch.testing.assert_close(weights.sum(1), torch.ones(9))
    assert weights[4].argmax() == 4
    # exp(−½ / 1.3²) = .7439, one pixel away.
    assert weights[4, 5] / weights[4, 4] == pytest.approx(0.7439, abs=1e-4)
    torch.testing.assert_close(
        gaussian_blur(torch.full((2, 5, 7), 0.3), 2.0), torch.full((2, 5, 7), 0.3)
    )


def test_no_host_sync():
    video = panned([(6, 10), (6, 11)])
    with no_host_sync():
        camera_path(video)
