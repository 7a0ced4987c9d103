"""SegFormer masks with a small random network."""

import sys

import pytest
import torch
import torch.nn.functional as F
from hydra.utils import instantiate

from devias.config import compose
from devias.masks.segformer import SegFormerMasks
from sync_guard import no_host_sync

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A SegFormer of four classes, saved as the hub serves it."""
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        num_labels=4,
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=8,
    )
    network = transformers.SegformerForSemanticSegmentation(config)
    torch.nn.init.normal_(network.decode_head.classifier.weight)  # all classes occur
    path = tmp_path_factory.mktemp("segformer")
    network.save_pretrained(path)
    return str(path)


def test_masks_equal_a_frame_by_frame_computation(folder):
    video = torch.rand(2, 3, 4, 40, 56)
    masker = SegFormerMasks(folder, class_ids=(1, 3))
    clip_mask, frame_masks = masker(video)
    network = transformers.SegformerForSemanticSegmentation.from_pretrained(folder).eval()
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    for clip in range(2):
        for tubelet in range(2):
            image = (video[clip, :, 2 * tubelet] - mean) / std
            with torch.no_grad():
                logits = network(image[None]).logits
            label = F.interpolate(logits, (40, 56), mode="bilinear")[0].argmax(0)
            expected = (label == 1) | (label == 3)
            assert 0 < expected.float().mean() < 1
            assert (frame_masks[clip, tubelet] != expected).float().mean() < 1e-3
    torch.testing.assert_close(clip_mask, (frame_masks[:, 0] + frame_masks[:, 1]) / 2)


def test_the_clip_mask_of_the_released_code_is_that_of_any_one_tubelet(folder):
    video = torch.rand(3, 3, 8, 40, 56)
    masker = SegFormerMasks(folder, class_ids=(1, 3), clip_mask="tubelet")
    drawn = set()
    for _ in range(30):
        clip_mask, frame_masks = masker(video)
        same = (frame_masks == clip_mask[:, None]).flatten(2).all(2)  # [clip, tubelet]
        drawn |= set(same.all(0).nonzero().flatten().tolist())
    assert drawn == {0, 1, 2, 3}
    with pytest.raises(ValueError, match="clip_mask must be mean or tubelet, not 'median'"):
        SegFormerMasks(folder, clip_mask="median")


def test_compat_chooses_the_clip_mask():
    assert compose("masks=segformer").masks.clip_mask == "mean"
    assert compose("masks=segformer", "compat=official").masks.clip_mask == "tubelet"


def test_the_configuration_takes_any_segmentation_model(folder):
    config = compose("masks=segformer")
    assert "cityscapes" in config.masks.model
    assert config.masks.class_ids == [11]  # person
    config = compose(
        "masks=segformer", f"masks.model={folder}", "masks.class_ids=[1,3]", "data=ucf101"
    )
    video = torch.rand(1, 3, 4, 32, 48)
    clip_mask, frame_masks = instantiate(config.masks)(video)
    assert torch.equal(clip_mask, SegFormerMasks(folder, (1, 3))(video)[0])
    assert frame_masks.shape == (1, 2, 32, 48)


def test_the_classes_divide_the_picture(folder):
    video = torch.rand(1, 3, 2, 32, 32)
    shares = [SegFormerMasks(folder, class_ids=(c,))(video)[0] for c in range(4)]
    torch.testing.assert_close(sum(shares), torch.ones(1, 32, 32))


def test_it_stays_frozen_and_does_not_sync(folder):
    masker = SegFormerMasks(folder, class_ids=(1,), clip_mask="tubelet")
    masker.train()
    assert not any(module.training for module in masker.modules())
    assert not any(p.requires_grad for p in masker.parameters())
    video = torch.rand(1, 3, 2, 32, 32)
    with no_host_sync():
        masker(video)


def test_what_it_refuses(folder, monkeypatch):
    with pytest.raises(ValueError, match=r"class_ids \[4\] must be among 0 … 3"):
        SegFormerMasks(folder, class_ids=(4,))
    with pytest.raises(ValueError, match="class_ids"):
        SegFormerMasks(folder, class_ids=())
    with pytest.raises(ValueError, match="3 frames do not divide"):
        SegFormerMasks(folder, class_ids=(1,))(torch.rand(1, 3, 3, 32, 32))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'devias\[segformer\]'"):
        SegFormerMasks(folder)
