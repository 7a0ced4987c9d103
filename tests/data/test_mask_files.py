import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from devias.data import mask_files as masks_module
from devias.data.mask_files import MaskError, read_masks, write_masks

sides = st.integers(1, 19)


@settings(max_examples=50, deadline=None)
@given(shape=st.tuples(st.integers(1, 6), sides, sides), seed=st.integers(0, 999))
def test_roundtrip(tmp_path_factory, shape, seed):
    masks = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.4
    path = tmp_path_factory.mktemp("masks") / "deep" / "v.png"
    write_masks(path, masks)
    read = read_masks(path)
    assert read.dtype == torch.bool
    assert torch.equal(read, masks)


def test_any_viewer_shows_the_frames_below_each_other_at_one_bit(tmp_path):
    masks = torch.zeros(3, 5, 8, dtype=torch.bool)
    masks[1, 2, 7] = True
    write_masks(tmp_path / "v.png", masks)
    # IHDR: width, height, bit depth, colour type (0 = greyscale) start at byte 16.
    assert struct.unpack(">IIBB", (tmp_path / "v.png").read_bytes()[16:26]) == (8, 15, 1, 0)
    with Image.open(tmp_path / "v.png") as picture:
        assert np.argwhere(np.array(picture)).tolist() == [[5 + 2, 7]]


def test_picture_taller_than_pillow_opens(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    masks = torch.ones(3, 4, 5, dtype=torch.bool)
    write_masks(tmp_path / "v.png", masks)
    assert torch.equal(read_masks(tmp_path / "v.png"), masks)


@pytest.mark.parametrize(
    "masks",
    [
        torch.zeros(2, 3, 4),
        torch.zeros(3, 4, dtype=torch.bool),
        torch.zeros(0, 3, 4, dtype=torch.bool),
    ],
)
def test_write_refuses_other_shapes_and_types(tmp_path, masks):
    with pytest.raises(ValueError, match=r"v\.png.*bool \[T, H, W\]"):
        write_masks(tmp_path / "v.png", masks)


def test_a_failed_write_leaves_the_old_file_and_no_scrap(tmp_path, monkeypatch):
    path = tmp_path / "v.png"
    write_masks(path, torch.ones(1, 2, 2, dtype=torch.bool))

    def full_disk(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(masks_module.os, "replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_masks(path, torch.zeros(1, 2, 2, dtype=torch.bool))
    assert [p.name for p in tmp_path.iterdir()] == ["v.png"]
    assert read_masks(path).all()


def test_errors_name_the_file(tmp_path):
    with pytest.raises(MaskError, match=r"gone\.png: no such mask file"):
        read_masks(tmp_path / "gone.png")

    (tmp_path / "page.png").write_text("<html>")
    with pytest.raises(MaskError, match=r"page\.png: not a readable PNG"):
        read_masks(tmp_path / "page.png")

    noise = torch.rand(4, 16, 16) < 0.5
    write_masks(tmp_path / "half.png", noise)
    whole = (tmp_path / "half.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MaskError, match=r"half\.png: not a readable PNG"):
        read_masks(tmp_path / "half.png")

    Image.new("L", (4, 4)).save(tmp_path / "grey.png")
    with pytest.raises(MaskError, match=r"grey\.png: not a 1-bit"):
        read_masks(tmp_path / "grey.png")

    Image.new("1", (4, 4)).save(tmp_path / "plain.png")
    with pytest.raises(MaskError, match=r"plain\.png: text chunk 'frames' is ''"):
        read_masks(tmp_path / "plain.png")
