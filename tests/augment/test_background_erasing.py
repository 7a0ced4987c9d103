"""The second view: one frame of the clip over all of it."""

import pytest
import torch

from devias.augment.background_erasing import BackgroundErasing
from devias.labels.on_device import BatchStage
from devias.structures import ClipBatch
from sync_guard import no_host_sync


def make_batch(video):
    labels = torch.zeros(len(video), dtype=torch.long)
    return ClipBatch(video, labels, labels, torch.arange(len(video)))


def test_one_frame_is_added_to_all_with_one_weight_a_clip():
    video = torch.rand(64, 3, 5, 2, 3)
    batch = BackgroundErasing(max_share=0.4)(make_batch(video))
    assert batch.video is video
    # x' = x + λ (f − x), so the frame f that was chosen is the only one left as it was.
    change = batch.second_view - video
    chosen = change.abs().amax((1, 3, 4)).argmin(1)
    static = video[torch.arange(64), :, chosen][:, :, None]
    away = (static - video).flatten(1)
    share = (change.flatten(1) * away).sum(1) / away.square().sum(1)
    torch.testing.assert_close(change.flatten(1), share[:, None] * away)
    assert set(chosen.tolist()) == set(range(5))
    assert share.min() > 0
    assert share.max() < 0.4
    assert share.std() > 0.05  # uniform over 0.4: 0.4 / √12 = 0.115


def test_what_stands_still_stays_and_the_draw_repeats():
    still = torch.rand(2, 3, 1, 4, 4).expand(-1, -1, 6, -1, -1)
    torch.testing.assert_close(BackgroundErasing()(make_batch(still)).second_view, still)
    video = torch.rand(3, 3, 6, 4, 4)
    first, second = (
        BackgroundErasing()(make_batch(video), torch.Generator().manual_seed(3)).second_view
        for _ in range(2)
    )
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_the_labeler_adds_the_view_in_training_only_and_normalizes_it():
    stage = BatchStage(augment=BackgroundErasing())
    batch = make_batch(torch.randint(0, 256, (2, 3, 1, 4, 4), dtype=torch.uint8))
    assert stage.eval()(batch).second_view is None
    labeled = stage.train()(batch)  # of a clip of one frame the view is the clip
    torch.testing.assert_close(labeled.second_view, labeled.video)


def test_the_view_is_made_without_waiting_for_the_device():
    with no_host_sync():
        BackgroundErasing()(make_batch(torch.rand(3, 3, 4, 2, 2)))


@pytest.mark.parametrize("share", [0, 1.1, -0.2])
def test_a_share_is_a_share(share):
    with pytest.raises(ValueError, match="max_share is a share"):
        BackgroundErasing(share)
