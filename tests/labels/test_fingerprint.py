"""Fingerprints: equal for copies, another one for what changed, few bytes read of large files."""

import os
import shutil
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devias.data.readers import VideoError
from devias.labels.fingerprint import _spread, fingerprint

BLOCK = 1 << 16


def test_a_copy_elsewhere_and_later_has_the_same(tmp_path):
    path, copy = tmp_path / "a.mp4", tmp_path / "b" / "c.avi"
    path.write_bytes(b"video")
    copy.parent.mkdir()
    shutil.copyfile(path, copy)
    os.utime(copy, (1, 1))
    assert fingerprint(path) == fingerprint(copy)
    assert len(fingerprint(path)) == 16
    assert any(fingerprint(path))


@pytest.mark.parametrize("size", [1, BLOCK, 9 * BLOCK])
def test_every_byte_of_a_small_file_counts(tmp_path, size):
    path = tmp_path / "a.mp4"
    content = bytearray(os.urandom(size))
    found = set()
    path.write_bytes(content)
    found.add(fingerprint(path))
    for place in {0, size // 3, size - 1}:
        content[place] ^= 1
        path.write_bytes(content)
        found.add(fingerprint(path))
    assert len(found) == 1 + len({0, size // 3, size - 1})


def test_of_a_large_file_size_start_middle_and_end_count(tmp_path):
    path = tmp_path / "a.mp4"
    size = 30 * BLOCK
    path.write_bytes(bytes(size))
    before = fingerprint(path)
    for place in (0, size // 2, size - 1):
        content = bytearray(size)
        content[place] = 1
        path.write_bytes(content)
        assert fingerprint(path) != before
    path.write_bytes(bytes(size + 1))
    assert fingerprint(path) != before


def test_of_a_huge_file_little_is_read(tmp_path):
    path = tmp_path / "a.mp4"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # takes no place on the disk, and hours to read
    assert fingerprint(path) == fingerprint(path)


@given(st.integers(0, 10**12), st.integers(1, 9))
def test_blocks_are_spread_from_the_first_byte_to_the_last(size, count):
    places = _spread(size, count)
    assert len(places) == min(size, count)
    assert places == sorted(set(places))
    if len(places) > 1:
        assert (places[0], places[-1]) == (0, size - 1)
        gaps = [b - a for a, b in pairwise(places)]
        assert max(gaps) - min(gaps) <= 1


def frames(folder, count=20, size=100):
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:05d}.jpg").write_bytes(bytes([number]) * size)
    return folder


def test_of_a_folder_names_sizes_and_some_frames_count(tmp_path):
    folder = frames(tmp_path / "a")
    before = fingerprint(folder)
    assert fingerprint(frames(tmp_path / "b")) == before
    (folder / ".DS_Store").write_bytes(b"hidden")
    assert fingerprint(folder) == before

    def changed(change):
        folder = frames(tmp_path / f"changed{len(list(tmp_path.iterdir()))}")
        change(folder)
        return fingerprint(folder)

    def flip_all(folder):
        for path in folder.iterdir():
            path.write_bytes(path.read_bytes()[:-1] + b"x")

    others = {
        changed(flip_all),
        changed(lambda folder: (folder / "00007.jpg").write_bytes(b"longer" * 100)),
        changed(lambda folder: (folder / "00007.jpg").rename(folder / "00027.jpg")),
        changed(lambda folder: (folder / "00007.jpg").unlink()),
        changed(lambda folder: (folder / "00000.jpg").write_bytes(b"a" * 100)),
        changed(lambda folder: (folder / "00019.jpg").write_bytes(b"a" * 100)),
    }
    assert len(others | {before}) == 7
    assert fingerprint(frames(tmp_path / "empty", 0)) != before


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(VideoError, match=r"nowhere\.mp4: No such file"):
        fingerprint(tmp_path / "nowhere.mp4")
