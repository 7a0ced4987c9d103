"""From clips to the features of videos."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from devias.data.datamodule import VideoDataModule
from devias.data.links import OutsideLinkError
from devias.data.records import VideoRecord
from devias.evaluation.feature_files import FeatureChunks
from devias.evaluation.features import (
    FeatureSettings,
    VideoEncoder,
    extract_features,
    feature_sources,
)
from devias.labels.on_device import BatchStage
from devias.models.matching import SlotMatcher
from devias.structures import UNKNOWN, ClipBatch, SlotPrediction
from helpers import write_frames

FRAMES = 6


class Brightness(nn.Module):
    """Two slots: the clip's brightness as action, the negative of it as scene."""

    def __init__(self, scenes=3):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))
        self.scenes = scenes

    def forward(self, video):
        mean = video.mean((1, 2, 3, 4)) + self.bias
        slots = torch.stack([mean, -mean], 1)[..., None].expand(-1, -1, 2)
        logits = torch.zeros(len(video), 2, 2 + self.scenes)
        logits[:, 0, 0], logits[:, 1, 2:] = 4.0, 2.0
        return SlotPrediction(slots, logits, 2, (1, 1, 1))


class Gray(VideoDataModule):
    """Videos `0.mp4`, `1.mp4`, …; every frame of number n is of the gray value 20 · n."""

    def read_split(self, split):
        return [VideoRecord(self.videos / f"{n}.mp4", n % 2, n) for n in range(5)]

    action_names = ("a", "b")

    def how_to_get(self):
        return "draw them"


@pytest.fixture
def data(tmp_path):
    (tmp_path / "videos").mkdir()
    for n in range(5):
        frame = np.full((16, 16, 3), 20 * n, np.uint8)
        write_frames(tmp_path / "videos" / f"{n}.mp4", [frame] * FRAMES)
    return Gray(str(tmp_path), 2, 9, clip_length=2, stride=1, image_size=8, eval_batch_size=4,
                num_workers=0)  # fmt: skip


def encoder(model=None):
    stage = BatchStage(mean=(0, 0, 0), std=(1, 1, 1), requires=())
    return VideoEncoder(model or Brightness(), SlotMatcher(), stage)


def extract(folder, data, settings, **ranks):
    encode = encoder()
    chunks = FeatureChunks(folder, feature_sources(encode, data, "test", settings))
    extract_features(encode, data, "test", chunks, settings, **ranks)
    return chunks


def test_views_choose_their_slots_and_are_averaged():
    video = torch.zeros(4, 3, 2, 4, 4, dtype=torch.uint8)
    video[1], video[2] = 51, 255
    batch = ClipBatch(video, torch.tensor([1, 0]), torch.tensor([UNKNOWN, 2]), torch.tensor([7, 9]),
                      num_views=2)  # fmt: skip
    found = encoder()(batch)
    assert found.number.tolist() == [7, 9]
    np.testing.assert_allclose(found.columns["action_feature"], [[0.1] * 2, [0.5] * 2], rtol=1e-6)
    np.testing.assert_allclose(found.columns["scene_feature"], [[-0.1] * 2, [-0.5] * 2], rtol=1e-6)
    # Softmax of (4, 0, 0, 0, 0) and of (0, 0, 2, 2, 2).
    action = math.exp(4) / (math.exp(4) + 4)
    scene = math.exp(2) / (2 + 3 * math.exp(2))
    np.testing.assert_allclose(found.columns["action_confidence"], [action] * 2, rtol=1e-6)
    np.testing.assert_allclose(found.columns["scene_confidence"], [scene] * 2, rtol=1e-6)
    assert found.columns["scene"].tolist() == [UNKNOWN, 2]


def test_a_model_of_actions_is_never_sure_of_a_scene():
    batch = ClipBatch(torch.zeros(1, 3, 2, 4, 4, dtype=torch.uint8), *[torch.zeros(1).long()] * 3)
    found = encoder(Brightness(scenes=0))(batch)
    assert np.isnan(found.columns["scene_confidence"]).all()
    assert np.isfinite(found.columns["action_confidence"]).all()


def test_every_video_is_there_once_whoever_made_it(tmp_path, data):
    settings = FeatureSettings(chunk_size=2)
    extract(tmp_path / "features", data, settings, rank=1, world_size=2)
    chunks = FeatureChunks(
        tmp_path / "features", feature_sources(encoder(), data, "test", settings)
    )
    assert chunks.missing() == [0, 2]
    chunks = extract(tmp_path / "features", data, settings)
    parts = list(chunks.read())
    assert np.concatenate([part.number for part in parts]).tolist() == [0, 1, 2, 3, 4]
    gray = np.concatenate([part.columns["action_feature"] for part in parts])[:, 0]
    np.testing.assert_allclose(gray, np.arange(5) * 20 / 255, atol=4 / 255)
    assert np.concatenate([part.columns["scene"] for part in parts]).tolist() == [0, 1, 2, 3, 4]


def test_a_torn_video_is_left_out_and_named(tmp_path, data, caplog):
    path = data.videos / "3.mp4"
    path.write_bytes(path.read_bytes()[:100])
    chunks = extract(tmp_path / "features", data, FeatureSettings(chunk_size=3))
    numbers = [n for part in chunks.read(["action"]) for n in part.number]
    assert numbers == [0, 1, 2, 4]
    assert chunks.unreadable().keys() == {3}
    assert "3.mp4" in chunks.unreadable()[3]
    assert "left out: " in caplog.text


def test_a_chunk_of_torn_videos_alone_has_no_features(tmp_path, data):
    for number in (2, 3):
        (data.videos / f"{number}.mp4").write_bytes(b"no video")
    chunks = extract(tmp_path / "features", data, FeatureSettings(chunk_size=2))
    assert [n for part in chunks.read(["action"]) for n in part.number] == [0, 1, 4]
    assert chunks.unreadable().keys() == {2, 3}


def test_a_link_out_of_the_folders_is_refused(tmp_path, data):
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere.mp4"
    (data.videos / "3.mp4").rename(elsewhere)
    (data.videos / "3.mp4").symlink_to(elsewhere)
    with pytest.raises(OutsideLinkError, match=r"3\.mp4 leads out of the folder"):
        extract(tmp_path / "features", data, FeatureSettings())


def test_other_weights_clips_or_labels_are_other_features(data):
    settings = FeatureSettings()
    own = feature_sources(encoder(), data, "test", settings)
    assert own == feature_sources(encoder(), data, "test", settings)
    model = Brightness()
    model.bias.data += 1
    data.stride = 2
    other = feature_sources(encoder(model), data, "test", FeatureSettings(num_crops=3))
    assert {key for key in own if own[key] != other[key]} == {"model", "stride", "num_crops"}


@pytest.mark.parametrize("settings", [{"num_clips": 0}, {"chunk_size": 0}, {"dtype": "int8"}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))}"):
        FeatureSettings(**settings)
