import matplotlib.colors as colors
import pytest

from devias.reporting.plots.search import search_figure
from devias.reporting.plots.style import WRONG, save_figure
from devias.reporting.search import SearchResults, SearchTrial


def trial(number, state, value, rate, kind):
    return SearchTrial(number, state, {"optim.base_lr": rate, "augment": kind}, value, 3)


TRIALS = [
    trial(0, "complete", 0.4, 1e-4, "fame"),
    trial(1, "pruned", 0.3, 1e-2, None),
    trial(2, "complete", 0.7, 1e-3, "fame"),
    trial(3, "complete", 0.6, 2e-3, None),
    trial(4, "failed", None, 1e-1, "fame"),
]


def figure(trials=TRIALS, maximize=True):
    return search_figure(SearchResults("wide", "val/h", maximize, trials, {}))


def visible(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


def test_there_is_a_panel_for_the_search_and_one_a_parameter():
    history, rate, kind = visible(figure())
    assert [a.get_xlabel() for a in (history, rate, kind)] == ["trial", "base_lr", "augment"]
    assert (rate.get_xscale(), kind.get_xscale()) == ("log", "linear")
    assert [label.get_text() for label in kind.get_xticklabels()] == ["None", "fame"]
    assert {text.get_text() for text in history.get_legend().get_texts()} == {
        "best so far",
        "pruned",
    }


@pytest.mark.parametrize(("maximize", "steps"), [(True, [0.4, 0.7, 0.7]), (False, [0.4] * 3)])
def test_the_best_so_far_never_gets_worse(maximize, steps):
    history = visible(figure(maximize=maximize))[0]
    (line,) = [line for line in history.lines if line.get_label() == "best so far"]
    assert list(line.get_ydata()) == steps


def test_pruned_trials_are_hollow_the_best_is_marked_and_failed_ones_are_not_there():
    _, rate, _ = visible(figure())
    points = {float(line.get_xdata()[0]): line for line in rate.lines if line.get_markersize() < 9}
    assert set(points) == {1e-4, 1e-2, 1e-3, 2e-3}
    hollow = {x for x, line in points.items() if line.get_markerfacecolor() == "none"}
    assert hollow == {1e-2}
    (ring,) = [line for line in rate.lines if line.get_markersize() == 9]
    assert colors.same_color(ring.get_color(), WRONG)
    assert float(ring.get_xdata()[0]) == 1e-3


def test_one_pruned_trial_makes_a_picture(tmp_path):
    save_figure(figure([TRIALS[1]]), tmp_path / "search.png")
    assert (tmp_path / "search.png").stat().st_size > 1000
