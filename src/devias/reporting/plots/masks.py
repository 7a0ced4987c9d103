"""Mask extractors compared: a table of their scores, and their masks clip by clip."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from devias.masks.quality import Quality
from devias.reporting.plots.clips import heat_overlay
from devias.reporting.plots.style import INK, MASK, RIGHT, STYLE, fit_text, new_figure
from devias.structures import ClipBatch

SCORES = ("precision", "recall", "iou", "soft_iou")
PANEL = 1.2  # inches, the width of a panel


def mask_table(qualities: Mapping[str, Quality]) -> str:
    """A Markdown table with a row an extractor: per cent for clip / frame masks, and the time."""
    titles = [score.replace("_", " ").replace("iou", "IoU") for score in SCORES]
    header = ["extractor", *titles, "share of pixels", "ms a clip"]
    lines = [header, [":--"] + ["--:"] * (len(header) - 1)]
    for name, quality in qualities.items():
        pairs = [
            f"{100 * quality.clip[score]:.1f} / {100 * quality.frame[score]:.1f}"
            for score in SCORES
        ]
        lines.append([name, *pairs, f"{100 * quality.share:.1f}", f"{quality.milliseconds:.1f}"])
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{table}\nPer cent, clip masks / frame masks, means over clips.\n"


@rc_context(STYLE)
def mask_figure(batch: ClipBatch, qualities: Mapping[str, Quality], limit: int = 12) -> Figure:
    """Clips as rows; the middle frame, its true mask if known and every extractor's as columns.

    Args:
        batch: `uint8` clips; the first that `qualities` are about.
        qualities: By the extractors' names.
        limit: The largest number of clips.

    Raises:
        ValueError: There is no clip.
    """
    video = batch.video[:limit]
    clips, _, frames, height, width = video.shape
    if clips == 0:
        raise ValueError("a figure of masks needs at least one clip")
    columns = {}
    if batch.ground_truth_masks is not None:
        columns["Truth"] = RIGHT, _middle(batch.ground_truth_masks, clips)
    for name, quality in qualities.items():
        columns[name] = MASK, _middle(quality.frame_masks, clips)

    panel_height, header = PANEL * height / width, 0.3
    page_width, page_height = (1 + len(columns)) * PANEL, header + clips * panel_height
    figure = new_figure(page_width, page_height)
    for column, title in enumerate(("Frame", *columns)):
        color = columns[title][0] if title in columns else INK
        figure.text(
            (column + 0.5) * PANEL / page_width, 1 - header / 2 / page_height,
            fit_text(title, PANEL - 0.1, 9), ha="center", va="center", color=color,
        )  # fmt: skip
    pixels = video[:, :, frames // 2].permute(0, 2, 3, 1).cpu().numpy()
    for row in range(clips):
        shown = [pixels[row]]
        shown += [heat_overlay(pixels[row], masks[row], ink) for ink, masks in columns.values()]
        for column, picture in enumerate(shown):
            bottom = 1 - (header + (row + 1) * panel_height) / page_height
            axes = figure.add_axes(
                (column * PANEL / page_width, bottom, 0.97 * PANEL / page_width,
                 0.97 * panel_height / page_height)
            )  # fmt: skip
            axes.imshow(picture, interpolation="nearest")
            axes.set_axis_off()
    return figure


def _middle(frame_masks: Tensor, clips: int) -> list[NDArray[np.float32]]:
    """The masks of the middle frame, of the first clips."""
    masks = frame_masks[:clips, frame_masks.shape[1] // 2]
    return list(masks.to(torch.float32).cpu().numpy())
