"""Images as videos of one frame."""

import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from devias.data.dataset import EvalDataset, SampleKey, TrainDataset
from devias.data.readers import VideoError, open_frames
from devias.data.readers.image import ImageReader
from devias.data.readers.video import VideoReader
from devias.data.records import VideoRecord
from devias.data.transforms import EvalTransform, TrainTransform
from helpers import write_frames
from media import bare_png

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 11, 3), np.uint8)


def write_image(path, pixels=PIXELS, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def test_the_suffix_tells_images_from_videos(tmp_path):
    image = write_image(tmp_path / "a.PNG")
    video = write_frames(tmp_path / "a.mp4", [PIXELS[:6, :10]] * 2)
    with open_frames(image) as reader:
        assert isinstance(reader, ImageReader)
        assert reader.num_frames == 1
        assert reader.timestamps.tolist() == [0]
        assert torch.equal(reader.read([0]), torch.from_numpy(PIXELS[None]))
        assert torch.equal(
            reader.read(np.zeros(3, np.int64)), torch.from_numpy(np.stack([PIXELS] * 3))
        )
        with pytest.raises(
            VideoError, match=r"a\.PNG: frames 0 to 1 are wanted, there are frames 0 to 0"
        ):
            reader.read([0, 1])
    with open_frames(video) as reader:
        assert isinstance(reader, VideoReader)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_lossy_images(tmp_path, suffix):
    smooth = np.full((8, 12, 3), (200, 100, 30), np.uint8)
    image = open_frames(write_image(tmp_path / f"a{suffix}", smooth)).read([0])
    assert (image[0].int() - torch.from_numpy(smooth).int()).abs().max() <= 6


def test_grey_and_transparent_images_become_rgb(tmp_path):
    gray = open_frames(write_image(tmp_path / "gray.png", PIXELS[..., 0])).read([0])
    assert torch.equal(gray[0], torch.from_numpy(PIXELS[..., :1]).expand(-1, -1, 3))
    opaque = np.concatenate([PIXELS, np.full((7, 11, 1), 255, np.uint8)], -1)
    assert open_frames(write_image(tmp_path / "rgba.png", opaque)).read([0]).shape == (1, 7, 11, 3)


@pytest.mark.parametrize("orientation", range(10))
def test_every_orientation_is_that_of_pillow(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = write_image(tmp_path / "a.png", exif=exif)
    with Image.open(path) as image:
        upright = np.array(ImageOps.exif_transpose(image))
    assert np.array_equal(open_frames(path).read([0])[0], upright)


def test_palettes_and_cmyk_become_rgb(tmp_path):
    image = Image.new("RGB", (12, 8), (200, 100, 30))
    image.quantize(4).save(tmp_path / "p.png")
    image.convert("CMYK").save(tmp_path / "c.jpg")
    for name in ("p.png", "c.jpg"):
        pixels = open_frames(tmp_path / name).read([0])[0].int()
        assert (pixels - torch.tensor([200, 100, 30])).abs().max() <= 12


def test_pipes_and_devices_do_not_block(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    for name in ("a.jpg", "zero.jpg"):
        with pytest.raises(VideoError, match=rf"{name}: not a regular file"):
            open_frames(tmp_path / name)


DAMAGE = """
import random, sys
from pathlib import Path
from devias.data.readers import VideoError, open_frames
random.seed(0)
outcomes = set()
for path in map(Path, sys.argv[1:]):
    whole = path.read_bytes()
    for _ in range(100):
        data = bytearray(whole)
        for _ in range(random.randrange(1, 6)):
            data[random.randrange(len(data))] = random.randrange(256)
        path.write_bytes(data[: random.choice([len(data), random.randrange(len(data))])])
        try:
            open_frames(path).read([0])
            outcomes.add("read")
        except VideoError as error:
            assert str(path) in str(error)
            outcomes.add("refused")
print(*sorted(outcomes))
"""


def test_damage_never_ends_the_interpreter(tmp_path):
    names = ["a.png", "a.jpg", "a.webp"]
    paths = [str(write_image(tmp_path / name, np.tile(PIXELS, (3, 3, 1)))) for name in names]
    source = str(Path(__file__).parents[3] / "src")
    run = subprocess.run(
        [sys.executable, "-c", DAMAGE, *paths],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, "read refused\n"), run.stderr


def test_images_are_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to view
    left_white = np.zeros((16, 32, 3), np.uint8)
    left_white[:, :16] = 255
    image = open_frames(write_image(tmp_path / "a.jpg", left_white, exif=exif)).read([0])[0]
    assert image.shape == (32, 16, 3)
    assert image[:12].min() > 200
    assert image[20:].max() < 50


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "no such file"),
        (b"", "not a readable image"),
        (b"<html>not found</html>", r"not a readable image \(cannot identify"),
        ("truncated", r"not a readable image \(.*truncated"),
        ("deep", r"pixels of mode I;16, not of 8 bits"),
        (bare_png(8193, 8192, b"tEXta\0b"), "8193×8192 pixels, more than 67108864"),
        (bare_png(40_000, 40_000, b"tEXta\0b"), "not a readable image .*bomb"),
        (bare_png(8, 8, b"zTXta\0\0" + zlib.compress(bytes(2**25))), "not a readable image"),
        (bare_png(8, 8, b"iCCPa\0\0" + zlib.compress(bytes(2**25))), "not a readable image"),
    ],
)
def test_unreadable_images_are_named(tmp_path, content, why):
    path = tmp_path / ("a.png" if content == "deep" else "a.jpg")
    if content == "truncated":
        whole = write_image(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
        path.write_bytes(whole.read_bytes()[:1500])
    elif content == "deep":
        Image.fromarray(np.full((5, 7), 30_000, np.uint16)).save(path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(VideoError, match=rf"a\.(jpg|png): {why}"):
        open_frames(path)


def test_an_image_becomes_a_still_clip(tmp_path):
    records = [VideoRecord(write_image(tmp_path / "a.png"), scene=3)]
    train = TrainDataset(records, TrainTransform(8, rand_augment="rand-m9-n4-inc1"), 4, 2)
    video = train[SampleKey(0, 1)].video
    assert video.shape == (1, 3, 4, 8, 8)
    assert (video == video[:, :, :1]).all()
    views = EvalDataset(records, EvalTransform(7, 3), 4, 2, num_clips=2)[SampleKey(0)].video
    assert views.shape == (6, 3, 4, 7, 7)
    assert torch.equal(views[:3], views[3:])
