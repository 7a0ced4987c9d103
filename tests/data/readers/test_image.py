"""Images as videos of one frame."""

import numpy as np
import pytest
import torch
from PIL import Image

from devias.data.dataset import EvalDataset, SampleKey, TrainDataset
from devias.data.readers.image import ImageReader, open_frames
from devias.data.readers.video import VideoError, VideoReader
from devias.data.records import VideoRecord
from devias.data.transforms import EvalTransform, TrainTransform
from helpers import write_frames

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
        with pytest.raises(VideoError, match=r"a\.PNG: an image has frame 0 only, not \[0, 1\]"):
            reader.read([0, 1])
    with open_frames(video) as reader:
        assert isinstance(reader, VideoReader)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_lossy_images(tmp_path, suffix):
    smooth = np.full((8, 12, 3), (200, 100, 30), np.uint8)
    image = open_frames(write_image(tmp_path / f"a{suffix}", smooth)).read([0])
    assert (image[0].int() - torch.from_numpy(smooth).int()).abs().max() <= 6


def test_grey_and_transparent_images_become_rgb(tmp_path):
    grey = open_frames(write_image(tmp_path / "grey.png", PIXELS[..., 0])).read([0])
    assert torch.equal(grey[0], torch.from_numpy(PIXELS[..., :1]).expand(-1, -1, 3))
    opaque = np.concatenate([PIXELS, np.full((7, 11, 1), 255, np.uint8)], -1)
    assert open_frames(write_image(tmp_path / "rgba.png", opaque)).read([0]).shape == (1, 7, 11, 3)


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
        (b"<html>not found</html>", r"not a readable image \(Unsupported image file"),
        ("truncated", r"not a readable image \(Image is incomplete or truncated\)"),
        ("deep", r"pixels of torch\.uint16, not of 8 bits"),
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
