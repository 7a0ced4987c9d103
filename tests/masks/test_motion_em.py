"""Masks of clips whose actor is known: a figure before a texture, still or panned."""

import pytest
import torch

from devias.masks.camera import gaussian_blur
from devias.masks.fame import FAME
from devias.masks.ground_truth import GroundTruthMasks
from devias.masks.motion_em import (
    CELLS,
    MotionEM,
    _Colors,
    _nearness,
    color_index,
    moving_against_background,
    temporal_median,
)
from devias.masks.quality import mask_quality
from sync_guard import no_host_sync


def clip_of_a_square(pan=0.0, frames=8, size=40, seed=0, speed=1):
    """A red square of 10×8 pixels walks over a blue-green texture that the camera pans over.

    Returns video `[1, 3, T, size, size]` and truth `[1, T, size, size]` bool.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = gaussian_blur(torch.rand(3, size, 2 * size, generator=generator), 1.2)
    wide = 0.5 + 2 * (noise - 0.5)
    wide[0] *= 0.5
    video = torch.empty(1, 3, frames, size, size)
    truth = torch.zeros(1, frames, size, size, dtype=torch.bool)
    for t in range(frames):
        left = round(pan * t)
        video[0, :, t] = wide[:, :, left : left + size]
        truth[0, t, 14:24, 10 + speed * t : 18 + speed * t] = True
    video[0, 0][truth[0]], video[0, 1][truth[0]], video[0, 2][truth[0]] = 0.9, 0.1, 0.2
    video += 0.01 * torch.randn(video.shape, generator=generator)
    return video.clamp(0, 1), truth


def frame_iou(extractor, video, truth):
    return mask_quality(extractor(video)[1], GroundTruthMasks()(truth)[1])["iou"].mean().item()


@pytest.mark.parametrize("pan", [0, 1, 2], ids="pan of {} a frame".format)
def test_it_finds_what_moves_before_a_texture(pan):
    video, truth = clip_of_a_square(pan)
    iou = frame_iou(MotionEM(), video, truth)
    assert iou > 0.7
    assert iou > 2 * frame_iou(FAME(0.3, crop_size=40), video, truth)


def test_what_stands_still_next_to_what_moves_is_found_by_its_color():
    # Below the square that walks to and fro, legs of its color that never move.
    video, truth = clip_of_a_square(speed=0)
    legs = torch.zeros(40, 40, dtype=torch.bool)
    legs[24:34, 11:17] = True
    for t in range(8):
        shifted = truth[0, t].roll((t % 3) - 1, dims=1)
        background = video[0, :, t].clone()
        video[0, :, t] = background.where(~truth[0, t], background.roll(20, dims=2))
        red = torch.tensor([0.9, 0.1, 0.2])[:, None, None]
        video[0, :, t] = torch.where(shifted | legs, red, video[0, :, t])
    frame_masks = MotionEM()(video)[1]
    assert frame_masks[0, :, 25:29, 12:16].mean() > 0.6
    assert frame_masks[0, :, 25:29, 18:26].mean() < 0.1
    assert frame_masks[0, :, :, 26:].mean() < 0.05


def test_a_clip_in_which_nothing_moves_has_no_foreground():
    video = torch.rand(1, 3, 1, 20, 24).expand(-1, -1, 4, -1, -1)
    for clip in (video, torch.full((2, 3, 2, 12, 9), 0.5)):
        clip_mask, frame_masks = MotionEM()(clip)
        assert torch.isfinite(frame_masks).all()
        assert (frame_masks > 0.5).float().mean() < 0.02
        assert clip_mask.mean() < 0.05


def test_masks_are_probabilities_and_the_clip_mask_is_their_mean():
    video = torch.rand(2, 3, 6, 21, 17)
    clip_mask, frame_masks = MotionEM(tubelet_size=3)(video)
    assert clip_mask.shape == (2, 21, 17)
    assert frame_masks.shape == (2, 2, 21, 17)
    assert frame_masks.min() >= 0
    assert frame_masks.max() <= 1
    torch.testing.assert_close(clip_mask, frame_masks.mean(1))


def test_large_frames_are_looked_at_in_small():
    video, truth = clip_of_a_square()
    large = video.repeat_interleave(4, 3).repeat_interleave(3, 4)
    clip_mask, frame_masks = MotionEM(working_size=32)(large)
    assert clip_mask.shape == (1, 160, 120)
    large_truth = truth.repeat_interleave(4, 2).repeat_interleave(3, 3)
    expected = GroundTruthMasks()(large_truth)[1]
    assert mask_quality(frame_masks, expected)["iou"].mean() > 0.7


def test_clips_of_a_batch_do_not_mix():
    clips = [clip_of_a_square(pan, seed=seed)[0] for seed, pan in enumerate((0, 1, 2))]
    together = MotionEM()(torch.cat(clips))
    for index, clip in enumerate(clips):
        alone = MotionEM()(clip)
        torch.testing.assert_close(together[0][index], alone[0][0], atol=1e-4, rtol=0)
        torch.testing.assert_close(together[1][index], alone[1][0], atol=1e-4, rtol=0)


def test_half_precision_and_autocast_change_nothing():
    video, _ = clip_of_a_square()
    video = (video * 255).round() / 255
    expected = MotionEM()(video)[1]
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(MotionEM()(video)[1], expected)


def test_a_higher_level_marks_less():
    video = torch.rand(1, 3, 4, 24, 24)
    low, high = (MotionEM(motion_level=level)(video)[0].mean() for level in (1.0, 3.0))
    assert high < low


def test_what_it_refuses():
    with pytest.raises(ValueError, match="5 frames do not divide into tubelets of 2"):
        MotionEM()(torch.rand(1, 3, 5, 16, 16))
    with pytest.raises(ValueError, match="two frames or more, not in 1"):
        MotionEM(tubelet_size=1)(torch.rand(1, 3, 1, 16, 16))
    with pytest.raises(ValueError, match="iterations"):
        MotionEM(iterations=0)
    with pytest.raises(ValueError, match="motion_level"):
        MotionEM(motion_level=0)
    with pytest.raises(ValueError, match="working_size"):
        MotionEM(working_size=3)


def test_no_host_sync():
    extractor, video = MotionEM(working_size=16), torch.rand(2, 3, 4, 20, 24)
    with no_host_sync():
        extractor(video)


def test_motion_by_hand():
    # A still picture; one pixel flashes by .3 in one channel in the second of four frames.
    video = torch.full((1, 3, 4, 6, 6), 0.5)
    video[0, 1, 1, 2, 3] = 0.8
    motion = moving_against_background(video)[0, :, 2, 3]
    # Differences to the neighbors: .3, (.3 + .3) / 2, (.3 + 0) / 2, 0; to the median: 0, .3, 0, 0.
    torch.testing.assert_close(motion, torch.tensor([0.3, 0.3, 0.15, 0]))
    assert moving_against_background(video).count_nonzero() == 3


def test_motion_of_the_camera_alone_is_small():
    still, panned = (clip_of_a_square(pan=pan)[0] for pan in (0, 1))
    shake = (panned[:, :, 1:] - panned[:, :, :-1]).abs().sum(1)[..., 26:, :].mean()
    found = moving_against_background(panned)[..., 26:, :].mean()
    assert found < 0.5 * shake
    # Noise remains: of three channels and σ = .01, or √2 · .01 between two frames.
    assert moving_against_background(still)[..., 26:, :].mean() < 0.05


def test_colors_by_hand():
    # 10 × 8 × 8 bins of brightness, (red − blue) / 1.2 + ½, (green − (red + blue) / 2) / .8 + ½.
    pixels = torch.tensor([[0.0, 0, 0], [1, 1, 1], [0.6, 0, 0], [0, 0.3, 0]])
    expected = [
        (0 * 8 + 4) * 8 + 4,  # black: 0, ½ · 8, ½ · 8
        (9 * 8 + 4) * 8 + 4,  # white: 10 is clamped to 9
        (2 * 8 + 7) * 8 + 1,  # red: .2 → 2, .5 + .5 → 8, clamped to 7, −.3 / .8 + .5 = .125 → 1
        (1 * 8 + 4) * 8 + 7,  # green: .1 → 1, .5 → 4, .3 / .8 + .5 = .875 → 7
    ]
    assert color_index(pixels.T[None, :, None, None])[0, 0, 0].tolist() == expected


def test_a_color_of_the_foreground_only_has_high_odds():
    video, truth = clip_of_a_square()
    colors = _Colors(video)
    odds = colors.log_odds(truth.float())
    assert odds[truth].min() > 1
    assert (odds[~truth] < 0).float().mean() > 0.99
    assert colors.total.sum() == truth.numel()


def test_color_counts_interpolate_between_the_parts_of_the_frame():
    # One color everywhere; as foreground only the left half: the odds fall from left to right.
    side = 4 * CELLS
    video = torch.full((1, 3, 2, side, side), 0.5)
    left = torch.zeros(1, 2, side, side)
    left[..., : side // 2] = 1
    odds = _Colors(video).log_odds(left)[0, 0]
    assert (odds[0].diff() <= 1e-6).all()
    assert odds[0].diff().abs().max() < 1.5  # no jump where two parts meet
    torch.testing.assert_close(odds, odds[:1].expand_as(odds))


def test_nearness_by_hand():
    # Two pixels of a row of 10 are foreground, at .25 and .45: center .35, variance .01.
    probability = torch.zeros(1, 1, 10, 10)
    probability[0, 0, 4, [2, 4]] = 1
    nearness = _nearness(probability)
    # 2.5² − (.25 − .35)² / (.01 + .003) − 0, and one row down − .1² / (0 + .003).
    assert nearness[0, 0, 4, 2].item() == pytest.approx(6.25 - 0.01 / 0.013, abs=1e-3)
    assert nearness[0, 0, 5, 2].item() == pytest.approx(
        6.25 - 0.01 / 0.013 - 0.01 / 0.003, abs=1e-3
    )


@pytest.mark.parametrize("frames", [1, 2, 5, 8])
def test_the_temporal_median_is_that_of_the_known_frames(frames):
    images = torch.randn(3, frames, 2, 5, 6).round(decimals=1)  # with ties
    known = torch.rand(3, frames, 1, 5, 6) > 0.4
    known[:, frames // 2] = True
    expected = images.where(known, torch.nan).nanmedian(1).values
    torch.testing.assert_close(temporal_median(images, known), expected, rtol=0, atol=0)
