"""The look that all figures share: a color-blind-safe palette, fonts, text that fits."""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from devias.files import atomic_path

INK = "#1f2933"
MUTED = "#6b7280"
FAINT = "#d5d9df"
# After Okabe and Ito: apart for every kind of color vision. Right and wrong also bear ✓ and ✗.
RIGHT = "#00856a"
WRONG = "#cc4e00"
ACTION = "#e69f00"
SCENE = "#3a8fd0"
MASK = "#c164a9"

STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.titlesize": 9.0,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.parse_math": False,  # a class name may hold a dollar sign
}
"""For `matplotlib.rc_context`, around everything that draws."""

RULER_DPI = 300  # fine enough that hinting, which rounds to pixels, doesn't matter


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches that belongs to no window and no global state."""
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """The width of one line in inches, for a font size in points."""
    font = FontProperties(family=STYLE["font.family"], weight=weight, size=size)
    width, _, _ = _ruler().get_text_width_height_descent(text, font, ismath=False)
    return width / RULER_DPI


def fit_text(text: str, width: float, size: float, weight: str = "normal") -> str:
    """Cut one line to a width in inches, with an ellipsis where something is cut.

    At least one character and the ellipsis are kept.
    """
    if text_width(text, size, weight) <= width:
        return text
    too_long = bisect_right(
        range(2, len(text)), width, key=lambda n: text_width(f"{text[:n]}…", size, weight)
    )
    return f"{text[: 1 + too_long].rstrip()}…"


@cache
def _ruler() -> RendererAgg:
    """Something that measures text; drawing it and outlining it take far longer."""
    return FigureCanvasAgg(Figure(dpi=RULER_DPI)).get_renderer()


def save_figure(figure: Figure, path: Path | str, dpi: int = 150) -> None:
    """Write a figure atomically, in the format its suffix names (`.png`, `.pdf`, `.svg`).

    Raises:
        ValueError: matplotlib doesn't know the suffix.
    """
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
