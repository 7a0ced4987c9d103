import pytest
from matplotlib.colors import to_rgb

from devias.reporting.plots.style import (
    FAINT,
    RIGHT,
    STYLE,
    WRONG,
    fit_text,
    new_figure,
    text_width,
)

NAME = "HandstandPushups on a football field"


@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
def test_text_is_cut_to_the_width_and_no_further(width):
    cut = fit_text(NAME, width, 8.5, "bold")
    assert cut.endswith("…")
    assert text_width(cut, 8.5, "bold") <= width
    longer = f"{NAME[: len(cut)]}…"  # one character more
    assert text_width(longer, 8.5, "bold") > width


def test_text_that_fits_stays_whole():
    assert fit_text("wave", 1.0, 8.5) == "wave"
    assert fit_text("", 1.0, 8.5) == ""


@pytest.mark.parametrize(("text", "cut"), [("jump", "j…"), ("ab", "a…"), ("a", "a…")])
def test_one_character_is_always_kept(text, cut):
    assert fit_text(text, 0.0, 8.5) == cut


def test_measured_width_is_the_drawn_width():
    figure = new_figure(6, 1)
    drawn = figure.text(0, 0, NAME, size=9, family=STYLE["font.family"], weight="bold")
    inches = drawn.get_window_extent().width / figure.dpi
    assert text_width(NAME, 9, "bold") == pytest.approx(inches, rel=0.03)


def test_adjoining_colors_differ_in_lightness_for_those_who_see_no_color():
    lightness = [sum(to_rgb(color)) for color in (RIGHT, WRONG, FAINT)]
    assert lightness[2] > lightness[1] + 0.5
    assert lightness[2] > lightness[0] + 0.5
