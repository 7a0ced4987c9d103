"""What the model looks at: clips beside their masks and the attention of their slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import rc_context
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from devias.reporting.plots.samples import ClipSample, Map
from devias.reporting.plots.style import (
    ACTION,
    FAINT,
    INK,
    MASK,
    MUTED,
    RIGHT,
    SCENE,
    STYLE,
    WRONG,
    fit_text,
    new_figure,
)

# All in inches.
PANEL_HEIGHT = 1.1
LABEL_WIDTH = 2.1
NAME_INDENT = 0.52  # within the label, after the word action or scene
MARGIN = 0.18
GAP, GROUP_GAP = 0.05, 0.16
TITLE_HEIGHT, HEADER_HEIGHT, SECTION_HEIGHT = 0.38, 0.27, 0.36

ATTENTION_RANGE = 0.1
"""Attention that varies by less over a clip is drawn as flat as it is."""


@dataclass(frozen=True)
class _MapColumn:
    """A column of heat maps over the middle frame."""

    title: str
    field: str
    color: str
    stretch: bool
    """Whether each map is stretched to its own range."""


# Slots compete for every token, so attention lies around 1/K and its shape matters; a mask is a
# probability and shown as such.
MAP_COLUMNS = (
    _MapColumn("Pseudo mask", "pseudo_mask", MASK, stretch=False),
    _MapColumn("Action slot", "action_attention", ACTION, stretch=True),
    _MapColumn("Scene slot", "scene_attention", SCENE, stretch=True),
    _MapColumn("Decoded mask", "decoded_mask", MASK, stretch=False),
)


@rc_context(STYLE)
def clip_figure(
    sections: Mapping[str, Sequence[ClipSample]], title: str = "", num_frames: int = 4
) -> Figure:
    """Draw clips row by row: labels, frames, pseudo mask, both slots' attention, decoded mask.

    Maps are averaged over time, brought to the frame's size bilinearly and laid over the middle
    frame. A column of maps that no clip has is left out.

    Args:
        sections: `{"Seen combinations": [...], "Unseen combinations": [...]}`; a section without
            clips is left out, an empty title is not drawn.
        title: Above everything.
        num_frames: Frames shown of each clip, evenly spaced.

    Raises:
        ValueError: No section has a clip.
    """
    sections = {name: samples for name, samples in sections.items() if samples}
    samples = [sample for group in sections.values() for sample in group]
    if not samples:
        raise ValueError("a clip figure needs at least one clip")

    shown = [c for c in MAP_COLUMNS if any(getattr(s, c.field) is not None for s in samples)]
    num_frames = min(num_frames, max(len(sample.frames) for sample in samples))
    page = _Page(samples, num_frames, len(shown), len(sections) - ("" in sections), bool(title))
    if title:
        page.text(MARGIN, TITLE_HEIGHT / 2, title, size=12, weight="bold")
        page.skip(TITLE_HEIGHT)
    page.text(page.lefts[0], HEADER_HEIGHT / 2, "Frames", size=9, color=MUTED)
    for left, column in zip(page.lefts[num_frames:], shown, strict=True):
        page.text(
            left + page.panel_width / 2, HEADER_HEIGHT / 2, column.title,
            size=9, weight="bold", color=column.color, ha="center",
        )  # fmt: skip
    page.skip(HEADER_HEIGHT)

    for name, group in sections.items():
        if name:
            page.section(name)
        for sample in group:
            _draw_row(page, sample, num_frames, shown)
    return page.figure


class _Page:
    """A figure filled from top to bottom, measured in inches from its upper left corner."""

    def __init__(
        self,
        samples: Sequence[ClipSample],
        num_frames: int,
        num_maps: int,
        num_sections: int,
        has_title: bool,
    ) -> None:
        height, width = samples[0].frames.shape[1:3]
        self.panel_width = PANEL_HEIGHT * width / height
        step = self.panel_width + GAP
        left = MARGIN + LABEL_WIDTH
        maps_left = left + num_frames * step - GAP + GROUP_GAP
        self.lefts = [left + i * step for i in range(num_frames)]
        self.lefts += [maps_left + i * step for i in range(num_maps)]
        self.width = self.lefts[-1] + self.panel_width + MARGIN
        self.height = (
            TITLE_HEIGHT * has_title
            + HEADER_HEIGHT
            + SECTION_HEIGHT * num_sections
            + (PANEL_HEIGHT + GAP) * len(samples)
            + MARGIN / 2
        )
        self.figure = new_figure(self.width, self.height)
        self.top = 0.0

    def skip(self, inches: float) -> None:
        self.top += inches

    def text(self, left: float, down: float, text: str, **style: object) -> None:
        """Write at so many inches from the left and below the current position."""
        x, y = left / self.width, 1 - (self.top + down) / self.height
        self.figure.text(x, y, text, **{"va": "center", **style})  # type: ignore[arg-type]

    def section(self, name: str) -> None:
        """A heading with a rule to the right margin above it."""
        y = 1 - (self.top + 0.06) / self.height
        rule = Line2D(
            [MARGIN / self.width, 1 - MARGIN / self.width], [y, y], color=FAINT, linewidth=0.8
        )
        self.figure.add_artist(rule)
        self.text(MARGIN, SECTION_HEIGHT / 2 + 0.03, name, size=10.5, weight="bold")
        self.skip(SECTION_HEIGHT)

    def image(self, left: float, pixels: NDArray[np.uint8]) -> None:
        """A panel at the current height."""
        bottom = 1 - (self.top + PANEL_HEIGHT) / self.height
        axes = self.figure.add_axes(
            (left / self.width, bottom, self.panel_width / self.width, PANEL_HEIGHT / self.height)
        )
        axes.imshow(pixels, interpolation="bilinear")
        axes.set_axis_off()


def _draw_row(
    page: _Page, sample: ClipSample, num_frames: int, columns: Sequence[_MapColumn]
) -> None:
    _write_label(page, 0.12, "Action", sample.true_action, sample.predicted_action)
    _write_label(page, 0.66, "Scene", sample.true_scene, sample.predicted_scene)
    page.text(MARGIN, 1.06, fit_text(sample.note, LABEL_WIDTH - GAP, 7.5), size=7.5, color=MUTED)
    times = np.linspace(0, len(sample.frames) - 1, num_frames).round().astype(int)
    for left, time in zip(page.lefts, times, strict=False):
        page.image(left, sample.frames[time])
    middle = sample.frames[len(sample.frames) // 2]
    for left, column in zip(page.lefts[num_frames:], columns, strict=True):
        values = getattr(sample, column.field)
        if values is not None:
            page.image(left, heat_overlay(middle, values, column.color, column.stretch))
    page.skip(PANEL_HEIGHT + GAP)


def _write_label(
    page: _Page, down: float, task: str, true: str | None, predicted: str | None
) -> None:
    """Two lines: the truth in ink, the prediction in the color and with the sign of its worth.

    Nothing where the model does not predict the task.
    """
    if predicted is None:
        return
    if true is None:
        sign, color = "→", MUTED
    elif true == predicted:
        sign, color = "✓", RIGHT
    else:
        sign, color = "✗", WRONG
    left, width, size = MARGIN + NAME_INDENT, LABEL_WIDTH - NAME_INDENT - GAP, 8.5
    page.text(MARGIN, down, task, size=8, color=MUTED)
    page.text(left, down, fit_text(true or "unknown", width, size), size=size, color=INK)
    answer = fit_text(f"{sign} {predicted}", width, size, "bold")
    page.text(left, down + 0.2, answer, size=size, weight="bold", color=color)


def heat_overlay(
    frame: NDArray[np.uint8], values: Map, color: str, stretch: bool = False
) -> NDArray[np.uint8]:
    """Lay a heat map over a frame, which shows through in dark gray.

    Args:
        frame: `[H, W, 3]`.
        values: `[h, w]` in [0, 1]; brought to `H×W` bilinearly.
        color: The heat's hue; it brightens towards white.
        stretch: Stretch the values to [0, 1], unless they are flatter than `ATTENTION_RANGE`.

    Returns:
        `[H, W, 3]`.
    """
    heat = torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32)[None, None]
    heat = F.interpolate(heat, size=frame.shape[:2], mode="bilinear", align_corners=False)[0, 0]
    if stretch:
        low, high = heat.min(), heat.max()
        heat = (heat - low) / torch.clamp(high - low, min=ATTENTION_RANGE)
    strength = heat.clamp(0, 1).numpy()
    ramp = LinearSegmentedColormap.from_list("heat", [color, color, "#ffffff"])
    # Rec. 601 luma, dimmed so that the heat is the brightest thing to see.
    gray = 0.45 * (frame @ np.array([0.299, 0.587, 0.114]) / 255)[..., None]
    alpha = 0.8 * strength[..., None]
    mixed = (1 - alpha) * gray + alpha * ramp(0.7 * strength)[..., :3]
    return (255 * mixed).round().astype(np.uint8)
