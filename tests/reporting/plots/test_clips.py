import matplotlib.pyplot
import numpy as np
import pytest

from devias.reporting.plots.clips import clip_figure, heat_overlay
from devias.reporting.plots.samples import ClipSample
from devias.reporting.plots.style import MUTED, RIGHT, WRONG

RNG = np.random.default_rng(0)


def sample_of(true="wave", predicted="wave", num_frames=8, size=(12, 18), maps=True, **changes):
    values = {
        "frames": RNG.integers(0, 256, (num_frames, *size, 3), dtype=np.uint8),
        "true_action": true,
        "predicted_action": predicted,
        "true_scene": "snow",
        "predicted_scene": "hills",
        "pseudo_mask": RNG.random(size, dtype=np.float32) if maps else None,
        "action_attention": RNG.random((2, 3), dtype=np.float32) if maps else None,
        "scene_attention": RNG.random((2, 3), dtype=np.float32) if maps else None,
        "decoded_mask": RNG.random((2, 3), dtype=np.float32) if maps else None,
    }
    return ClipSample(**{**values, **changes})


def texts(figure):
    return [text.get_text() for text in figure.texts]


def color_of(figure, text):
    (found,) = (t.get_color() for t in figure.texts if t.get_text() == text)
    return found


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_one_panel_for_each_frame_and_map(rows):
    figure = clip_figure({"Seen": [sample_of() for _ in range(rows)]}, num_frames=3)
    assert len(figure.axes) == rows * (3 + 4)
    figure.canvas.draw()


def test_panels_neither_overlap_nor_leave_the_page():
    figure = clip_figure({"Seen": [sample_of()] * 2, "Unseen": [sample_of()] * 2}, title="T")
    boxes = [axes.get_position() for axes in figure.axes]
    for i, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= 1
        assert 0 <= box.y0 < box.y1 <= 1
        for other in boxes[:i]:
            apart = box.x0 >= other.x1 or box.x1 <= other.x0 or box.y0 >= other.y1
            assert apart or box.y1 <= other.y0


def test_labels_stay_left_of_the_frames():
    figure = clip_figure({"": [sample_of(true="W" * 60, predicted="PlayingTheGuitar" * 9)]})
    first = min(axes.get_window_extent().x0 for axes in figure.axes)
    left = [t for t in figure.texts if t.get_text().endswith("…")]
    assert len(left) == 2
    assert all(text.get_window_extent().x1 < first for text in left)


def test_titles_sections_and_columns_are_named():
    figure = clip_figure({"Seen": [sample_of()], "Unseen": [sample_of()]}, title="devias")
    assert {"devias", "Seen", "Unseen", "Frames"} < set(texts(figure))
    assert {"Pseudo mask", "Action slot", "Scene slot", "Decoded mask"} < set(texts(figure))


def test_right_and_wrong_differ_in_sign_and_color():
    figure = clip_figure({"": [sample_of(), sample_of(predicted="kick"), sample_of(true=None)]})
    assert color_of(figure, "✗ kick") == WRONG
    assert color_of(figure, "→ wave") == MUTED
    assert color_of(figure, "✓ wave") == RIGHT
    assert texts(figure).count("✗ hills") == 3
    assert "unknown" in texts(figure)


def test_columns_that_no_clip_has_are_left_out():
    figure = clip_figure({"two_token": [sample_of(maps=False)] * 2})
    assert len(figure.axes) == 2 * 4
    assert not {"Pseudo mask", "Action slot", "Scene slot", "Decoded mask"} & set(texts(figure))


def test_a_clip_without_a_map_leaves_its_place_empty():
    figure = clip_figure({"": [sample_of(), sample_of(pseudo_mask=None)]})
    assert len(figure.axes) == 2 * (4 + 4) - 1


def test_empty_sections_are_left_out_and_no_clip_is_an_error():
    assert "Seen" not in texts(clip_figure({"Seen": [], "Unseen": [sample_of()]}))
    with pytest.raises(ValueError, match="at least one clip"):
        clip_figure({"Seen": []})


def test_frames_are_spread_over_the_clip():
    sample = sample_of(num_frames=7)
    figure = clip_figure({"": [sample]}, num_frames=3)
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes[:3]]
    np.testing.assert_array_equal(shown, sample.frames[[0, 3, 6]])


def test_short_clip_shows_the_frames_it_has():
    figure = clip_figure({"": [sample_of(num_frames=1, maps=False)]}, num_frames=4)
    assert len(figure.axes) == 1


def test_drawing_leaves_no_global_state():
    before = dict(matplotlib.rcParams)
    clip_figure({"": [sample_of()]})
    after = dict(matplotlib.rcParams)
    assert {k: v for k, v in after.items() if k != "backend"} == {
        k: v for k, v in before.items() if k != "backend"
    }  # the backend is looked up on first use
    assert not matplotlib.pyplot.get_fignums()


def test_overlay_dims_where_cold_and_colors_where_hot():
    frame = np.full((4, 4, 3), 200, dtype=np.uint8)
    values = np.array([[0, 1]], dtype=np.float32)
    overlay = heat_overlay(frame, values, "#ff0000").astype(int)
    assert overlay.shape == (4, 4, 3)
    assert (overlay[:, 0] == overlay[0, 0, 0]).all()  # gray
    assert overlay[0, 0, 0] < 120
    red, green, blue = overlay[0, 3]
    assert red > green == blue
    # Bilinear with half-pixel centers: a quarter and three quarters in between.
    assert (np.diff(overlay[0, :, 0]) > 0).all()


def test_stretching_shows_shape_but_makes_nothing_of_flat_attention():
    frame = np.zeros((2, 2, 3), dtype=np.uint8)
    shaped = np.array([[0.4, 0.6]], dtype=np.float32)
    stretched = heat_overlay(frame, shaped, "#00ff00", stretch=True)
    np.testing.assert_array_equal(
        stretched, heat_overlay(frame, np.array([[0, 1]], dtype=np.float32), "#00ff00")
    )
    flat = np.array([[0.500, 0.501]], dtype=np.float32)
    assert heat_overlay(frame, flat, "#00ff00", stretch=True).max() <= 3
