import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from devias.data.transforms import EvalTransform, TrainTransform, draw_crop, short_side_size

RAND_AUGMENT = "rand-m7-n4-mstd0.5-inc1"


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=seeded())


def painted(masks: torch.Tensor) -> torch.Tensor:
    """Frames `[…, H, W, 3]` that are white where `masks […, H, W]` hold, else black."""
    return (masks * 255).to(torch.uint8).unsqueeze(-1).expand(*masks.shape, 3)


def blobs(*shape: int) -> torch.Tensor:
    """Masks `[…, H, W]` with a few large, different rectangles."""
    masks = torch.zeros(shape, dtype=torch.bool)
    height, width = shape[-2:]
    for i, mask in enumerate(masks.view(-1, height, width)):
        mask[height // 4 + i : height * 3 // 4, width // 5 : width * 2 // 3 + i] = True
    return masks


def test_whole_frames_of_the_right_size_pass_unchanged():
    frames, masks = noise(3, 9, 9, 3), noise(3, 9, 9) > 99
    transform = TrainTransform(9, scale=(1, 1), ratio=(1, 1), horizontal_flip=0)
    clip, clip_masks = transform(frames, masks, seeded())
    assert torch.equal(clip, frames.permute(3, 0, 1, 2))
    assert torch.equal(clip_masks, masks)
    assert transform(frames, None, seeded())[1] is None


def test_flip_mirrors_left_and_right():
    frames, masks = noise(2, 20, 31, 3), blobs(2, 20, 31)
    for seed in range(5):
        plain, plain_masks = TrainTransform(7, horizontal_flip=0)(frames, masks, seeded(seed))
        flipped, flipped_masks = TrainTransform(7, horizontal_flip=1)(frames, masks, seeded(seed))
        assert not torch.equal(plain, flipped)
        assert torch.equal(plain, flipped.flip(3))
        assert torch.equal(plain_masks, flipped_masks.flip(2))


def test_flip_happens_as_often_as_asked():
    frames = torch.arange(8, dtype=torch.uint8).view(1, 1, 8, 1).expand(1, 8, 8, 3)
    transform = TrainTransform(8, scale=(1, 1), ratio=(1, 1), horizontal_flip=0.3)
    generator = seeded()
    flips = [transform(frames, None, generator)[0][0, 0, 0, 0].item() == 7 for _ in range(500)]
    assert sum(flips) == pytest.approx(150, abs=5 * math.sqrt(500 * 0.3 * 0.7))


@pytest.mark.parametrize("crop_first", [False, True])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(11, 13), (64, 48), (150, 201)])
def test_clip_has_the_size_asked_for(shape, interpolation, crop_first):
    transform = TrainTransform(
        32, rand_augment=RAND_AUGMENT, interpolation=interpolation, crop_first=crop_first
    )
    frames, masks = noise(4, *shape, 3), noise(4, *shape) > 99
    for seed in range(4):
        clip, clip_masks = transform(frames, masks, seeded(seed))
        assert (clip.shape, clip.dtype) == ((3, 4, 32, 32), torch.uint8)
        assert (clip_masks.shape, clip_masks.dtype) == ((4, 32, 32), torch.bool)


@pytest.mark.parametrize("crop_first", [False, True])
def test_all_frames_of_a_clip_are_treated_alike(crop_first):
    still = noise(1, 30, 41, 3).expand(5, -1, -1, -1)
    masks = blobs(1, 30, 41).expand(5, -1, -1)
    transform = TrainTransform(16, rand_augment=RAND_AUGMENT, crop_first=crop_first)
    for seed in range(10):
        clip, clip_masks = transform(still, masks, seeded(seed))
        assert (clip == clip[:, :1]).all()
        assert (clip_masks == clip_masks[:1]).all()


@pytest.mark.parametrize("crop_first", [False, True])
def test_masks_stay_on_the_frames(crop_first, monkeypatch):
    masks = blobs(3, 90, 120)
    transform = TrainTransform(64, (0.3, 1), rand_augment=RAND_AUGMENT, crop_first=crop_first)
    moves = [("Rotate", 20.0), ("ShearX", -0.2), ("TranslateY", 0.1)]
    monkeypatch.setattr(transform.rand_augment, "draw", lambda _: moves)
    for seed in range(10):
        clip, clip_masks = transform(painted(masks), masks, seeded(seed))
        # 128 fills what geometry leaves open; resizing and warping blur the outline.
        seen = clip[0] > 160
        assert clip_masks.any()
        assert (seen & ~clip_masks).float().mean() < 0.02
        assert (clip_masks & ~seen).float().mean() < 0.06


def test_order_of_augmentation_and_crop(monkeypatch):
    frames = torch.full((1, 40, 40, 3), 10, dtype=torch.uint8)
    filled = {}
    for crop_first in (False, True):
        transform = TrainTransform(
            20, (0.25, 0.25), (1, 1), 0, rand_augment=RAND_AUGMENT, crop_first=crop_first
        )
        monkeypatch.setattr(transform.rand_augment, "draw", lambda _: [("TranslateX", 0.25)])
        clips = [transform(frames, None, seeded(seed))[0] for seed in range(20)]
        filled[crop_first] = {int((clip[0, 0, 0] == 128).sum()) for clip in clips}
    # Cropped first, a quarter of the 20 columns is always filled; otherwise up to 10 of the 40,
    # of which the crop shows some or none.
    assert filled[True] == {5}
    assert 0 in filled[False]
    assert max(filled[False]) > 5


def test_same_generator_same_clip_and_no_global_randomness():
    transform, frames = TrainTransform(16, rand_augment=RAND_AUGMENT), noise(2, 30, 41, 3)
    state = torch.get_rng_state()
    first, again, other = (
        [transform(frames, None, generator)[0] for _ in range(5)]
        for generator in (seeded(1), seeded(1), seeded(2))
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_frames_are_not_changed_in_place():
    frames, masks = noise(2, 30, 41, 3), blobs(2, 30, 41)
    kept = frames.clone(), masks.clone()
    transform = TrainTransform(16, rand_augment=RAND_AUGMENT)
    for seed in range(20):
        transform(frames, masks, seeded(seed))
    assert torch.equal(frames, kept[0])
    assert torch.equal(masks, kept[1])


sides = st.integers(1, 300)


@settings(max_examples=200)
@given(sides, sides, st.integers(0, 9999))
def test_crop_lies_in_the_frame(height, width, seed):
    top, left, rows, columns = draw_crop(height, width, (0.08, 1), (3 / 4, 4 / 3), seeded(seed))
    assert 0 <= top <= height - rows
    assert 0 <= left <= width - columns
    assert rows >= 1
    assert columns >= 1


@settings(max_examples=100)
@given(st.integers(60, 300), st.floats(0.76, 1.33), st.integers(0, 9999))
def test_crop_has_the_area_and_ratio_asked_for(height, ratio, seed):
    width = round(height * ratio)
    _, _, rows, columns = draw_crop(height, width, (0.2, 0.5), (3 / 4, 4 / 3), seeded(seed))
    # Both sides are rounded to whole pixels.
    assert (rows + 0.5) * (columns + 0.5) >= 0.2 * height * width
    assert (rows - 0.5) * (columns - 0.5) <= 0.5 * height * width
    assert (columns + 0.5) / (rows - 0.5) >= 3 / 4
    assert (columns - 0.5) / (rows + 0.5) <= 4 / 3


def test_crops_reach_every_place():
    generator = seeded()
    crops = [draw_crop(10, 12, (0.2, 0.2), (1, 1), generator) for _ in range(500)]
    assert {crop[2:] for crop in crops} == {(5, 5)}
    assert {crop[0] for crop in crops} == set(range(6))
    assert {crop[1] for crop in crops} == set(range(8))


def test_frames_too_narrow_for_any_crop_give_the_central_one():
    assert draw_crop(90, 10, (1, 1), (3 / 4, 4 / 3), seeded()) == (38, 0, 13, 10)
    assert draw_crop(10, 90, (1, 1), (3 / 4, 4 / 3), seeded()) == (0, 38, 10, 13)


@given(sides, sides, sides)
def test_short_side_keeps_the_aspect_ratio(height, width, size):
    new_height, new_width = short_side_size(height, width, size)
    assert min(new_height, new_width) == size
    long, short = max(height, width), min(height, width)
    assert max(new_height, new_width) == size * long // short
    assert (height < width) <= (new_height <= new_width)


@pytest.mark.parametrize("portrait", [False, True])
def test_three_crops_are_left_center_and_right(portrait):
    frames = torch.arange(16, dtype=torch.uint8).view(1, 1, 1, 16, 1).expand(1, 2, 8, 16, 3)
    if portrait:
        frames = frames.transpose(2, 3)
    video, masks = EvalTransform(8, num_crops=3)(frames, frames[..., 0] > 4)
    assert (video.shape, video.dtype) == ((3, 3, 2, 8, 8), torch.uint8)
    assert (masks.shape, masks.dtype) == ((3, 2, 8, 8), torch.bool)
    for crop, crop_masks, start in zip(video, masks, (0, 4, 8), strict=True):
        place = torch.arange(start, start + 8)
        place = place[:, None] if portrait else place
        assert (crop == place).all()
        assert (crop_masks == (place > 4)).all()


def test_one_crop_is_the_center():
    frames = torch.arange(13, dtype=torch.uint8).view(1, 1, 1, 13, 1).expand(1, 1, 6, 13, 3)
    video, masks = EvalTransform(6)(frames)
    assert masks is None
    assert video[0, 0, 0, 0].tolist() == [3, 4, 5, 6, 7, 8]


def test_crops_of_a_clip_are_neighbors():
    frames = torch.tensor([10, 20], dtype=torch.uint8).view(2, 1, 1, 1, 1).expand(2, 3, 5, 9, 3)
    video, _ = EvalTransform(5, num_crops=3)(frames)
    assert video.amax((1, 2, 3, 4)).tolist() == [10, 10, 10, 20, 20, 20]


@pytest.mark.parametrize("shape", [(7, 13), (13, 7), (40, 61), (32, 32)])
def test_views_share_one_resize(shape):
    frames, masks = noise(2, 3, *shape, 3), noise(2, 3, *shape) > 99
    video, video_masks = EvalTransform(11, num_crops=3)(frames, masks)
    height, width = short_side_size(*shape, 11)
    resized = torch.nn.functional.interpolate(
        frames.flatten(0, 1).permute(0, 3, 1, 2).float(), (height, width), mode="bilinear",
        antialias=True, align_corners=False,
    )  # fmt: skip
    for clip in range(2):
        for crop in range(3):
            top, left = (height - 11) * crop // 2, (width - 11) * crop // 2
            expected = resized.unflatten(0, (2, 3))[clip][..., top : top + 11, left : left + 11]
            difference = video[3 * clip + crop].transpose(0, 1) - expected
            assert difference.abs().max() <= 1
    assert video_masks.shape == (6, 3, 11, 11)


def test_eval_masks_stay_on_the_frames():
    masks = blobs(2, 3, 50, 80)
    video, video_masks = EvalTransform(33, num_crops=3)(painted(masks), masks)
    assert ((video[:, 0] > 127) != video_masks).float().mean() < 0.03
    assert 0.1 < video_masks.float().mean() < 0.9


def test_eval_is_repeatable():
    frames = noise(2, 3, 20, 31, 3)
    transform = EvalTransform(16, num_crops=3)
    assert torch.equal(transform(frames)[0], transform(frames)[0])


def test_values_out_of_range_are_named():
    with pytest.raises(ValueError, match="num_crops must be at least 1, got 0"):
        EvalTransform(8, num_crops=0)
    with pytest.raises(ValueError, match="nearly"):
        TrainTransform(8, interpolation="nearly")
    with pytest.raises(ValueError, match="section 'x' is not understood"):
        TrainTransform(8, rand_augment="rand-x-inc1")
