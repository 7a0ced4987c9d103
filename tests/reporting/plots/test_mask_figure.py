"""The table's numbers and the figure's panels."""

import pytest
import torch

from devias.masks.quality import Quality
from devias.reporting.plots.masks import mask_figure, mask_table
from devias.structures import ClipBatch


def quality(clips=2, tubelets=2, size=(6, 9)):
    names = ("precision", "recall", "iou", "soft_iou")
    return Quality(
        clip=dict(zip(names, (0.5, 0.25, 0.2, 0.19), strict=True)),
        frame=dict(zip(names, (0.6, 0.35, 0.3, 0.29), strict=True)),
        share=0.127,
        milliseconds=3.14,
        clip_masks=torch.rand(clips, *size),
        frame_masks=torch.rand(clips, tubelets, *size),
    )


def test_the_table_holds_clip_and_frame_scores_in_per_cent():
    table = mask_table({"fame": quality(), "other": quality()})
    header, rule, fame, other, *_ = table.splitlines()
    assert (
        header
        == "| extractor | precision | recall | IoU | soft IoU | share of pixels | ms a clip |"
    )
    assert rule.count("--:") == 6
    assert fame == "| fame | 50.0 / 60.0 | 25.0 / 35.0 | 20.0 / 30.0 | 19.0 / 29.0 | 12.7 | 3.1 |"
    assert other.startswith("| other |")


def batch(clips):
    labels = torch.zeros(clips, dtype=torch.long)
    video = torch.randint(0, 256, (clips, 3, 4, 6, 9), dtype=torch.uint8)
    return ClipBatch(
        video, labels, labels, labels, ground_truth_masks=torch.rand(clips, 4, 6, 9) > 0.5
    )


def test_the_figure_has_a_row_a_clip_and_a_column_an_extractor():
    clips = batch(4)
    figure = mask_figure(clips, {"a": quality(5), "b": quality(5)}, limit=3)
    assert [text.get_text() for text in figure.texts] == ["Frame", "Truth", "a", "b"]
    assert len(figure.axes) == 3 * 4
    shown = torch.from_numpy(figure.axes[4].images[0].get_array().data)
    assert torch.equal(shown, clips.video[1, :, 2].permute(1, 2, 0))
    width, height = figure.get_size_inches()
    assert width / 4 == pytest.approx((height - 0.3) / 3 * 9 / 6)


def test_clips_without_truth_have_no_column_of_it():
    clips = batch(2)
    clips.ground_truth_masks = None
    figure = mask_figure(clips, {"a": quality(2)})
    assert [text.get_text() for text in figure.texts] == ["Frame", "a"]
    assert len(figure.axes) == 2 * 2


def test_no_clips_are_refused():
    with pytest.raises(ValueError, match="at least one clip"):
        mask_figure(batch(0), {})
