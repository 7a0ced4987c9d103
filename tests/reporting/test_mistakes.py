import numpy as np
import pytest

from devias.errors import ConfigError
from devias.reporting.mistakes import TITLES, confident_mistakes, mistake_samples
from devias.reporting.predictions import PredictionsError, load_predictions, save_predictions
from devias.structures import UNKNOWN
from evaluated import draw_videos, evaluated_run, gray_data

VIDEOS = 9


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    module, data = evaluated_run(folder, broken=[2], videos=VIDEOS, on_error="skip")
    save_predictions(folder / "predictions.parquet", data, module.predictions)
    return module, data, folder / "predictions.parquet"


@pytest.mark.parametrize("task", ["action", "scene"])
def test_the_surest_wrong_answers_come_first(saved, task):
    module, _, path = saved
    mistakes = confident_mistakes(*load_predictions(path), task, count=5)
    wrong = []
    for predictions in module.predictions.values():
        label, answer = getattr(predictions, task), predictions.answers(task)
        places = (label != UNKNOWN) & (label != answer) & predictions.read
        wrong += getattr(predictions, f"{task}_scores")[places, 0].tolist()
    assert [mistake.sure for mistake in mistakes] == sorted(wrong, reverse=True)[:5]
    assert all(m.names[task] != m.names[f"predicted_{task}"] for m in mistakes)
    assert all(len(m.row) == len(TITLES) for m in mistakes)
    only = confident_mistakes(*load_predictions(path), task, 5, "unseen")
    assert {mistake.set for mistake in only} == {"unseen"}


def test_the_usual_action_of_the_scene_is_told(saved):
    _, data, path = saved
    mistakes = confident_mistakes(*load_predictions(path), count=99, name="unseen")
    usual = data.reference(data.protocol.sets[1]).usual_actions
    found = load_predictions(path)[1]["unseen"].predictions
    for mistake in mistakes:
        scene, answer = found.scene[mistake.index], found.answers("action")[mistake.index]
        assert mistake.usual == (scene != UNKNOWN and usual[scene] == answer)
        assert ("usual action" in mistake.note) == mistake.usual
    assert {mistake.usual for mistake in mistakes} == {True, False}


def test_sets_of_which_wrong_answers_are_good_have_no_mistakes(saved):
    protocol, sets = load_predictions(saved[2])
    description = protocol.describe()
    for values in description["sets"].values():
        values |= {"combination": None, "lower_is_better": True}
    assert confident_mistakes(protocol.from_description(description), sets) == []


def test_what_cannot_be_asked_for_is_refused(saved):
    with pytest.raises(ConfigError, match="no set 'unsen'; did you mean unseen"):
        confident_mistakes(*load_predictions(saved[2]), name="unsen")
    with pytest.raises(ConfigError, match="action or scene, not 'both'"):
        confident_mistakes(*load_predictions(saved[2]), "both")


def test_frames_are_those_of_the_video(saved):
    _, data, path = saved
    mistakes = confident_mistakes(*load_predictions(path), count=3)
    samples = mistake_samples(data, mistakes)
    for mistake, sample in zip(mistakes, samples, strict=True):
        assert sample.frames.shape == (4, 10, 14, 3)
        assert sample.true_action == mistake.names["action"]
        assert sample.note == mistake.note
        # The first frame is noise of the video's own number, but for the coding.
        noise = np.random.default_rng(mistake.index).integers(0, 256, (5, 10, 14, 3), np.uint8)
        assert np.corrcoef(sample.frames[0].ravel(), noise[0].ravel())[0, 1] > 0.9


def test_other_videos_than_were_tested_are_named(saved, tmp_path):
    mistakes = confident_mistakes(*load_predictions(saved[2]), count=99)
    last = [mistake for mistake in mistakes if mistake.index == max(m.index for m in mistakes)]
    fewer = gray_data(draw_videos(tmp_path, last[0].index), saved[1].protocol)
    with pytest.raises(PredictionsError, match=r"was \d\.mp4 when it was tested.*data\.root"):
        mistake_samples(fewer, last)
