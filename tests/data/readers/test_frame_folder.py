"""Folders of numbered stills as videos."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from devias.data.readers import FrameReader, VideoError, open_frames
from devias.data.readers.frame_folder import FrameFolderReader
from media import numbered_frame, read_number


def write_stills(folder, names, size=(8, 12)):
    """A still for each name; the n-th shows n."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(numbered_frame(number, *size)).save(folder / name)
    return folder


@pytest.mark.parametrize(
    "name",
    ["{:06}.jpg", "frame{:06}.jpg", "image_{:05}.jpg", "img_{:05}.png", "v1_g2-{}.JPG", "{}.webp"],
)
@pytest.mark.parametrize("start", [0, 1, 98])
def test_stills_are_read_in_the_order_of_their_numbers(tmp_path, name, start):
    folder = write_stills(tmp_path / "v", [name.format(start + i) for i in range(12)], (16, 24))
    (folder / ".DS_Store").touch()
    (folder / "._000001.jpg").touch()
    (folder / "readme.txt").touch()
    with open_frames(folder) as reader:
        assert isinstance(reader, FrameReader)
        assert reader.num_frames == 12
        assert reader.timestamps == pytest.approx(np.arange(12) / 25)
        frames = reader.read([11, 2, 2, 0])
    assert frames.dtype == torch.uint8
    assert frames.shape == (4, 16, 24, 3)
    assert [read_number(frame) for frame in frames.numpy()] == [11, 2, 2, 0]


def test_the_rate_gives_the_timestamps(tmp_path):
    folder = write_stills(tmp_path / "v", ["1.png", "2.png", "3.png"])
    assert FrameFolderReader(folder, rate=2).timestamps.tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ([], r"v: holds no stills"),
        (["1.png", "2.png", "5.png"], r"v/5\.png: follows 2\.png, with a gap between"),
        (["a1.png", "b2.png"], r"v/b2\.png: not named like a1\.png"),
        (["1.jpg", "2.png"], r"v/2\.png: not named like 1\.jpg"),
        (["1.png", "cover.png"], r"v/cover\.png: a name that does not end in a frame number"),
        (["01.png", "1.png"], r"v/1\.png: the same frame number as 01\.png"),
    ],
)
def test_unclear_folders_are_named(tmp_path, names, why):
    folder = write_stills(tmp_path / "v", names)
    with pytest.raises(VideoError, match=why):
        open_frames(folder)


def test_frames_that_cannot_be_read_are_named(tmp_path):
    folder = write_stills(tmp_path / "v", [f"f{i}.png" for i in range(4)])
    Image.new("RGB", (5, 7)).save(folder / "f2.png")
    (folder / "f3.png").write_bytes(b"<html>")
    with open_frames(folder) as reader:
        assert reader.read([0, 1]).shape == (2, 8, 12, 3)
        with pytest.raises(VideoError, match=r"v/f2\.png: 5×7 pixels, but f1\.png has 12×8"):
            reader.read([2, 1])
        with pytest.raises(VideoError, match=r"v/f3\.png: not a readable image"):
            reader.read([3])
        with pytest.raises(VideoError, match=r"v: frames 0 to 4 are wanted, .* 0 to 3"):
            reader.read([4, 0])
        with pytest.raises(ValueError, match="non-empty"):
            reader.read([])


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(VideoError, match=r"gone: not a readable folder"):
        FrameFolderReader(tmp_path / "gone")


@settings(max_examples=30, deadline=None)
@given(start=st.integers(0, 10**6), count=st.integers(1, 12), digits=st.integers(1, 8))
def test_any_start_and_padding(tmp_path_factory, start, count, digits):
    folder = tmp_path_factory.mktemp("stills")
    names = [f"{start + i:0{digits}}.png" for i in range(count)]
    reader = FrameFolderReader(write_stills(folder, names))
    assert reader.num_frames == count
    assert read_number(reader.read([count - 1])[0].numpy()) == count - 1
