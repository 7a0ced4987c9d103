import logging

import numpy as np
import pytest
import torch

from devias.data.dataset import EvalDataset, SampleKey, TooManyBadVideos, TrainDataset, collate
from devias.data.mask_files import write_masks
from devias.data.readers import VideoError
from devias.data.records import VideoRecord
from devias.data.transforms import EvalTransform, TrainTransform
from helpers import write_frames

SIZE = 8


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> list[VideoRecord]:
    """Three videos of 12 frames, video i of gray value 60·i + frame number, and their masks."""
    folder = tmp_path_factory.mktemp("videos")
    records = []
    for i in range(3):
        path, masks = folder / f"{i}.mp4", folder / f"{i}.png"
        frames = [np.full((16, 20, 3), 60 * i + 2 * t, np.uint8) for t in range(12)]
        write_frames(path, frames)
        write_masks(masks, torch.arange(12)[:, None, None].expand(12, 16, 20) % 2 == 0)
        records.append(VideoRecord(path, i, 2 - i, masks, source=f"list.txt:{i + 1}"))
    return records


def train_dataset(records, **settings) -> TrainDataset:
    transform = TrainTransform(SIZE, horizontal_flip=0.5, rand_augment=None)
    return TrainDataset(records, transform, 4, 2, **settings)


def eval_dataset(records, **settings) -> EvalDataset:
    return EvalDataset(records, EvalTransform(SIZE, 3), 4, 2, **settings)


def test_a_training_sample_depends_on_its_draw_alone(records):
    dataset = train_dataset(records)
    first = dataset[SampleKey(1, seed=5)]
    assert first.video.shape == (1, 3, 4, SIZE, SIZE)
    assert first.video.dtype == torch.uint8
    assert (first.action, first.scene, first.index) == (1, 1, 1)
    dataset[SampleKey(0, seed=9)]
    torch.rand(3)
    assert torch.equal(first.video, dataset[SampleKey(1, seed=5)].video)
    clips = {dataset[SampleKey(1, seed=seed)].video.sum().item() for seed in range(8)}
    assert len(clips) > 1


def test_a_preloaded_dataset_gives_the_same_samples(records):
    streamed, preloaded = train_dataset(records), train_dataset(records)
    preloaded.preload("decoding")
    for seed in range(4):
        draw = SampleKey(seed % 3, seed)
        assert torch.equal(streamed[draw].video, preloaded[draw].video)


def test_views_are_all_clips_and_crops_in_order(records):
    sample = eval_dataset(records, num_clips=2)[SampleKey(0)]
    assert sample.video.shape == (6, 3, 4, SIZE, SIZE)
    # Twelve frames at stride 2: clips start at frames 0 and 5; the gray value tells the frame.
    starts = sample.video[:, 0, 0].float().mean((1, 2)) / 2
    assert torch.allclose(starts, torch.tensor([0.0, 0, 0, 5, 5, 5]), atol=1.0)


def test_masks_follow_the_chosen_frames(records):
    sample = eval_dataset(records, num_clips=2, load_masks=True)[SampleKey(0)]
    # Even frames are all foreground, odd ones background; the clips start at 0 and 5.
    assert sample.ground_truth_masks[:3].all()
    assert not sample.ground_truth_masks[3:].any()
    assert eval_dataset(records)[SampleKey(0)].ground_truth_masks is None


def test_collate_keeps_views_together(records):
    dataset = eval_dataset(records, num_clips=2, load_masks=True)
    batch = collate([dataset[SampleKey(0)], dataset[SampleKey(2)]])
    assert batch.video.shape == (12, 3, 4, SIZE, SIZE)
    assert batch.ground_truth_masks.shape == (12, 4, SIZE, SIZE)
    assert batch.num_views == 6
    assert batch.action.tolist() == [0, 2]
    assert batch.scene.tolist() == [2, 0]
    assert (batch.video[6:].float().mean() - batch.video[:6].float().mean()).round() == 120


def bad_records(records, tmp_path) -> list[VideoRecord]:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"<html>not a video</html>")
    missing = tmp_path / "missing.mp4"
    return [
        records[0],
        VideoRecord(broken, 5, source="list.txt:7"),
        VideoRecord(missing, 6, source="list.txt:8"),
        records[1],
    ]


@pytest.mark.parametrize("preload", [False, True])
def test_unreadable_training_videos_are_replaced_counted_and_named_once(
    records, tmp_path, caplog, preload
):
    dataset = train_dataset(bad_records(records, tmp_path), max_bad_share=0.5)
    if preload:
        dataset.preload("decoding")
    with caplog.at_level(logging.WARNING):
        for seed in range(10):
            for index in range(4):
                assert dataset[SampleKey(index, seed)].index in (0, 3)
    assert dataset.bad == [1, 2]
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert "broken.mp4" in messages[0]
    assert "list.txt:7" in messages[0]


def test_too_many_unreadable_videos_stop_the_run(records, tmp_path):
    dataset = train_dataset(bad_records(records, tmp_path), max_bad_share=0.3)
    dataset[SampleKey(1, 0)]  # one of four: below the allowed share
    with pytest.raises(TooManyBadVideos, match=r"2 of 4 .*max_bad_share=0.3.*missing.mp4"):
        dataset[SampleKey(2, 0)]


def test_failures_are_counted_over_all_workers(records, tmp_path):
    dataset = train_dataset(bad_records(records, tmp_path), max_bad_share=0.5)
    loader = torch.utils.data.DataLoader(
        dataset, sampler=[SampleKey(i % 4, i) for i in range(8)], num_workers=2, collate_fn=collate
    )
    assert {int(batch.index) for batch in loader} <= {0, 3}
    assert dataset.bad == [1, 2]


def test_an_unreadable_test_video_is_an_error_with_file_and_line(records, tmp_path):
    dataset = eval_dataset(bad_records(records, tmp_path))
    with pytest.raises(VideoError, match=r"missing.mp4.*list.txt:8"):
        dataset[SampleKey(2)]


def test_an_unreadable_test_video_may_be_a_sample_that_bears_its_error(records, tmp_path, caplog):
    listed = bad_records(records, tmp_path)
    settings = {"num_clips": 2, "load_masks": True}
    dataset = eval_dataset(listed, skip_bad=True, **settings)
    batch = collate([dataset[SampleKey(index)] for index in range(4)])
    assert batch.errors.keys() == {1, 2}
    assert "missing.mp4" in batch.errors[2]
    assert "list.txt:8" in batch.errors[2]
    assert "broken.mp4" in caplog.text
    assert batch.action.tolist() == [0, 5, 6, 1]
    # The others are what they are without them.
    alone = collate([eval_dataset(listed, **settings)[SampleKey(index)] for index in (0, 3)])
    assert alone.errors == {}
    for name in ("video", "ground_truth_masks"):
        clips = getattr(batch, name).unflatten(0, (4, 6))
        assert torch.equal(clips[[0, 3]], getattr(alone, name).unflatten(0, (2, 6)))
    assert collate([dataset[SampleKey(1)]]).video.shape == (6, 3, 4, SIZE, SIZE)


def test_a_segment_limits_the_clip(records):
    whole = records[1]
    segment = VideoRecord(whole.path, 1, start=0.31, end=10.0, source="list.txt:1")
    first_frames = [
        EvalDataset([record], EvalTransform(SIZE), 2, 1, num_clips=2)[SampleKey(0)].video[0, 0, 0]
        for record in (whole, segment)
    ]
    assert first_frames[1].float().mean() > first_frames[0].float().mean()
    empty = VideoRecord(whole.path, 1, start=50.0, end=60.0, source="list.txt:9")
    with pytest.raises(VideoError, match=r"no frame .*list.txt:9"):
        eval_dataset([empty])[SampleKey(0)]


def test_masks_shorter_than_the_video(records, tmp_path):
    masks = tmp_path / "short.png"
    write_masks(masks, torch.zeros(3, 16, 20, dtype=torch.bool))
    record = VideoRecord(records[0].path, 0, masks=masks, source="list.txt:1")
    with pytest.raises(VideoError, match=r"short.png: 3 masks, fewer"):
        eval_dataset([record], load_masks=True)[SampleKey(0)]


def test_no_records():
    with pytest.raises(ValueError, match="at least one video"):
        train_dataset([])
