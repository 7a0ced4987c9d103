"""Pseudo labels on disk: what comes back, what is refused, and what a stop leaves behind."""

import json
import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from devias.labels import storage as cache_module
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
    with pytest.raises(CacheError, match="format 99, not 1"):
        LabelCache.open(tmp_path)


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

    def stopped(arrays, path, metadata):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(cache_module, "save_file", stopped)
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


def test_masks_take_less_than_a_bit_a_pixel(tmp_path):
    cache = LabelCache.create(tmp_path, {**SETTINGS, "videos": 1, "scene_teacher": None})
    masks = torch.zeros(9, 9, 112, 149, dtype=torch.bool)
    masks[:, :, 30:90, 40:100] = True
    cache.write(0, {0: VideoLabels(300, masks)})
    assert (tmp_path / "shard-00000.safetensors").stat().st_size < masks.numel() / 8 / 4
