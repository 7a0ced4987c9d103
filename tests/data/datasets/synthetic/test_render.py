import av
import numpy as np
import pytest
import torch

from devias.data.datasets.synthetic.motions import BENCHMARK_ACTIONS
from devias.data.datasets.synthetic.plan import SyntheticSettings, plan_split
from devias.data.datasets.synthetic.render import FRAMES, HEIGHT, WIDTH, draw_clip, write_clip
from devias.data.datasets.synthetic.scenes import BENCHMARK_SCENES
from devias.data.mask_files import read_masks

WALKING, SNOW = BENCHMARK_ACTIONS["walking"], BENCHMARK_SCENES["snow"]


@pytest.fixture(scope="module")
def clip():
    return draw_clip((0, 1, 2), WALKING, SNOW)


def decode(path):
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return np.stack([frame.to_ndarray(format="rgb24") for frame in frames]), frames


def test_a_clip_has_frames_and_silhouettes_of_one_size(clip):
    assert clip.video.shape == (FRAMES, HEIGHT, WIDTH, 3)
    assert clip.video.dtype == np.uint8
    assert clip.masks.shape == (FRAMES, HEIGHT, WIDTH)
    share = clip.masks.mean(axis=(1, 2))
    assert share.min() > 0.03
    assert share.max() < 0.25


def test_a_clip_depends_on_its_seed_alone(clip):
    again, other = (draw_clip((0, 1, last), WALKING, SNOW) for last in (2, 3))
    np.testing.assert_array_equal(again.video, clip.video)
    np.testing.assert_array_equal(again.masks, clip.masks)
    assert (other.video != clip.video).mean() > 0.5


def test_the_silhouette_holds_all_that_the_actor_changes_but_soft_edges_and_shadow(clip):
    empty = draw_clip((0, 1, 2), None, SNOW)
    assert not empty.masks.any()
    changed = np.abs(clip.video.astype(int) - empty.video).max(-1) > 12
    rows = int(0.8 * HEIGHT)  # the shadow lies below
    grown = torch.nn.functional.max_pool2d(torch.tensor(clip.masks[:, None]).float(), 3, 1, 1)
    assert not (changed & ~grown[:, 0].bool().numpy())[:, :rows].any()
    assert changed[clip.masks].mean() > 0.9


def test_the_scene_does_not_depend_on_the_actor():
    for seed in range(3):
        squatting, walking = (
            draw_clip((seed,), BENCHMARK_ACTIONS[name], SNOW).video[:, :8]
            for name in ("squatting", "walking")
        )
        np.testing.assert_array_equal(squatting, walking)  # above the actors' heads


def test_a_written_clip_is_h264_with_key_frames_and_reads_back(clip, tmp_path):
    write_clip(clip, tmp_path / "clip.mp4", tmp_path / "clip.png")
    video, frames = decode(tmp_path / "clip.mp4")
    assert video.shape == clip.video.shape
    assert np.abs(video.astype(int) - clip.video).mean() < 6
    assert [i for i, frame in enumerate(frames) if frame.key_frame][:2] == [0, 10]
    assert [round(float(frame.time) * 10) for frame in frames] == list(range(FRAMES))
    np.testing.assert_array_equal(read_masks(tmp_path / "clip.png").numpy(), clip.masks)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.frames) == ("h264", FRAMES)
        assert stream.average_rate == 10


def test_the_same_clip_gives_the_same_bytes(clip, tmp_path):
    for name in ("first", "second"):
        write_clip(clip, tmp_path / f"{name}.mp4", tmp_path / f"{name}.png")
    for kind in ("mp4", "png"):
        first, second = (tmp_path / f"{name}.{kind}" for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def silhouettes(split, count):
    """ActorSegmentation of 8 frames, centered and 4 pixels coarse, as what they show over time:
    magnitudes of their spectrum, which do not depend on the phase."""
    motions = list(BENCHMARK_ACTIONS.values())
    scenes = list(BENCHMARK_SCENES.values())
    features, labels = [], []
    for plan in plan_split(SyntheticSettings(), split)[:count]:
        masks = draw_clip(plan.seed, motions[plan.action], scenes[plan.scene]).masks[:16:2]
        middle = int(np.nonzero(masks.any(0))[1].mean())
        centered = np.roll(masks, WIDTH // 2 - middle, axis=2)[:, :, 8:72].astype(np.float32)
        coarse = centered.reshape(8, 16, 4, 16, 4).mean((2, 4))
        features.append(np.abs(np.fft.rfft(coarse, axis=0)).ravel())
        labels.append(plan.action)
    return np.array(features), np.array(labels)


def test_actions_are_told_from_silhouettes_of_other_clips():
    train, labels = silhouettes("train", 80)
    test, truth = silhouettes("test_unseen", 48)
    # The left-right mirror of every clip shows the same action.
    mirrored = train.reshape(-1, 5, 16, 16)[..., ::-1].reshape(len(train), -1)
    train, labels = np.concatenate([train, mirrored]), np.concatenate([labels, labels])
    nearest = ((test[:, None] - train[None]) ** 2).sum(-1).argmin(1)
    assert (labels[nearest] == truth).mean() > 0.85
