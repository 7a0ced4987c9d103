"""FAME against a re-creation, the released masks, and clips one can reason on."""

import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from devias.masks.fame import FAME, color_index, gaussian_band
from fame_recreation import recreate_fame
from sync_guard import no_host_sync

# Mask pixels in the 16×16 tiles of rows 4 to 6 at β = 0.3, computed by the released code.
RELEASED_TILES = [
    [0, 182, 89, 197, 119, 216, 159, 0, 140, 11, 223, 164, 0, 0],
    [165, 0, 203, 256, 235, 55, 255, 210, 253, 239, 256, 143, 180, 9],
    [0, 123, 33, 235, 236, 102, 82, 256, 218, 235, 256, 180, 95, 0],
]


def reference_clip(seed=1000, frames=16):
    """The formula clip: two textures of 16-pixel tiles, a rectangle moves to the right."""
    rng = np.random.default_rng(seed + 9)
    tiles = rng.integers(0, 255, (2, 14, 14, 3)).astype(np.uint8)
    base = tiles.repeat(16, 1).repeat(16, 2).astype(np.float32)
    clip = np.repeat(base[:, None], frames, 1)
    for f in range(frames):
        for b in range(2):
            y, x = 60 + 20 * b, 20 + 9 * f
            clip[b, f, y : y + 60, x : x + 40] = np.array([230, 60 + 40 * b, 20], np.float32)
    clip = np.clip(clip + rng.integers(-6, 7, clip.shape), 0, 255).astype(np.uint8)
    return torch.from_numpy(clip).permute(0, 4, 1, 2, 3).contiguous().float() / 255


@pytest.mark.parametrize("beta", [0.3, 0.5])
def test_released_masks(shared, beta):
    released = np.load(shared / "reference" / "case_a" / "outputs.npz")
    clip_mask, frame_masks = FAME(beta)(reference_clip())
    bits = np.unpackbits(released[f"fame_{beta}_clip_mask_bits"]).reshape(clip_mask.shape)
    assert (clip_mask.numpy() != bits).mean() < 1e-4  # pixels that tie may fall either way
    for name, masks in (("clip_mask", clip_mask), ("frame_masks", frame_masks)):
        pooled = torch.from_numpy(released[f"fame_{beta}_{name}_pooled"])
        assert (F.avg_pool2d(masks, 16) - pooled).abs().mean() < 1e-4


def test_released_masks_in_numbers():
    clip_mask, frame_masks = FAME(0.3)(reference_clip())
    tiles = F.avg_pool2d(clip_mask, 16)[0, 4:7] * 256
    assert (tiles - torch.tensor(RELEASED_TILES)).abs().max() <= 2
    assert clip_mask.sum((1, 2)).tolist() == [int(0.3 * 224 * 224)] * 2
    assert frame_masks.shape == (2, 8, 224, 224)


@pytest.mark.parametrize("beta", [0.2, 0.55])
@pytest.mark.parametrize(
    ("shape", "crop_size"), [((2, 3, 6, 23, 31), 32), ((1, 3, 2, 17, 12), 112)]
)
def test_small_odd_clips_equal_the_re_creation(shape, crop_size, beta):
    video = torch.rand(shape)
    clip_mask, frame_masks = FAME(beta, crop_size)(video)
    clip_expected, frame_expected = recreate_fame(video, beta, crop_size)
    assert clip_mask.mean() == pytest.approx(beta, abs=0.01)
    torch.testing.assert_close(clip_mask, clip_expected, rtol=0, atol=0)
    torch.testing.assert_close(frame_masks, frame_expected, rtol=0, atol=0)


def test_large_clips_equal_the_re_creation():
    video = reference_clip(frames=4)
    for mine, expected in zip(FAME(0.5)(video), recreate_fame(video, 0.5), strict=True):
        assert (mine != expected).float().mean() < 1e-4


def test_clips_of_a_batch_do_not_mix():
    video = torch.rand(3, 3, 4, 19, 16)
    fame = FAME(0.4, crop_size=32)
    together = fame(video)
    for clip in range(3):
        alone = fame(video[clip : clip + 1])
        assert torch.equal(together[0][clip], alone[0][0])
        assert torch.equal(together[1][clip], alone[1][0])


def test_it_finds_the_thing_that_moves():
    video = torch.full((1, 3, 8, 40, 40), 0.3)
    video[:, 2] = 0.6
    truth = torch.zeros(8, 40, 40, dtype=torch.bool)
    for t in range(8):
        truth[t, 10:28, 5 + 2 * t : 17 + 2 * t] = True
    video[0, 0][truth] = 0.9
    video = (video + 0.01 * torch.randn(video.shape)).clamp(0, 1)
    clip_mask, frame_masks = FAME(beta=0.3, crop_size=64)(video)
    # The core of the swept area is foreground, the far side of the picture is not.
    assert clip_mask[0, 12:26, 10:26].mean() > 0.95
    assert clip_mask[0, :, 36:].mean() == 0
    swept = truth.any(0).float()
    assert (clip_mask[0] * swept).sum() / clip_mask[0].sum() > 0.8
    assert frame_masks[0, :, 12:26, 12:24].mean() > 0.9


def test_a_static_clip_still_gives_a_mask_of_its_share():
    masks, frame_masks = FAME(beta=0.25, crop_size=32)(torch.full((2, 3, 4, 12, 12), 0.5))
    assert masks.sum((1, 2)).tolist() == [36, 36]
    assert (frame_masks.sum((2, 3)) == 36).all()


def test_longer_tubelets_use_their_first_two_frames():
    video = torch.rand(1, 3, 8, 16, 16)
    changed = video.clone()
    # Frames 2 and 3 swap: the same mean color, other later differences in the first tubelet.
    changed[:, :, [2, 3]] = video[:, :, [3, 2]]
    fame = FAME(0.5, crop_size=32, tubelet_size=4)
    first, second = fame(video)[1], fame(changed)[1]
    assert first.shape == (1, 2, 16, 16)
    assert (first != second).float().mean() < 0.02  # rounding of the mean may tip a pixel


def test_what_it_refuses():
    with pytest.raises(ValueError, match="5 frames do not divide into tubelets of 2"):
        FAME()(torch.rand(1, 3, 5, 16, 16))
    with pytest.raises(ValueError, match="smaller crop_size"):
        FAME(crop_size=112)(torch.rand(1, 3, 2, 5, 16))
    with pytest.raises(ValueError, match="beta"):
        FAME(beta=30)
    with pytest.raises(ValueError, match="tubelet_size"):
        FAME(tubelet_size=1)


def test_the_band_blurs_and_mirrors():
    x = torch.randn(3, 9)
    radius, weight = 2, torch.exp(-0.5 * (torch.arange(-2, 3) / (5 / 3)) ** 2)
    expected = F.conv1d(
        F.pad(x[:, None], (radius, radius), mode="reflect"), (weight / weight.sum()).view(1, 1, -1)
    )
    band = gaussian_band(9, 5, x.device)
    torch.testing.assert_close(x @ band.mT, expected[:, 0])
    torch.testing.assert_close(band.sum(1), torch.ones(9))


def test_colors_by_hand():
    # Gray: x = y = .5 of 9 steps, counted from 1 gives 5.5 and rounds to the even 6: bin 5.
    # Red: hue 0, so x = 1, y = ½ and value 1: bins 9, 5, 9. Green: hue ⅓ of the circle, angle
    # 2π · 2π/3 = 13.16 = 0.593 + 4π: x = (cos + 1)/2 = .915 → 8, y = (sin + 1)/2 = .780 → 7.
    pixels = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0]]).T[None, :, :, None]
    assert color_index(pixels)[0, :, 0].tolist() == [55, 955, 959, 978]


def test_no_host_sync():
    fame, video = FAME(0.5, crop_size=32), torch.rand(2, 3, 4, 16, 16)
    with no_host_sync():
        fame(video)


@pytest.mark.slow
def test_it_is_faster_than_the_re_creation():
    video = reference_clip()
    fame = FAME(0.5)
    ours, released = [], []
    for _ in range(5):
        for times, run in ((ours, fame), (released, recreate_fame)):
            start = time.process_time()
            run(video)
            times.append(time.process_time() - start)
    ratio = min(released) / min(ours)
    print(f"FAME: {min(ours) * 1e3:.0f} ms against {min(released) * 1e3:.0f} ms, {ratio:.1f}×")
    assert ratio >= 2.5
