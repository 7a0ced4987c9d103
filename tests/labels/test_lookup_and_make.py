"""Labels made once for whole videos: they agree with those made on the fly, and find their way.

The videos show a bright square that wanders over noise; they are square, so that an uncropped clip
shows the whole frame.
"""

import json
import logging
import re
import shutil
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import nn
from torchvision.io import write_png

from devias.data.datamodule import VideoDataModule
from devias.data.dataset import SampleKey, TooManyBadVideos, collate, read_frames
from devias.data.frame_indices import window_indices
from devias.data.mask_files import write_masks
from devias.data.records import VideoRecord
from devias.labels.lookup import ClipLabels, find_labels, label_sources
from devias.labels.make import LabelSettings, label_split
from devias.labels.on_device import BatchStage
from devias.labels.scene_teacher import SceneTeacher
from devias.labels.storage import CacheError, LabelCache, VideoLabels
from devias.masks.base import MaskExtractor
from devias.masks.fame import FAME
from devias.masks.ground_truth import GroundTruthMasks
from devias.structures import UNKNOWN
from helpers import write_frames

SIZE, LENGTH, STRIDE = 24, 4, 2
SPAN = (LENGTH - 1) * STRIDE + 1
LENGTHS = (SPAN, 20, 3)
"""Frames of the videos: one clip, many clips, fewer than a clip."""
DEFAULTS = {
    "clip_length": LENGTH,
    "stride": STRIDE,
    "image_size": SIZE,
    "num_workers": 0,
    "batch_size": 2,
    "eval_batch_size": 4,
    "rand_augment": None,
    "crop_scale": (1, 1),
    "horizontal_flip": 0,
    "ground_truth_masks": False,
    "max_bad_share": 0.5,
}


class Videos(VideoDataModule):
    """The videos of a folder; `test` are the same as `train`."""

    splits = ("train", "test")
    action_names = scene_names = ("a", "b")

    def read_split(self, split):
        return [
            VideoRecord(path, 0, masks=path.with_suffix(".png"), source=f"list.txt:{line}")
            for line, path in enumerate(sorted(self.root.glob("*.mp4")), start=1)
        ]

    def how_to_get(self):
        return ""


class Bright(MaskExtractor):
    """Marks bright pixels, one by one; the clip mask is the mean of the frame masks."""

    def __init__(self, tubelet_size=2):
        self.tubelet_size = tubelet_size

    def __call__(self, video):
        frame_masks = (video.mean(1) > 0.6)[:, :: self.tubelet_size].float()
        return frame_masks.mean(1), frame_masks


class MeanColor(nn.Module):
    """A scene model of images whose logits are the mean color and the top left pixel."""

    def forward(self, images):
        return torch.cat([images.mean((2, 3)), images[..., 0, 0]], 1)


def frames_of(number: int, length: int) -> list[np.ndarray]:
    noise = np.random.default_rng(number)
    frames = noise.integers(0, 100, (length, SIZE, SIZE, 3), np.uint8)
    for time, frame in enumerate(frames):
        top, left = 4 + number, 2 + time % 12
        frame[top : top + 8, left : left + 8] = (250, 240, 30 * number + 100)
    return list(frames)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for number, length in enumerate(LENGTHS):
        write_frames(folder / f"{number}.mp4", frames_of(number, length))
        write_masks(folder / f"{number}.png", torch.rand(length, SIZE, SIZE) > 0.5)
    return folder


def make_data(folder, cache=None, masks=None, teacher=False, **settings) -> Videos:
    stage = BatchStage(
        masks=masks,
        scene_teacher=SceneTeacher(MeanColor(), per_frame=True) if teacher else None,
        masks_in_eval=True,
    )
    settings = {**DEFAULTS, "pseudo_cache": cache and str(cache), **settings}
    lookup = partial(find_labels, stage)
    return Videos(folder, 1, 6, stage=stage, find_labels=lookup, **settings)


def label(data, split="train", hop=0.5, **options) -> LabelCache:
    return label_split(data.stage, data, split, LabelSettings(hop, shard_size=2), **options)


def training_set(data: Videos):
    data.setup("fit")
    return data.train_dataloader().dataset


def without_makers(data: Videos) -> Videos:
    """Let nothing be made on the fly any more."""
    data.setup("fit")
    data.stage.masks = data.stage.scene_teacher = None
    return data


def labeled(data: Videos, draws: list[SampleKey]):
    """A training batch as the model gets it."""
    return data.stage.train()(collate([training_set(data)[draw] for draw in draws]))


def fame() -> FAME:
    return FAME(0.3, crop_size=48)


@pytest.mark.parametrize("extractor", [fame, Bright])
def test_cached_labels_equal_those_made_online(folder, tmp_path, extractor):
    cached = make_data(folder, tmp_path, extractor(), teacher=True)
    label(cached)
    # Whatever the draw, the first and the last video have one clip only, which is a window.
    draws = [SampleKey(0, 3), SampleKey(2, 4)]
    expected = labeled(make_data(folder, None, extractor(), teacher=True), draws)
    batch = labeled(without_makers(cached), draws)
    assert torch.equal(batch.video, expected.video)
    assert 0.01 < expected.clip_mask.mean() < 0.5
    assert torch.equal(batch.frame_masks, expected.frame_masks)
    assert torch.equal(batch.clip_mask, expected.clip_mask)
    torch.testing.assert_close(batch.scene_logits, expected.scene_logits, atol=2e-3, rtol=1e-3)
    assert torch.equal(batch.scene, expected.scene)


@pytest.mark.parametrize("hop", [0.5, 1.0])
def test_every_window_gets_its_own_labels(folder, tmp_path, hop):
    data = make_data(folder, tmp_path, fame(), teacher=True)
    cache = label(data, hop=hop)
    number, length = 1, LENGTHS[1]
    windows = window_indices(length, LENGTH, STRIDE, hop)
    assert len(windows) == {0.5: 6, 1.0: 3}[hop]  # 13 starts after the first, 3 or 7 apart
    masks, logits = ClipLabels(cache)(number, folder / "1.mp4", length, windows)
    record = data.records("train")[number]
    frames, _, _ = read_frames(record, lambda _: windows)
    video = frames.permute(0, 4, 1, 2, 3) / 255
    clip_mask, frame_masks = fame()(video)
    assert torch.equal(masks[:, 0], clip_mask.bool())
    assert torch.equal(masks[:, 1:], frame_masks.bool())
    torch.testing.assert_close(logits, data.stage.scene_teacher(video), atol=2e-3, rtol=1e-3)


def numbered_cache(folder, clip_masks: bool) -> LabelCache:
    """One video of 20 frames; window w marks pixel w of its masks, plane p pixel 8 + p."""
    sources = label_sources(
        BatchStage(masks=fame()), make_data(folder), [VideoRecord(folder / "a.mp4")]
    )
    layout = {"tubelets": 2, "clip_masks": clip_masks, "hop": 0.5, "mask_size": 4, "shard_size": 1}
    cache = LabelCache.create(
        folder,
        {**sources, **layout, "scene_teacher": {"class": "SceneTeacher"}, "scene_classes": 1},
    )
    windows, planes = 6, 2 + clip_masks
    masks = torch.zeros(windows, planes, 16, dtype=torch.bool)
    for window in range(windows):
        masks[window, :, window] = True
    for plane in range(planes):
        masks[:, plane, 8 + plane] = True
    logits = torch.arange(windows)[:, None].half()
    cache.write(0, {0: VideoLabels(20, masks.unflatten(-1, (4, 4)), logits)})
    return cache


@pytest.mark.parametrize("clip_masks", [True, False])
def test_a_clip_between_windows_takes_the_nearest_of_each(tmp_path, clip_masks):
    labels = ClipLabels(numbered_cache(tmp_path, clip_masks))
    # Windows start at 0, 2, 5, 7, 10, 13, their second tubelet 4 later. A clip from 6 is as near to
    # window 2 as to 3, the first counts; its tubelets at 6 and 10 are the second one of window 1
    # and the first of window 4. A clip from 3 has tubelets at 3 (nearest: 2) and 7 (window 3).
    masks, logits = labels(0, tmp_path / "a.mp4", 20, np.array([[6, 8, 10, 12], [3, 5, 7, 9]]))
    assert masks.shape == (2, 2 + clip_masks, 4, 4)
    assert logits.tolist() == [[2], [1]]
    found = [[plane.flatten().nonzero().flatten().tolist() for plane in clip] for clip in masks]
    first = 8 + clip_masks  # the pixel of the first tubelet
    tubelets = [[[1, first + 1], [4, first]], [[1, first], [3, first]]]
    own = [[[2, 8]], [[1, 8]]] if clip_masks else [[], []]
    assert found == [own[0] + tubelets[0], own[1] + tubelets[1]]
    assert labels.has_clip_mask == clip_masks


def test_masks_follow_crops_flips_and_rotations(tmp_path):
    folder = tmp_path / "large"
    folder.mkdir()
    frames = np.zeros((SPAN, 96, 128, 3), np.uint8)
    for time, frame in enumerate(frames):
        frame[20 : 60 + time, 30 + 3 * time : 70 + 3 * time] = 250
    write_frames(folder / "0.mp4", list(frames))
    settings = {
        "crop_scale": (0.3, 0.6),
        "horizontal_flip": 0.5,
        "image_size": 64,
        "batch_size": 1,
        "rand_augment": "rand-m9-n2-mstd0.5-inc1",
    }
    label(make_data(folder, tmp_path / "cache", Bright(), **settings))
    cached = without_makers(make_data(folder, tmp_path / "cache", Bright(), **settings))
    # Geometry only, so that the bright pixels of the augmented clip are the truth.
    moves = [("Rotate", 25.0), ("ShearX", 0.2), ("TranslateY", -0.1)]
    dataset = training_set(cached)
    dataset.transform.rand_augment.draw = lambda _: moves
    compared = 0
    for seed in range(12):
        batch = cached.stage.train()(collate([dataset[SampleKey(0, seed)]]))
        raw = dataset[SampleKey(0, seed)].video / 255
        clip_mask, frame_masks = Bright()(raw)
        if frame_masks.mean() < 0.05:
            continue
        compared += 1
        both = (frame_masks * batch.frame_masks).sum()
        either = frame_masks.maximum(batch.frame_masks).sum()
        assert both / either > 0.85
        assert batch.clip_mask.shape == clip_mask.shape
    assert compared > 4


def test_true_masks_travel_along(folder, tmp_path):
    settings = {"ground_truth_masks": True, "crop_scale": (0.5, 1), "horizontal_flip": 0.5}
    label(make_data(folder, tmp_path, fame()))
    data = make_data(folder, tmp_path, fame(), **settings)
    with_truth = training_set(data)[SampleKey(1, 5)]
    truth_only = training_set(make_data(folder, None, fame(), **settings))[SampleKey(1, 5)]
    pseudo_only = training_set(
        make_data(folder, tmp_path, fame(), **{**settings, "ground_truth_masks": False})
    )
    assert with_truth.ground_truth_masks.shape == (1, LENGTH, SIZE, SIZE)
    assert with_truth.frame_masks.shape == (1, LENGTH // 2, SIZE, SIZE)
    assert torch.equal(with_truth.ground_truth_masks, truth_only.ground_truth_masks)
    assert torch.equal(with_truth.frame_masks, pseudo_only[SampleKey(1, 5)].frame_masks)
    assert torch.equal(with_truth.clip_mask, pseudo_only[SampleKey(1, 5)].clip_mask)


@pytest.mark.parametrize("preload", [False, True])
def test_preloaded_videos_find_the_same_labels(folder, tmp_path, preload):
    label(make_data(folder, tmp_path, fame(), teacher=True))
    data = make_data(folder, tmp_path, fame(), teacher=True, preload=preload)
    batch = labeled(data, [SampleKey(n, 7) for n in range(3)])
    streamed = labeled(
        make_data(folder, tmp_path, fame(), teacher=True), [SampleKey(n, 7) for n in range(3)]
    )
    for name in ("video", "clip_mask", "frame_masks", "scene_logits"):
        assert torch.equal(getattr(batch, name), getattr(streamed, name))


def test_evaluation_splits_use_the_cache_where_it_has_them(folder, tmp_path):
    label(make_data(folder, tmp_path, fame(), teacher=True))
    data = make_data(folder, tmp_path, fame(), teacher=True)
    data.add_eval("test", 2, 3)
    loader = data.eval_dataloader("test", 2, 3)
    assert next(iter(loader)).frame_masks is None
    assert next(iter(loader)).scene_logits is None
    label(data, "test")
    data = make_data(folder, tmp_path, fame(), teacher=True)
    data.add_eval("test", 2, 3)
    loader = data.eval_dataloader("test", 2, 3)
    batches = list(loader)
    assert len(batches) == len(LENGTHS)
    for batch in batches:
        assert batch.clip_mask.shape == (6, SIZE, SIZE)
        assert batch.frame_masks.shape == (6, LENGTH // 2, SIZE, SIZE)
        assert batch.scene_logits.shape == (6, 6)
        # The three crops of one clip share its scene.
        assert torch.equal(batch.scene_logits[0], batch.scene_logits[2])


def test_training_needs_labels_of_its_own_settings(folder, tmp_path):
    data = make_data(folder, tmp_path, fame())
    with pytest.raises(CacheError, match=r"train holds no pseudo labels"):
        data.setup("fit")
    label(data)
    make_data(folder, tmp_path, fame()).setup("fit")
    for other, why in (
        (make_data(folder, tmp_path, FAME(0.5, crop_size=48)), r"masks\.beta is 0\.3, not 0\.5"),
        (make_data(folder, tmp_path, Bright()), r"masks\.class is FAME, not Bright"),
        (make_data(folder, tmp_path, fame(), stride=1), "stride is 2, not 1"),
        (make_data(folder, tmp_path, fame(), image_size=32), "image_size is 24, not 32"),
    ):
        with pytest.raises(CacheError, match=f"other settings: .*{why}"):
            other.setup("fit")
        with pytest.raises(CacheError, match=f"other settings: .*{why}"):
            label(other)


def test_another_list_is_refused_and_another_place_is_not(folder, tmp_path):
    label(make_data(folder, tmp_path / "cache", fame()))
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    make_data(moved, tmp_path / "cache", fame()).setup("fit")
    (moved / "0.mp4").rename(moved / "3.mp4")
    with pytest.raises(CacheError, match=r"list is \w+, not \w+"):
        make_data(moved, tmp_path / "cache", fame()).setup("fit")


def test_what_a_run_does_not_use_may_differ(folder, tmp_path, caplog):
    label(make_data(folder, tmp_path, fame()))
    for masks in (None, GroundTruthMasks()):
        data = make_data(folder, tmp_path, masks, ground_truth_masks=True)
        assert training_set(data)[SampleKey(0)].frame_masks is None
    with caplog.at_level(logging.INFO):
        batch = labeled(make_data(folder, tmp_path, fame(), teacher=True), [SampleKey(0)])
    assert "no labels by the scene_teacher: they are made on the fly" in caplog.text
    assert batch.scene_logits.shape == (1, 6)
    with pytest.raises(ValueError, match="no labels to make: choose masks=fame"):
        label(make_data(folder, tmp_path / "new", GroundTruthMasks()))


def test_a_stopped_run_continues(folder, tmp_path, caplog):
    data = make_data(folder, tmp_path, fame())
    cache = label(data)
    (tmp_path / "train" / "shard-00001.safetensors").unlink()
    with pytest.raises(
        CacheError, match=r"not complete, 1 of its 2 files are missing; .*run again"
    ):
        make_data(folder, tmp_path, fame()).setup("fit")
    with caplog.at_level(logging.INFO):
        label(data)
    assert "train: 1 of 3 videos to label" in caplog.text
    assert re.search(r"train: 1 of 1 videos, \d+\.\d a second, 0:00:00 left", caplog.text)
    assert cache.missing() == []
    caplog.clear()
    with caplog.at_level(logging.INFO):
        label(data)
    assert "train: 0 of 3 videos to label" in caplog.text


def test_processes_share_the_work(folder, tmp_path):
    data = make_data(folder, tmp_path, fame(), num_workers=1)
    assert label(data, rank=1, world_size=2).missing() == [0]
    cache = label(data, rank=0, world_size=2)
    assert cache.missing() == []
    alone = label(make_data(folder, tmp_path / "alone", fame()))
    for number in range(3):
        assert torch.equal(cache.read(number).masks, alone.read(number).masks)


def test_unreadable_videos_are_named_and_replaced_in_training(folder, tmp_path, caplog):
    broken = tmp_path / "videos"
    shutil.copytree(folder, broken)
    (broken / "1.mp4").write_bytes(b"<html>not a video</html>")
    data = make_data(broken, tmp_path / "cache", fame())
    cache = label(data)
    assert "1.mp4" in caplog.text
    assert "list.txt:2" in caplog.text
    assert cache.read(1) is None
    assert cache.read(2) is not None
    # The video has been fetched meanwhile, its labels are still missing.
    shutil.copy(folder / "1.mp4", broken / "1.mp4")
    dataset = training_set(make_data(broken, tmp_path / "cache", fame()))
    assert dataset[SampleKey(1)].index in (0, 2)
    assert dataset.bad == [1]
    strict = make_data(folder, tmp_path / "strict", fame(), max_bad_share=0.1)
    strict.root = broken
    (broken / "0.mp4").write_bytes(b"")
    with pytest.raises(TooManyBadVideos, match=r"1 of 3 videos .*max_bad_share=0\.1.*0\.mp4"):
        label(strict)
    assert LabelCache.open(tmp_path / "strict" / "train").missing() == [0, 1]


def test_each_video_has_the_scene_most_probable_over_its_windows(folder, tmp_path):
    broken = tmp_path / "videos"
    shutil.copytree(folder, broken)
    (broken / "1.mp4").write_bytes(b"")
    data = make_data(broken, tmp_path / "cache", teacher=True)
    assert data.pseudo_scenes("train") is None  # nothing is labeled yet
    cache = label(data)
    means = [cache.read(n).scene_logits.float().softmax(-1).mean(0) for n in (0, 2)]
    assert data.pseudo_scenes("train") == [int(means[0].argmax()), UNKNOWN, int(means[1].argmax())]
    assert data.pseudo_scenes("test") is None
    masked = make_data(folder, tmp_path / "masks", fame())
    label(masked)
    assert masked.pseudo_scenes("train") is None


def test_a_video_that_changed_is_an_error(folder, tmp_path):
    videos = tmp_path / "videos"
    shutil.copytree(folder, videos)
    label(make_data(videos, tmp_path / "cache", fame()))
    write_frames(videos / "0.mp4", frames_of(0, SPAN + 1))
    dataset = training_set(make_data(videos, tmp_path / "cache", fame()))
    with pytest.raises(CacheError, match="video 0 has 8 frames, but had 7 when it was labeled"):
        dataset[SampleKey(0)]


def flipped(path):
    """Another video in place of one, of as many frames."""
    number = int(path.stem)
    frames = frames_of(number, LENGTHS[number])
    write_frames(path, [np.ascontiguousarray(frame[:, ::-1]) for frame in frames])


@pytest.mark.parametrize("preload", [False, True])
def test_another_video_of_equal_length_is_an_error(folder, tmp_path, preload):
    videos = tmp_path / "videos"
    shutil.copytree(folder, videos)
    label(make_data(videos, tmp_path / "cache", fame()))
    flipped(videos / "1.mp4")
    dataset = training_set(make_data(videos, tmp_path / "cache", fame(), preload=preload))
    for _ in range(2):
        with pytest.raises(CacheError, match=r"1\.mp4 has other content .* delete .*shard-00000"):
            dataset[SampleKey(1)]
    assert dataset[SampleKey(2)].frame_masks is not None
    (tmp_path / "cache" / "train" / "shard-00000.safetensors").unlink()
    label(make_data(videos, tmp_path / "cache", fame()))
    assert training_set(make_data(videos, tmp_path / "cache", fame()))[SampleKey(1)].index == 1


def test_another_image_is_an_error(tmp_path):
    class Images(Videos):
        def read_split(self, split):
            return [VideoRecord(self.root / "0.png", 0)]

    images = tmp_path / "images"
    images.mkdir()
    image = torch.randint(0, 256, (3, SIZE, SIZE), dtype=torch.uint8)

    def data():
        stage = BatchStage(masks=Bright())
        settings = {**DEFAULTS, "batch_size": 1, "pseudo_cache": str(tmp_path / "cache")}
        return Images(
            images, 1, 6, stage=stage, find_labels=partial(find_labels, stage), **settings
        )

    write_png(image, str(images / "0.png"))
    label(data())
    assert training_set(data())[SampleKey(0)].frame_masks is not None
    write_png(image.flip(-1), str(images / "0.png"))
    with pytest.raises(CacheError, match=r"0\.png has other content"):
        training_set(data())[SampleKey(0)]


def test_content_is_compared_once_a_run_whatever_the_workers(folder, tmp_path):
    videos = tmp_path / "videos"
    shutil.copytree(folder, videos)
    label(make_data(videos, tmp_path / "cache", fame()))
    data = make_data(videos, tmp_path / "cache", fame(), num_workers=1, batch_size=3)
    data.setup("fit")
    assert len(list(data.train_dataloader())) == 1
    flipped(videos / "1.mp4")  # unnoticed, as the worker has seen all videos
    assert data.train_dataloader().dataset[SampleKey(1)].index == 1


def test_a_cache_without_fingerprints_is_read_with_one_warning(folder, tmp_path, caplog):
    videos = tmp_path / "videos"
    shutil.copytree(folder, videos)
    cache = label(make_data(videos, tmp_path / "cache", fame()))
    settings = {k: value for k, value in cache.settings.items() if k != "scene_classes"}
    manifest = {"format": 1, "settings": settings}
    (cache.folder / "manifest.json").write_text(json.dumps(manifest))
    old = LabelCache.open(cache.folder)
    for path in cache.folder.glob("shard-*"):
        arrays = load_file(path)
        del arrays["fingerprints"]
        save_file(arrays, path, {"cache": old.key})
    flipped(videos / "1.mp4")
    dataset = training_set(make_data(videos, tmp_path / "cache", fame()))
    assert dataset[SampleKey(0)].frame_masks is not None
    assert dataset[SampleKey(1)].frame_masks is not None
    assert caplog.text.count("which kept no fingerprints") == 1


@pytest.mark.parametrize(
    ("logits", "why"),
    [
        (np.full((1, 6), np.nan, np.float16), "NaN or infinite"),
        (np.zeros((2, 6), np.float16), r"F16 \[2, 6\], not F16 \[1, 6\]"),
        (np.zeros((1, 5), np.float16), r"F16 \[1, 5\], not F16 \[1, 6\]"),
    ],
)
@pytest.mark.parametrize("masks", [fame, lambda: None])
def test_scenes_that_do_not_fit_the_video_are_errors(folder, tmp_path, logits, why, masks):
    cache = label(make_data(folder, tmp_path, masks(), teacher=True))
    path = cache.folder / "shard-00000.safetensors"
    save_file({**load_file(path), "0.scene_logits": logits}, path, {"cache": cache.key})
    dataset = training_set(make_data(folder, tmp_path, masks(), teacher=True))
    with pytest.raises(CacheError, match=rf"shard-00000\.safetensors .*video 0: .*{why}"):
        dataset[SampleKey(0)]


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("clip_length", 0, r"clip_length is 0, not"),
        ("hop", float("nan"), r"hop is nan, not"),
        ("tubelets", 3, r"tubelets is 3, not a divisor of clip_length 4"),
        ("tubelets", None, r"tubelets is None, not"),
        ("beta", 1, r"unknown key 'beta'"),
        ("clip_masks", ..., r"clip_masks is missing"),
        ("list", ..., r"list is missing"),
    ],
)
def test_an_odd_manifest_ends_in_an_error_before_training(folder, tmp_path, key, value, why):
    label(make_data(folder, tmp_path, fame()))
    path = tmp_path / "train" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["settings"][key] = value
    if value is ...:
        del manifest["settings"][key]
    path.write_text(json.dumps(manifest))
    with pytest.raises(CacheError, match=rf"manifest\.json.*{why}"):
        make_data(folder, tmp_path, fame()).setup("fit")


class Masked(nn.Module):
    """A scene model that gives one of its classes the logit `lowest`."""

    def __init__(self, lowest):
        super().__init__()
        self.lowest = lowest

    def forward(self, images):
        logits = MeanColor()(images)
        logits[:, 2] = self.lowest
        return logits


def test_a_scene_without_probability_can_be_kept_and_nan_cannot(folder, tmp_path):
    def data(cache, lowest):
        data = make_data(folder, tmp_path / cache, teacher=True)
        data.stage.scene_teacher = SceneTeacher(Masked(lowest), per_frame=True)
        return data

    label(data("low", -1e9))
    probability = training_set(data("low", -1e9))[SampleKey(0)].scene_logits.softmax(-1)
    assert probability[0, 2] == 0
    assert probability.sum() == pytest.approx(1)
    with pytest.raises(CacheError, match=r"shard-00000.* NaN or infinite logits for video 0"):
        label(data("nan", float("nan")))


def test_masks_are_kept_small_and_the_scene_model_sees_the_central_square(tmp_path):
    folder = tmp_path / "wide"
    folder.mkdir()
    frames = [np.zeros((40, 80, 3), np.uint8) for _ in range(SPAN)]
    for frame in frames:
        frame[10:30, 20:40] = 250  # beside the left edge of the central square, inside
        frame[:, :20] = (200, 0, 0)  # outside
    write_frames(folder / "0.mp4", frames)
    data = make_data(folder, tmp_path / "cache", Bright(), teacher=True, image_size=40)
    cache = label_split(data.stage, data, "train", LabelSettings(mask_size=10))
    video = cache.read(0)
    assert video.masks.shape == (1, 2, 10, 20)
    expected = torch.zeros(10, 20, dtype=torch.bool)
    expected[2:7, 5:10] = True  # a quarter of 10:30, 20:40, where half of a pixel decides
    assert (video.masks[0, 0] ^ expected).sum() <= 5
    square = torch.zeros(1, 3, 1, 40, 40)
    square[..., 10:30, :20] = 250 / 255
    torch.testing.assert_close(
        video.scene_logits.float(), data.stage.scene_teacher(square), atol=0.03, rtol=0
    )
