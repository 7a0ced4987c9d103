"""Pseudo labels on disk: what comes back, what is refused, and what a stop leaves behind."""

import json
import logging
import os
import re
import tempfile
import time
import tracemalloc
import zlib
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from devias.labels.storage import CacheError, LabelCache, VideoLabels

SETTINGS = {
    "masks": {"class": "FAME", "beta": 0.5},
    "scene_teacher": {"class": "SceneTeacher"},
    "sizes": (3, 5),
    "videos": 7,
    "shard_size": 3,
}


def labels(number, windows=2, shape=(4, 3, 5)) -> VideoLabels:
    generator = torch.Generator().manual_seed(number)
    return VideoLabels(
        num_frames=number + 1,
        masks=torch.rand(windows, *shape, generator=generator) > 0.5,
        scene_logits=torch.randn(windows, 6, generator=generator).half(),
        fingerprint=bytes([number + 1]) * 16,
    )


def full(folder, settings=SETTINGS) -> LabelCache:
    cache = LabelCache.create(folder, settings)
    for shard in range(cache.num_shards):
        cache.write(shard, {number: labels(number) for number in cache.videos_of(shard)})
    return cache


def test_what_was_written_comes_back(tmp_path):
    full(tmp_path)
    cache = LabelCache.open(tmp_path)
    assert cache.num_shards == 3
    assert cache.missing() == []
    assert [list(cache.videos_of(shard)) for shard in range(3)] == [[0, 1, 2], [3, 4, 5], [6]]
    for number in (0, 5, 6):
        expected, video = labels(number), cache.read(number)
        assert video.num_frames == number + 1
        assert torch.equal(video.masks, expected.masks)
        assert torch.equal(video.scene_logits, expected.scene_logits)
        assert video.fingerprint == expected.fingerprint
    assert cache.read(1, masks=False).masks is None
    assert cache.read(1, scenes=False).scene_logits is None
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "manifest.json",
        *(f"shard-0000{shard}.safetensors" for shard in range(3)),
    ]


@given(shape=st.tuples(*[st.integers(1, 9)] * 4), share=st.floats(0, 1))
@settings(deadline=None)  # it writes files
def test_masks_of_any_shape_come_back(tmp_path_factory, shape, share):
    settings = {**SETTINGS, "videos": 1, "scene_teacher": None}
    cache = LabelCache.create(tmp_path_factory.mktemp("cache"), settings)
    masks = torch.rand(shape) < share
    cache.write(0, {0: VideoLabels(3, masks)})
    assert torch.equal(cache.read(0).masks, masks)
    assert cache.read(0).scene_logits is None


def test_a_cache_is_continued_with_the_same_settings_only(tmp_path):
    full(tmp_path)
    assert LabelCache.create(tmp_path, SETTINGS).missing() == []
    other = {**SETTINGS, "masks": {"class": "FAME", "beta": 0.3}, "videos": 8}
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CacheError, match=r"masks\.beta is 0\.5, not 0\.3; videos is 7, not 8"):
        LabelCache.create(tmp_path, other)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}
    cache = LabelCache.open(tmp_path)
    cache.require({"masks": SETTINGS["masks"]})
    with pytest.raises(CacheError, match=r"scene_teacher is .*, not None"):
        cache.require({"scene_teacher": None})


def test_no_cache_and_no_manifest(tmp_path):
    with pytest.raises(CacheError, match=r"nowhere holds no pseudo labels: .*manifest\.json"):
        LabelCache.open(tmp_path / "nowhere")
    manifest = tmp_path / "manifest.json"
    for text in ("", "[1, 2]", '{"format": 1}', "<html>"):
        manifest.write_text(text)
        with pytest.raises(CacheError, match=r"manifest\.json is not the manifest"):
            LabelCache.open(tmp_path)
    manifest.write_text(json.dumps({"format": 99, "settings": {}}))
    with pytest.raises(CacheError, match="format 99, not 1 or 2"):
        LabelCache.open(tmp_path)


SOUND = {**SETTINGS, "sizes": [3, 5]}


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ({"settings": SOUND}, "keys format and settings"),
        ({"format": 2, "settings": SOUND, "more": 1}, "keys format and settings"),
        ({"format": True, "settings": SOUND}, "format True, not 1 or 2"),
        ({"format": [2], "settings": SOUND}, r"format \[2\], not 1 or 2"),
        ({"format": 2, "settings": [SOUND]}, r"settings is \[.*, not a mapping"),
        ({"format": 2, "settings": {"videos": 7}}, r"settings\.masks is missing"),
        ({"format": 2, "settings": {**SOUND, "shard_size": 0}}, r"settings\.shard_size is 0, not"),
        ({"format": 2, "settings": {**SOUND, "videos": -7}}, r"settings\.videos is -7, not"),
        ({"format": 2, "settings": {**SOUND, "videos": 1e400}}, r"settings\.videos is inf, not"),
        ({"format": 2, "settings": {**SOUND, "hop": float("nan")}}, r"settings\.hop is nan, not"),
        ({"format": 2, "settings": {**SOUND, "masks": "FAME"}}, r"settings\.masks is 'FAME', not"),
    ],
)
def test_an_odd_manifest_is_refused_by_file_and_key(tmp_path, manifest, why):
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CacheError, match=rf"manifest\.json is .*{why}"):
        LabelCache.open(tmp_path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff\xfe{\x00}\x00", "utf-8"),
        (b"[" * 100_000, "recursion"),
        (b'{"format": 2, "settings": {"masks": {"class": "A", "x": ' + b"[" * 900 + b"]" * 900
         + b'}, "scene_teacher": null, "videos": 1, "shard_size": 1}}', "recursion"),
        (b'{"format": 2, "settings": {"masks": null, "scene_teacher": null, "shard_size": 1, '
         b'"videos": ' + b"9" * 5000 + b"}}", r"settings\.videos is inf"),
        (b" " * (1 << 20) + b"{}", "larger than"),
    ],
    ids=["utf-16", "open brackets", "brackets", "digits", "large"],
)  # fmt: skip
def test_a_manifest_that_is_no_text_or_endless_is_refused(tmp_path, content, why):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(CacheError, match=rf"manifest\.json is not the manifest .*{why}"):
        LabelCache.open(tmp_path)


def test_no_cache_is_made_of_settings_that_none_can_have(tmp_path):
    with pytest.raises(
        CacheError, match=r"manifest\.json is not written: settings\.shard_size is 0"
    ):
        LabelCache.create(tmp_path / "new", {**SETTINGS, "shard_size": 0})
    assert not (tmp_path / "new").exists()


def test_files_have_the_permissions_of_every_file(tmp_path):
    before = os.umask(0o022)
    try:
        full(tmp_path)
        os.umask(0o077)
        full(tmp_path / "private")
    finally:
        os.umask(before)
    for folder, mode in ((tmp_path, 0o644), (tmp_path / "private", 0o600)):
        files = [path for path in folder.iterdir() if path.is_file()]
        assert len(files) == 4
        assert {path.stat().st_mode & 0o777 for path in files} == {mode}


@pytest.fixture
def user_folder():
    """A folder whose user does not read all files, as root does."""
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    finally:
        if was_root:
            os.seteuid(0)


@pytest.mark.parametrize("name", ["manifest.json", "shard-00000.safetensors", ""])
def test_what_may_not_be_read_is_called_that(user_folder, name):
    folder = user_folder / "cache"
    full(folder)
    cache = LabelCache.open(folder)
    path = folder / name if name else folder
    path.chmod(0)
    try:
        uses = {
            "manifest.json": [LabelCache.open, lambda folder: LabelCache.create(folder, SETTINGS)],
            "shard-00000.safetensors": [lambda _: cache.read(0), lambda _: cache.unfinished()],
            "": [LabelCache.open, lambda _: cache.read(0), lambda _: cache.missing()],
        }
        for use in uses[name]:
            with pytest.raises(
                CacheError, match=rf"{re.escape(str(path))} may not be read by this"
            ):
                use(folder)
    finally:
        path.chmod(0o700)
    assert cache.unfinished() == []


def test_what_may_not_be_written_is_called_that(user_folder):
    cache = LabelCache.create(user_folder / "cache", SETTINGS)
    try:
        for path in (user_folder, user_folder / "cache"):
            path.chmod(0o500)
        for folder, use in (
            ("new", lambda: LabelCache.create(user_folder / "new", SETTINGS)),
            ("cache", lambda: cache.write(2, {6: labels(6)})),
        ):
            with pytest.raises(CacheError, match=rf"{folder} may not be written by this user"):
                use()
    finally:
        for path in (user_folder, user_folder / "cache"):
            path.chmod(0o700)


def test_a_file_in_place_of_the_folder(tmp_path):
    path = tmp_path / "cache"
    path.write_text("")
    with pytest.raises(CacheError, match="cache cannot be written"):
        LabelCache.create(path, SETTINGS)
    with pytest.raises(CacheError, match="holds no pseudo labels"):
        LabelCache.open(path)


def test_a_video_that_cannot_be_read_has_no_labels(tmp_path):
    cache = LabelCache.create(tmp_path, {**SETTINGS, "videos": 2})
    cache.write(0, {0: None, 1: labels(1)})
    assert cache.read(0) is None
    assert cache.read(1) is not None


def test_a_shard_holds_its_own_videos(tmp_path):
    cache = LabelCache.create(tmp_path, SETTINGS)
    with pytest.raises(ValueError, match=r"shard 1 is of the videos range\(3, 6\)"):
        cache.write(1, {3: labels(3), 4: labels(4)})
    assert cache.missing() == [0, 1, 2]


def test_a_stopped_write_leaves_nothing(tmp_path, monkeypatch):
    cache = LabelCache.create(tmp_path, SETTINGS)

    def stopped(path, content):
        path.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", stopped)
    with pytest.raises(KeyboardInterrupt):
        cache.write(2, {6: labels(6)})
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_a_missing_shard_says_how_to_go_on(tmp_path):
    cache = full(tmp_path)
    (tmp_path / "shard-00001.safetensors").unlink()
    assert cache.missing() == cache.unfinished() == [1]
    with pytest.raises(CacheError, match=r"shard-00001\.safetensors is missing; .*run again"):
        cache.read(4)
    assert cache.read(6).num_frames == 7


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ("truncated", "Error while deserializing header"),
        ("empty", "Error while deserializing header"),
        ("html", "Error while deserializing header"),
        ("other cache", "it belongs to another cache"),
    ],
)
def test_a_damaged_shard_is_named_and_made_again(tmp_path, caplog, damage, why):
    cache = full(tmp_path / "cache")
    path = tmp_path / "cache" / "shard-00000.safetensors"
    if damage == "other cache":
        full(tmp_path / "other", {**SETTINGS, "hop": 0.5})
        path.write_bytes((tmp_path / "other" / path.name).read_bytes())
    else:
        content = path.read_bytes()
        path.write_bytes({"truncated": content[:-9], "empty": b"", "html": b"<html>"}[damage])
    with pytest.raises(CacheError, match=rf"shard-00000\.safetensors is unusable \({why}"):
        cache.read(0)
    with caplog.at_level(logging.WARNING):
        assert cache.unfinished() == [0]
    assert "shard-00000" in caplog.text


def rewritten(cache, entries):
    """The cache, with other entries in its first shard."""
    path = cache.folder / "shard-00000.safetensors"
    save_file({**load_file(path), **entries}, path, {"cache": cache.key})
    return cache


@pytest.mark.parametrize("entry", ["shape", "masks", "scene_logits"])
def test_a_missing_entry_is_named(tmp_path, entry):
    cache = full(tmp_path)
    path = tmp_path / "shard-00000.safetensors"
    arrays = load_file(path)
    del arrays[f"1.{entry}"]
    save_file(arrays, path, {"cache": cache.key})
    with pytest.raises(
        CacheError, match=rf"shard-00000\.safetensors is unusable \(video 1: .*{entry}"
    ):
        cache.read(1)
    assert cache.read(0) is not None


def test_masks_that_do_not_unpack_are_refused(tmp_path):
    cache = full(tmp_path)
    path = tmp_path / "shard-00000.safetensors"
    good = load_file(path)
    broken = {**good, "0.masks": good["0.masks"][:-3]}
    wrong_size = {**good, "0.shape": good["0.shape"] + [0, 0, 0, 0, 1]}
    for arrays, why in ((broken, "video 0"), (wrong_size, r"bytes of masks, not \d+ bits")):
        save_file(
            {k: v.astype(good[k].dtype) for k, v in arrays.items()}, path, {"cache": cache.key}
        )
        with pytest.raises(CacheError, match=why):
            cache.read(0)


def bomb(num_bytes):
    return np.frombuffer(zlib.compress(bytes(num_bytes), 9), np.uint8)


INT, HALF = np.int32, np.float16
MORE = {**SETTINGS, "tubelets": 3, "clip_masks": True, "mask_size": 3, "scene_classes": 6}
"""Of the labels of this module: 4 masks of 3 × 5 pixels a window, 6 scenes."""


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ({"0.shape": np.array([1, 2, 4, 3, 5], np.int64)}, "0.shape is I64"),
        ({"0.shape": np.array([[1, 2, 4, 3, 5]], INT)}, r"0.shape is I32 \[1, 5\], not I32 \[\*\]"),
        ({"0.shape": np.array([], INT)}, "0.shape is I32"),
        ({"0.shape": np.array([1], INT)}, "masks cannot have the shape"),
        ({"0.shape": np.array([1, 2, 4, 3], INT)}, "masks cannot have the shape"),
        ({"0.shape": np.array([-1, 2, 4, 3, 5], INT)}, "it has -1 frames"),
        ({"0.shape": np.array([1, -2, -4, 3, 5], INT)}, "masks cannot have the shape"),
        ({"0.shape": np.array([1, 0, 4, 3, 5], INT)}, "masks cannot have the shape"),
        ({"0.shape": np.array([1] + [2**31 - 1] * 4, INT)}, "masks cannot have the shape"),
        ({"0.shape": np.array([1, 2**16, 2**16, 1, 1], INT)}, "masks cannot have the shape"),
        ({"0.shape": np.array([1, 3, 4, 3, 5], INT)}, "masks of 3 windows, not 2"),
        ({"0.shape": np.array([1, 2, 3, 4, 5], INT)}, "masks of 3 masks a window, not 4"),
        ({"0.shape": np.array([1, 2, 4, 5, 4], INT)}, "masks of 4 pixels on the short side, not 3"),
        ({"0.shape": np.array([1, 2, 4, 3, 6], INT)}, r"15 bytes of masks, not 144 bits"),
        ({"0.masks": np.zeros(9, np.int8)}, "0.masks is I8"),
        ({"0.masks": np.zeros((3, 3), np.uint8)}, "0.masks is U8"),
        ({"0.masks": np.zeros(9, np.uint8)}, "Error -3"),
        ({"0.masks": np.zeros(10**6, np.uint8)}, r"0.masks is U8 \[1000000\]"),
        ({"0.masks": bomb(16)}, "16 bytes of masks, not 120 bits"),
        ({"0.masks": bomb(14)}, "14 bytes of masks, not 120 bits"),
        ({"0.masks": bomb(15)[:-2]}, "15 bytes of masks"),
        ({"0.scene_logits": np.zeros((2, 6), np.float32)}, "0.scene_logits is F32"),
        ({"0.scene_logits": np.zeros((3, 6), HALF)}, r"F16 \[3, 6\], not F16 \[2, 6\]"),
        ({"0.scene_logits": np.zeros((2, 5), HALF)}, r"F16 \[2, 5\], not F16 \[2, 6\]"),
        ({"0.scene_logits": np.zeros(6, HALF)}, r"F16 \[6\], not F16 \[2, 6\]"),
        ({"0.scene_logits": np.full((2, 6), np.nan, HALF)}, "NaN or infinite"),
        ({"0.scene_logits": np.array([[0] * 6, [0] * 5 + [np.inf]], HALF)}, "NaN or infinite"),
        ({"fingerprints": np.zeros((3, 16), np.int8)}, "fingerprints is I8"),
        ({"fingerprints": np.zeros((2, 16), np.uint8)}, r"U8 \[2, 16\], not U8 \[3, 16\]"),
    ],
)
def test_labels_that_do_not_fit_are_refused_by_shard_and_video(tmp_path, entries, why):
    cache = rewritten(full(tmp_path, MORE), entries)
    with pytest.raises(
        CacheError, match=rf"shard-00000\.safetensors is unusable \(video 0: .*{why}"
    ):
        cache.read(0, num_frames=1, num_windows=2)
    if "fingerprints" not in entries:
        assert torch.equal(cache.read(1).masks, labels(1).masks)


def test_scenes_alone_have_the_windows_of_the_video(tmp_path):
    cache = full(tmp_path, {**SETTINGS, "masks": None})
    assert cache.read(0, num_frames=1, num_windows=2).masks is None
    with pytest.raises(CacheError, match=r"video 0: .*F16 \[2, 6\], not F16 \[3, \*\]"):
        cache.read(0, num_frames=1, num_windows=3)


def test_labels_of_another_number_of_frames_are_refused(tmp_path):
    cache = full(tmp_path)
    assert cache.read(4, num_frames=5) is not None
    with pytest.raises(CacheError, match=r"video 4 has 6 frames, but had 5 .*shard-00001"):
        cache.read(4, num_frames=6)


@pytest.mark.parametrize("shape", [None, [1, 1, 1, 2**17, 2**17], [1, 2, 4, 3, 2**27]])
def test_a_deflate_bomb_is_not_unpacked(tmp_path, shape):
    entries = {"0.masks": bomb(1 << 26)}
    if shape:
        entries["0.shape"] = np.array(shape, INT)
    cache = rewritten(full(tmp_path), entries)
    tracemalloc.start()
    try:
        with pytest.raises(CacheError, match=r"shard-00000\.safetensors is unusable \(video 0: "):
            cache.read(0)
        assert tracemalloc.get_traced_memory()[1] < 1 << 21
    finally:
        tracemalloc.stop()


def test_logits_that_are_no_numbers_are_not_written(tmp_path):
    cache = LabelCache.create(tmp_path, SETTINGS)
    video = labels(6)
    video.scene_logits[1, 2] = float("nan")
    with pytest.raises(CacheError, match=r"shard-00002.* NaN or infinite logits for video 6"):
        cache.write(2, {6: video})
    assert cache.missing() == [0, 1, 2]


def of_format_1(cache, settings):
    """The same cache as an earlier version would have written it."""
    (cache.folder / "manifest.json").write_text(json.dumps({"format": 1, "settings": settings}))
    old = LabelCache.open(cache.folder)
    for path in cache.folder.glob("shard-*"):
        arrays = load_file(path)
        del arrays["fingerprints"]
        save_file(arrays, path, {"cache": old.key})
    return old


def test_a_cache_of_format_1_is_read_and_continued(tmp_path):
    old = of_format_1(full(tmp_path), SETTINGS)
    assert torch.equal(old.read(3).masks, labels(3).masks)
    assert old.read(3).fingerprint == b""
    (tmp_path / "shard-00002.safetensors").unlink()
    continued = LabelCache.create(tmp_path, {**SETTINGS, "scene_classes": 6})
    assert continued.format == 1
    assert continued.unfinished() == [2]
    continued.write(2, {6: labels(6)})
    assert continued.read(6).fingerprint == labels(6).fingerprint
    assert continued.read(0).fingerprint == b""


def test_a_shard_without_fingerprints_is_damaged(tmp_path):
    cache = full(tmp_path)
    path = tmp_path / "shard-00000.safetensors"
    arrays = load_file(path)
    del arrays["fingerprints"]
    save_file(arrays, path, {"cache": cache.key})
    with pytest.raises(CacheError, match=r"video 1: .*fingerprints"):
        cache.read(1)


def fill(folder):
    """Write all shards, again and again."""
    cache = LabelCache.create(folder, SETTINGS)
    while True:
        for shard in range(cache.num_shards):
            cache.write(shard, {number: labels(number) for number in cache.videos_of(shard)})


def test_two_killed_processes_leave_whole_shards(tmp_path):
    processes = [get_context("fork").Process(target=fill, args=(tmp_path,)) for _ in range(2)]
    for process in processes:
        process.start()
    try:
        until = time.monotonic() + 20
        while len(list(tmp_path.glob("shard-*"))) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        cache = LabelCache.open(tmp_path)
        for _ in range(20):
            assert cache.unfinished() == []
    finally:
        for process in processes:
            process.kill()
            process.join()
    for number in range(7):
        assert torch.equal(cache.read(number).masks, labels(number).masks)


def test_masks_take_less_than_a_bit_a_pixel(tmp_path):
    cache = LabelCache.create(tmp_path, {**SETTINGS, "videos": 1, "scene_teacher": None})
    masks = torch.zeros(9, 9, 112, 149, dtype=torch.bool)
    masks[:, :, 30:90, 40:100] = True
    cache.write(0, {0: VideoLabels(300, masks)})
    assert (tmp_path / "shard-00000.safetensors").stat().st_size < masks.numel() / 8 / 4
