"""Background mixing: what is pasted where, and which labels follow."""

import pytest
import torch
import torch.nn.functional as F

from devias.augment.mixing import BackgroundMixing, inpaint, spread
from devias.structures import UNKNOWN, ClipBatch
from sync_guard import no_host_sync


def make_batch(clips=7, frames=4):
    """Clip i is filled with i; its mask covers the left third; its scene is 10 + i."""
    video = torch.arange(float(clips)).view(-1, 1, 1, 1, 1).expand(-1, 3, frames, 5, 6).clone()
    clip_mask = torch.zeros(clips, 5, 6)
    clip_mask[:, :, :2] = 1
    return ClipBatch(
        video=video,
        action=torch.arange(clips),
        scene=10 + torch.arange(clips),
        index=torch.arange(clips),
        ground_truth_masks=torch.rand(clips, frames, 5, 6) > 0.5,
        clip_mask=clip_mask,
        frame_masks=torch.rand(clips, frames // 2, 5, 6).round(),
        scene_logits=torch.arange(clips).float()[:, None] + torch.tensor([0.0, 100.0]),
    )


def test_foreground_stays_and_background_and_scene_follow_together():
    batch = make_batch()
    mixed = BackgroundMixing(prob_aug=1.0)(batch)
    own = torch.arange(7)
    background = mixed.video[:, 0, 0, 0, -1].long()
    assert background.sort().values.tolist() == own.tolist()  # every clip lends its background once
    assert (background != own).any()
    left, right = mixed.video[..., :2], mixed.video[..., 2:]
    assert torch.equal(left, batch.video[..., :2])
    assert torch.equal(right, batch.video[background][..., 2:])
    assert torch.equal(mixed.scene, 10 + background)
    assert torch.equal(mixed.scene_logits, batch.scene_logits[background])
    for name in ("action", "index", "clip_mask", "frame_masks", "ground_truth_masks"):
        assert getattr(mixed, name) is getattr(batch, name)


def test_the_batch_given_is_left_alone():
    batch = make_batch()
    before = batch.video.clone(), batch.scene.clone()
    BackgroundMixing(prob_aug=1.0)(batch)
    assert torch.equal(batch.video, before[0])
    assert torch.equal(batch.scene, before[1])


def test_each_clip_is_mixed_with_its_probability():
    mixing, batch = BackgroundMixing(prob_aug=0.25), make_batch(clips=50)
    changed = torch.stack([mixing(batch).scene != batch.scene for _ in range(100)]).float()
    # ¼ of the clips are drawn, 1 in 50 of them gets its own background: .245 ± 4 · .006.
    assert changed.mean() == pytest.approx(0.245, abs=0.025)
    assert changed.mean(1).std() > 0.03  # drawn clip by clip, not batch by batch or always as many
    unmixed = BackgroundMixing(prob_aug=0.0)(batch)
    assert torch.equal(unmixed.video, batch.video)
    assert torch.equal(unmixed.scene, batch.scene)


def test_a_clip_that_is_not_mixed_keeps_every_pixel_and_label():
    batch = make_batch(clips=20)
    mixed = BackgroundMixing(prob_aug=0.5)(batch)
    untouched = mixed.scene == batch.scene
    assert untouched.any()
    assert not untouched.all()
    assert torch.equal(mixed.video[untouched], batch.video[untouched])


def test_frame_masks_cut_every_tubelet_by_its_own():
    batch = make_batch(clips=3, frames=4)
    batch.clip_mask = None
    mixed = BackgroundMixing(prob_aug=1.0, masks="frame")(batch)
    background = mixed.scene - 10
    for clip in range(3):
        for frame in range(4):
            mask = batch.frame_masks[clip, frame // 2].bool()
            assert (mixed.video[clip, :, frame][:, mask] == clip).all()
            assert (mixed.video[clip, :, frame][:, ~mask] == background[clip]).all()


def test_soft_masks_blend():
    batch = make_batch(clips=2)
    batch.clip_mask[:] = 0.25
    mixed = BackgroundMixing(prob_aug=1.0)
    results = torch.cat([mixed(batch).video[:, 0, 0, 0, 0] for _ in range(20)])
    # ¼ of oneself and ¾ of the other: 0 → .75 and 1 → .25; or one's own background.
    assert set(results.tolist()) == {0.0, 0.25, 0.75, 1.0}


def test_a_batch_of_one_is_unchanged():
    batch = make_batch(clips=1)
    mixed = BackgroundMixing(prob_aug=1.0)(batch)
    assert torch.equal(mixed.video, batch.video)
    assert torch.equal(mixed.scene, batch.scene)


def test_an_unknown_background_scene_is_not_known_after_mixing():
    batch = make_batch(clips=5)
    batch.scene[:] = UNKNOWN
    batch.scene_logits = None
    mixed = BackgroundMixing(prob_aug=1.0)(batch)
    assert (mixed.scene == UNKNOWN).all()
    assert mixed.scene_logits is None


def test_a_generator_repeats_the_draw():
    batch = make_batch(clips=9)
    draws = [
        BackgroundMixing(0.5)(batch, torch.Generator().manual_seed(seed)).scene.tolist()
        for seed in (3, 3, 4)
    ]
    assert draws[0] == draws[1] != draws[2]


def test_what_it_refuses():
    batch = make_batch()
    batch.clip_mask = None
    with pytest.raises(ValueError, match="mixing needs clip masks"):
        BackgroundMixing()(batch)
    batch.num_views = 7
    with pytest.raises(ValueError, match="one view, not 7"):
        BackgroundMixing()(batch)
    with pytest.raises(ValueError, match="prob_aug"):
        BackgroundMixing(prob_aug=40)
    with pytest.raises(ValueError, match="clip or frame"):
        BackgroundMixing(masks="video")


def test_no_host_sync():
    batch = make_batch()
    with no_host_sync():
        BackgroundMixing(0.5)(batch)
        BackgroundMixing(0.5, masks="frame")(batch)


def test_filling_blends_other_frames_with_the_surroundings_by_how_often_a_pixel_is_hidden():
    """One bright pixel on black, hidden in one of four frames: 3/4 of it is left there."""
    video = torch.zeros(1, 3, 4, 16, 16)
    video[..., 8, 8] = 1.0
    masks = torch.zeros(1, 1, 4, 16, 16)
    masks[:, :, 0, 8, 8] = 1
    video[:, :, 0, 8, 8] = 7.0  # the actor
    filled = inpaint(video, masks)
    # Around it, within a cell of 4 × 4 pixels, it is 1 of 16: a quarter of that comes back.
    weights = 16 - 9 / 4  # the mask spreads over 3 × 3 of the cell's pixels, a quarter of the time
    assert filled[0, 0, 0, 8, 8].item() == pytest.approx(3 / 4 + 3 / 4 / weights / 4, abs=0.02)
    assert torch.equal(filled[:, :, 1:], video[:, :, 1:])


def test_filling_takes_the_surroundings_where_no_frame_shows_the_background():
    video = torch.full((1, 3, 2, 15, 15), 0.25)
    masks = torch.zeros(1, 1, 1, 15, 15)
    masks[..., 6:9, 6:9] = 1
    video[..., 6:9, 6:9] = 1.0
    assert torch.allclose(inpaint(video, masks), torch.full_like(video, 0.25), atol=1e-5)


def test_filling_leaves_what_is_not_masked():
    video = torch.rand(2, 3, 2, 9, 9)
    assert torch.allclose(inpaint(video, torch.zeros(2, 1, 2, 9, 9)), video)


def test_a_filled_background_shows_no_second_actor():
    """Two clips with a static actor each: after mixing only the pasted one is left."""
    video = torch.zeros(2, 3, 2, 20, 20)
    masks = torch.zeros(2, 2, 20, 20)
    masks[0, :, 4:7, 4:7] = masks[1, :, 13:16, 13:16] = 1
    video[0, :, :, 4:7, 4:7] = 1.0
    video[1, :, :, 13:16, 13:16] = 0.5
    labels = torch.arange(2)
    batch = ClipBatch(video, labels, labels, labels, frame_masks=masks[:, :1])
    for _ in range(5):
        mixed = BackgroundMixing(1.0, "frame", inpaint=True)(batch)
        assert torch.allclose(mixed.video[0, 0, 0], masks[0, 0], atol=1e-5)
        assert torch.allclose(mixed.video[1, 0, 0], 0.5 * masks[1, 0], atol=1e-5)


@pytest.mark.parametrize("reach", [0, 1, 2, 7])
def test_spread_is_the_maximum_of_the_neighbors(reach):
    masks = torch.rand(2, 1, 3, 5, 4)
    expected = F.max_pool3d(masks, (1, 2 * reach + 1, 1), 1, (0, reach, 0))
    torch.testing.assert_close(spread(masks, -2, reach), expected, rtol=0, atol=0)
