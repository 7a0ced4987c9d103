import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from devias.reporting.plots.charts import confusion_figure, scene_bias_figure
from devias.reporting.plots.style import FAINT, RIGHT, WRONG
from devias.reporting.results import RunResult


def run(model, seed=0, seen=0.97, unseen=0.3, bias=0.45, data="synthetic"):
    metrics = {"seen/action_top1": seen, "unseen/action_top1": unseen}
    if bias is not None:
        metrics["unseen/scene_bias"] = bias
    return RunResult("synthetic", model, data, seed, None, metrics)


def bars_of(figure):
    """`{y: [(color, width), …]}` from left to right."""
    bars = {}
    for bar in figure.axes[0].patches:
        y = round(bar.get_y() + bar.get_height() / 2)
        bars.setdefault(y, []).append((to_hex(bar.get_facecolor()), bar.get_width()))
    return bars


def texts_of(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_bars_are_the_parts_of_the_whole():
    bars = bars_of(scene_bias_figure([run("two_token"), run("devias", unseen=0.6, bias=0.1)]))
    assert [color for color, _ in bars[0]] == [RIGHT, WRONG, FAINT]
    assert [share for _, share in bars[0]] == pytest.approx([0.97, 0, 0.03])
    assert [share for _, share in bars[1]] == pytest.approx([0.3, 0.45, 0.25])
    assert [share for _, share in bars[4]] == pytest.approx([0.6, 0.1, 0.3])


def test_models_shares_and_falls_are_written():
    texts = texts_of(scene_bias_figure([run("two_token"), run("devias", unseen=0.6, bias=0.1)]))
    assert {"two_token", "devias", "97 %", "30 %", "45 %", "60 %", "−67", "−37"} < set(texts)


def test_seeds_are_averaged_with_their_range():
    figure = scene_bias_figure([run("a", 0, unseen=0.2, bias=0.5), run("a", 1, unseen=0.4)])
    assert [share for _, share in bars_of(figure)[1]] == pytest.approx([0.3, 0.475, 0.225])
    assert figure.axes[0].lines[1].get_xdata() == pytest.approx([0.2, 0.4])


def test_parts_never_exceed_the_whole():
    bars = bars_of(scene_bias_figure([run("a", unseen=0.6, bias=0.45)]))
    assert [share for _, share in bars[1]] == pytest.approx([0.6, 0.4, 0])


def test_unmeasured_bias_is_not_claimed():
    assert legend_of(scene_bias_figure([run("a", bias=None)])) == ["right", "wrong"]
    both = scene_bias_figure([run("a"), run("b", bias=None)])
    assert legend_of(both) == ["right", "the scene's action", "wrong"]
    assert legend_of(scene_bias_figure([run("a")]))[-1] == "another action"


def test_one_model_on_two_data_sets_is_told_apart():
    texts = texts_of(scene_bias_figure([run("a"), run("a", data="ucf101")]))
    assert any("ucf101" in text for text in texts)


def test_results_without_both_splits_are_an_error():
    only_seen = RunResult("e", "m", "d", 0, None, {"seen/action_top1": 0.5})
    with pytest.raises(ValueError, match="unseen/action_top1"):
        scene_bias_figure([only_seen])


def test_names_stay_on_the_page():
    figure = scene_bias_figure([run("a_model_with_quite_a_long_name" * 3), run("b")])
    figure.canvas.draw()
    page = figure.bbox
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1


def matrix_texts(figure):
    return {(t.get_position(), t.get_text()) for t in figure.axes[0].texts}


def test_rows_are_shares():
    figure = confusion_figure([[3, 1], [0, 5]], ["wave", "kick"], "unseen")
    shares = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shares, [[0.75, 0.25], [0, 1]])
    # Positions are (column, row); a zero is not written.
    assert matrix_texts(figure) == {((0, 0), "75"), ((1, 0), "25"), ((1, 1), "100")}
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["wave", "kick"]
    assert figure.texts[0].get_text() == "unseen"


def test_row_without_clips_is_hatched_not_nan():
    figure = confusion_figure([[3, 1], [0, 0]], ["wave", "kick"], "unseen")
    assert np.isfinite(figure.axes[0].images[0].get_array()).all()
    (hatched,) = (patch for patch in figure.axes[0].patches if patch.get_hatch())
    assert hatched.get_y() == 0.5


def test_marks_frame_the_cells_of_the_scenes_actions():
    figure = confusion_figure(
        [[3, 1, 2], [1, 5, 1]],
        ["wave", "kick", "spin"],
        "two_token",
        row_names=["snow", "hills"],
        row_title="scene",
        marks=[2, -1],
    )
    (frame,) = (patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle))
    assert frame.get_x() + frame.get_width() / 2 == pytest.approx(2)
    assert frame.get_y() + frame.get_height() / 2 == pytest.approx(0)
    assert any("the scene's action" in text for text in texts_of(figure))
    assert figure.axes[0].get_ylabel() == "scene"


@pytest.mark.parametrize(("classes", "written"), [(8, 8), (20, 20), (40, 40), (101, 34)])
def test_names_are_thinned_out_and_fit_the_page(classes, written):
    names = [f"HandstandPushupsOfTheLongKind{i}" for i in range(classes)]
    figure = confusion_figure(np.eye(classes), names, "t")
    figure.canvas.draw()
    labels = figure.axes[0].get_xticklabels() + figure.axes[0].get_yticklabels()
    assert len(labels) == 2 * written
    for label in labels:
        box = label.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
    numbers = classes if classes <= 20 else 0
    assert len(figure.axes[0].texts) == numbers


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 2\) for 3 rows and 3 columns"):
        confusion_figure(np.eye(2), ["a", "b", "c"], "t")
    with pytest.raises(ValueError, match="1 marks for 2 rows"):
        confusion_figure(np.eye(2), ["a", "b"], "t", marks=[0])
