"""What it saves to decode a test video once for all its views, and that nothing else changes."""

import time

import pytest
import torch
from torch import nn

from devias.data.dataset import EvalDataset, SampleKey, read_frames
from devias.data.frame_indices import view_indices
from devias.data.records import VideoRecord
from devias.data.transforms import EvalTransform
from devias.evaluation.views import view_probabilities

LENGTH, STRIDE, CLIPS, CROPS = 16, 4, 2, 3
TRANSFORM = EvalTransform(224, CROPS)


def decoded_once(record):
    """`[V, 3, T, H, W]`, as the package reads them."""
    return EvalDataset([record], TRANSFORM, LENGTH, STRIDE, num_clips=CLIPS)[SampleKey(0)].video


def decoded_for_each_view(record):
    """The same views, each of them decoded by itself, as the released code does."""
    views = []
    for view in range(CLIPS * CROPS):
        clip, crop = divmod(view, CROPS)
        frames, _, _ = read_frames(
            record,
            lambda n: view_indices(n, LENGTH, STRIDE, CLIPS)[clip : clip + 1],  # noqa: B023
        )
        video, _ = TRANSFORM(frames, None)
        views.append(video[crop : crop + 1])
    return torch.cat(views)


def seconds(read, records, repeats=3):
    """The shortest time of several."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for record in records:
            read(record)
        times.append(time.perf_counter() - start)
    return min(times)


def clips_of(shared, pattern):
    return [VideoRecord(path) for path in sorted((shared / "data/videos/ucf101").glob(pattern))]


@pytest.mark.slow
@pytest.mark.parametrize(("pattern", "least"), [("*/*.avi", 2.5), ("*/*.mp4", 4)])
def test_all_views_decoded_once_are_faster(shared, pattern, least):
    records = clips_of(shared, pattern)
    assert seconds(decoded_for_each_view, records) > least * seconds(decoded_once, records)


@pytest.mark.parametrize("pattern", ["*/*.avi", "*/*.mp4"])
def test_views_decoded_once_are_answered_alike(shared, pattern):
    record = clips_of(shared, pattern)[0]
    model = nn.Sequential(
        nn.Conv3d(3, 8, (2, 16, 16), (2, 16, 16)), nn.AdaptiveAvgPool3d(4), nn.Flatten(),
        nn.Linear(512, 5),
    ).requires_grad_(False)  # fmt: skip
    once = model(decoded_once(record) / 255)
    apart = torch.cat([model(view[None] / 255) for view in decoded_for_each_view(record)])
    answers = [view_probabilities(logits, CLIPS * CROPS).mean(1) for logits in (once, apart)]
    torch.testing.assert_close(*answers, atol=1e-5, rtol=0)
    assert len(once.unique(dim=0)) > 1  # the views do differ
