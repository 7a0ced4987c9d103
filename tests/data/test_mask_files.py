import os
import struct
from zlib import compress

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from devias import files
from devias.data import mask_files
from devias.data.mask_files import MaskError, read_masks, write_masks
from media import bare_png

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
    # IHDR: width, height, bit depth, color type (0 = grayscale) start at byte 16.
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
        torch.zeros(1, 1, 1, dtype=torch.bool).expand(2**10, 2**10, 2**10 + 1),
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

    monkeypatch.setattr(files.os, "replace", full_disk)
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

    Image.new("L", (4, 4)).save(tmp_path / "gray.png")
    with pytest.raises(MaskError, match=r"gray\.png: not a 1-bit"):
        read_masks(tmp_path / "gray.png")

    Image.new("1", (4, 4)).save(tmp_path / "plain.png")
    with pytest.raises(MaskError, match=r"plain\.png: text chunk 'frames' is ''"):
        read_masks(tmp_path / "plain.png")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (bare_png(40_000, 40_000, b"tEXtframes\0004"), "40000×40000 pixels, more than 1073741824"),
        (bare_png(8, 8, b"zTXtframes\0\0" + compress(b"1" * 2**25)), "not a readable PNG"),
        (bare_png(8, 8, b"tEXtframes\0" + b"9" * 5000), "'9{20}', which does not divide 8 rows"),
        (bare_png(8, 8, "tEXtframes\0²".encode("latin-1")), "'²', which does not divide 8 rows"),
    ],
)
def test_bombs_are_refused_before_they_go_off(tmp_path, content, why, monkeypatch):
    path = tmp_path / "v.png"
    path.write_bytes(content)
    monkeypatch.setattr(mask_files.PngImageFile, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(MaskError, match=rf"v\.png: .*{why}"):
        read_masks(path)


def test_pipes_do_not_block(tmp_path):
    os.mkfifo(tmp_path / "v.png")
    with pytest.raises(MaskError, match=r"v\.png: no such mask file"):
        read_masks(tmp_path / "v.png")


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, 200), value=st.integers(0, 255), end=st.integers(0, 200))
def test_damage_is_a_mask_error_or_harmless(tmp_path_factory, place, value, end):
    path = tmp_path_factory.mktemp("masks") / "v.png"
    write_masks(path, torch.rand(3, 9, 11, generator=torch.Generator().manual_seed(0)) < 0.4)
    data = bytearray(path.read_bytes())
    data[place % len(data)] = value
    path.write_bytes(data[: len(data) - end // 2 % len(data)])
    try:
        masks = read_masks(path)
    except MaskError:
        return
    assert masks.ndim == 3
    assert masks.dtype == torch.bool
