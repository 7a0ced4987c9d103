import math

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import auto_augment

from devias.data.rand_augment import (
    FILL,
    OPERATIONS,
    ColorOperation,
    RandAugment,
    apply_operation,
)

GEOMETRY = [name for name, op in OPERATIONS.items() if not isinstance(op, ColorOperation)]


def timm_name(name: str) -> str:
    """timm's name of the operation in its increasing set."""
    suffixes = ("", "Increasing", "Rel")
    names = [name + s for s in suffixes if name + s in auto_augment._RAND_INCREASING_TRANSFORMS]
    assert len(names) == 1
    return names[0]


def clip(num_frames: int = 3, height: int = 37, width: int = 50) -> torch.Tensor:
    """Smooth, colorful frames, all different → uint8 `[T, 3, H, W]` with the channels last."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    waves = [
        torch.sin(x / (5 + t) + c) * torch.cos(y / (7 + c) - t)
        for t in range(num_frames)
        for c in range(3)
    ]
    levels = torch.stack(waves).view(num_frames, 3, height, width) * 100 + 120
    return levels.to(torch.uint8).contiguous(memory_format=torch.channels_last)


def timm_frames(name: str, argument: float, images: torch.Tensor) -> torch.Tensor:
    """timm's Pillow operation on every frame."""
    operation = auto_augment.NAME_TO_OP[timm_name(name)]
    arguments = [] if auto_augment.LEVEL_TO_ARG[timm_name(name)] is None else [argument]
    keywords = {"fillcolor": (FILL,) * 3, "resample": Image.Resampling.BILINEAR}
    frames = [
        np.asarray(operation(Image.fromarray(frame.numpy()), *arguments, **keywords))
        for frame in images.permute(0, 2, 3, 1)
    ]
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)


def test_operations_are_timms_increasing_set():
    names = [timm_name(name) for name in OPERATIONS]
    assert names == auto_augment._RAND_INCREASING_TRANSFORMS


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - {"AutoContrast", "Equalize", "Invert"}))
def test_arguments_are_timms(name, monkeypatch):
    level_to_arg = auto_augment.LEVEL_TO_ARG[timm_name(name)]
    for sign in (1, -1):
        monkeypatch.setattr(auto_augment.random, "random", lambda sign=sign: 0.9 * (sign < 0))
        for level in (0, 1.3, 5, 6.77, 7.2, 10):
            (expected,) = level_to_arg(level, {})
            assert OPERATIONS[name].argument(level / 10, sign) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "arguments", "tolerance"),
    [
        ("AutoContrast", [0], 0),
        ("Equalize", [0], 0),
        ("Invert", [0], 0),
        ("Posterize", [1, 2, 4], 0),
        ("Solarize", [0, 77, 128, 256], 0),
        ("SolarizeAdd", [0, 77, 110], 0),
        ("Brightness", [0.1, 0.37, 1.0, 1.63, 1.9], 1),
        ("Contrast", [0.1, 0.37, 1.0, 1.63, 1.9], 2),
        ("Color", [0.1, 0.37, 1.0, 1.63, 1.9], 2),
        ("Sharpness", [0.1, 0.37, 1.0, 1.63, 1.9], 2),
    ],
)
def test_colors_are_timms(name, arguments, tolerance):
    images = clip()
    for argument in arguments:
        expected = timm_frames(name, argument, images).int()
        augmented, _ = apply_operation(name, argument, images)
        assert augmented.dtype == torch.uint8
        assert (augmented.int() - expected).abs().max() <= tolerance
        contiguous, _ = apply_operation(name, argument, images.contiguous())
        assert torch.equal(augmented, contiguous)


def test_flat_frames_keep_their_value_where_contrast_is_undefined():
    images = torch.full((2, 3, 5, 7), 90, dtype=torch.uint8)
    images[0, 0, 0, 0] = 91
    augmented, _ = apply_operation("AutoContrast", 0, images)
    expected = images.clone()
    expected[0, 0] = 0
    expected[0, 0, 0, 0] = 255
    assert torch.equal(augmented, expected)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Rotate", [-30, -7.5, 21, 30]),
        ("ShearX", [-0.3, 0.11, 0.3]),
        ("ShearY", [-0.3, 0.11, 0.3]),
        # whole pixels of a width of 50 and a height of 40, as ours moves by whole pixels only
        ("TranslateX", [-0.4, 0.02, 0.3]),
        ("TranslateY", [-0.4, 0.025, 0.3]),
    ],
)
def test_geometry_is_timms(name, arguments):
    images = clip(height=40)
    for argument in arguments:
        expected = timm_frames(name, argument, images).int()
        augmented, _ = apply_operation(name, argument, images)
        assert augmented.dtype == torch.uint8
        close = (augmented.int() - expected).abs() <= 1
        assert close.float().mean() > 0.999
        contiguous, _ = apply_operation(name, argument, images.contiguous())
        assert torch.equal(augmented, contiguous)


def test_translation_by_hand():
    images = torch.arange(5, dtype=torch.uint8).expand(1, 3, 2, 5)
    masks = torch.tensor([[False, True, False, False, True]]).expand(1, 2, 5)
    left, left_masks = apply_operation("TranslateX", 0.4, images, masks)
    assert left[0, 1, 1].tolist() == [2, 3, 4, FILL, FILL]
    assert left_masks[0, 1].tolist() == [False, False, True, False, False]
    right, right_masks = apply_operation("TranslateX", -0.2, images, masks)
    assert right[0, 1, 1].tolist() == [FILL, 0, 1, 2, 3]
    assert right_masks[0, 1].tolist() == [False, False, True, False, False]
    down, _ = apply_operation("TranslateY", -0.45, images)
    assert down[0, 0].tolist() == [[FILL] * 5, [0, 1, 2, 3, 4]]


def test_quarter_turn_is_anti_clockwise():
    images, masks = clip(height=31, width=31), torch.rand(3, 31, 31) < 0.5
    turned, turned_masks = apply_operation("Rotate", 90.0, images, masks)
    assert torch.equal(turned, images.rot90(1, (2, 3)))
    assert torch.equal(turned_masks, masks.rot90(1, (1, 2)))


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (7, 1), (5, 3)])
def test_tiny_frames_keep_their_shape(name, size):
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    augmented, masks = apply_operation(name, 0.3, images, images[:, 0] > 99)
    assert augmented.shape == images.shape
    assert masks.shape == (2, *size)
    assert (augmented.dtype, masks.dtype) == (torch.uint8, torch.bool)


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("Rotate", 27.3),
        ("ShearX", -0.21),
        ("ShearY", 0.3),
        ("TranslateX", 0.31),
        ("TranslateY", -0.31),
    ],
)
def test_masks_move_with_the_frames(name, argument):
    masks = torch.zeros(2, 60, 80, dtype=torch.bool)
    masks[0, 10:50, 20:45] = True
    masks[1, 5:30, 40:80] = True
    painted = (masks * 255).to(torch.uint8)[:, None].expand(-1, 3, -1, -1)
    moved, moved_masks = apply_operation(name, argument, painted, masks)
    seen = moved[:, 0] > FILL
    assert moved_masks.sum() > 0.3 * masks.sum()
    assert (moved_masks != masks).float().mean() > 0.05
    # Mixed pixels on the outline may fall on either side.
    assert (seen != moved_masks).float().mean() < 0.02


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - set(GEOMETRY)))
def test_colors_leave_masks_alone(name):
    masks = torch.rand(3, 37, 50) < 0.5
    _, after = apply_operation(name, 0.5, clip(), masks)
    assert torch.equal(after, masks)


def test_all_frames_of_a_clip_get_the_same():
    still = clip(1).expand(4, -1, -1, -1)
    augment = RandAugment.from_string("rand-m7-n4-mstd0.5-inc1")
    changed = 0
    for seed in range(20):
        augmented, _ = augment(still, None, torch.Generator().manual_seed(seed))
        assert (augmented == augmented[:1]).all()
        changed += not torch.equal(augmented, still)
    assert changed > 10


def test_operations_are_applied_in_the_order_drawn(monkeypatch):
    augment = RandAugment(7, 2)
    drawn = [("TranslateX", 0.5), ("Invert", 0.0)]
    monkeypatch.setattr(augment, "draw", lambda _: drawn)
    images = torch.full((1, 3, 2, 4), 10, dtype=torch.uint8)
    augmented, masks = augment(images, torch.ones(1, 2, 4, dtype=torch.bool))
    assert augmented[0, 0, 0].tolist() == [245, 245, 255 - FILL, 255 - FILL]
    assert masks[0, 0].tolist() == [True, True, False, False]


def test_draws_follow_the_configuration():
    augment = RandAugment.from_string("rand-m7-n4-mstd0.5-inc1")
    generator = torch.Generator().manual_seed(0)
    draws = [augment.draw(generator) for _ in range(3000)]
    names = [name for drawn in draws for name, _ in drawn]
    # 3000 · 4 draws, half of them applied, 15 operations alike: 400 each, deviation 20
    assert len(names) == pytest.approx(6000, abs=5 * math.sqrt(12000 / 4))
    assert all(abs(names.count(name) - 400) < 100 for name in OPERATIONS)
    degrees = np.array([a for drawn in draws for name, a in drawn if name == "Rotate"])
    # |degrees| = 3 · N(7, 0.5²)
    assert np.abs(degrees).mean() == pytest.approx(21, abs=0.4)
    assert np.abs(degrees).std() == pytest.approx(1.5, abs=0.3)
    assert (degrees > 0).mean() == pytest.approx(0.5, abs=0.13)


def test_magnitudes_are_clipped():
    augment = RandAugment(magnitude=10, num_ops=200, magnitude_std=30.0, probability=1.0)
    drawn = augment.draw(torch.Generator().manual_seed(0))
    assert len(drawn) == 200
    extremes = {round(abs(a), 6) for name, a in drawn if name in ("ShearX", "ShearY")}
    assert max(extremes) == 0.3
    assert 0 in extremes


def test_infinite_deviation_is_uniform():
    augment = RandAugment.from_string("rand-m8-n200-mstd101-p1-inc1")
    drawn = augment.draw(torch.Generator().manual_seed(0))
    degrees = sorted(abs(a) for name, a in drawn if name == "Rotate")
    assert degrees[0] < 8
    assert degrees[-1] > 16
    assert degrees[-1] <= 24


def test_same_generator_same_clip_and_no_global_randomness():
    augment, images = RandAugment.from_string("rand-m7-n4-mstd0.5-inc1"), clip()
    state = torch.get_rng_state()
    first, second, other = (
        [augment(images, None, generator)[0] for _ in range(5)]
        for generator in (torch.Generator().manual_seed(seed) for seed in (3, 3, 4))
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_string_is_timms():
    augment = RandAugment.from_string("rand-m7-n4-mstd0.5-inc1")
    theirs = auto_augment.rand_augment_transform("rand-m7-n4-mstd0.5-inc1", {})
    assert augment.num_ops == theirs.num_layers == 4
    assert augment.magnitude == theirs.ops[0].magnitude == 7
    assert augment.magnitude_std == theirs.ops[0].magnitude_std == 0.5
    assert augment.probability == theirs.ops[0].prob == 0.5
    default = RandAugment.from_string("rand-inc1")
    theirs = auto_augment.rand_augment_transform("rand-inc1", {})
    assert (default.magnitude, default.num_ops) == (theirs.ops[0].magnitude, theirs.num_layers)
    assert RandAugment.from_string("rand-p0.25-inc1").probability == 0.25


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("rand-m7-n4", r"'rand-m7-n4': expected 'rand-…-inc1'"),
        ("rand-m7-inc0", "expected"),
        ("augmix-m3-inc1", "expected"),
        ("rand-m7-k4-inc1", "section 'k4' is not understood"),
        ("rand-mhigh-inc1", "section 'mhigh' is not understood"),
        ("rand-m7--inc1", "section '' is not understood"),
    ],
)
def test_other_strings_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        RandAugment.from_string(config)
