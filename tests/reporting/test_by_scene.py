from dataclasses import replace

import numpy as np
import pytest

from devias.evaluation.protocol import Protocol
from devias.reporting.by_scene import MOST, OTHERS, answers_by_scene
from devias.reporting.predictions import SetPredictions, load_predictions, save_predictions
from devias.structures import UNKNOWN
from evaluated import evaluated_run


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    module, data = evaluated_run(folder, videos=7)
    save_predictions(folder / "predictions.parquet", data, module.predictions)
    return module, load_predictions(folder / "predictions.parquet")


def test_videos_of_unseen_combinations_are_counted_by_scene_and_answer(saved):
    module, (protocol, sets) = saved
    found = answers_by_scene(protocol, sets)
    predictions = module.predictions["unseen"]
    answers = predictions.answers("action")
    known = predictions.scene != UNKNOWN
    assert found.counts.sum() == known.sum() == 6  # the last has no scene
    for scene, row in zip(found.scenes, found.counts, strict=True):
        names = np.array(sets["unseen"].names["scene"])
        for action, count in zip(found.actions, row, strict=True):
            expected = (names == scene) & (answers == "abc".index(action))
            assert count == expected.sum()


def many(scenes, answers, usual):
    class Answered:
        scene = np.arange(len(scenes))

        def answers(self, task):
            return np.arange(len(scenes))

    names = {"scene": scenes, "predicted_action": answers, "usual_action": usual}
    protocol = Protocol("p", {"unseen": {"split": "x", "combination": "unseen"}})
    return protocol, {"unseen": SetPredictions([], Answered(), names)}


def test_rare_answers_share_a_column_and_rare_scenes_are_left_out():
    scenes = [f"s{n % (MOST + 3)}" for n in range(3 * (MOST + 3))] + ["s0"] * 50
    answers = [f"a{n % (MOST + 9)}" for n in range(len(scenes))]
    found = answers_by_scene(*many(scenes, answers, [None] * len(scenes)))
    assert len(found.scenes) == MOST
    assert "s0" in found.scenes
    assert found.actions[MOST:] == [OTHERS]
    assert found.counts[:, MOST].sum() > 0
    assert found.usual == [-1] * MOST


def test_scenes_stand_in_the_order_of_their_usual_actions():
    scenes = ["sea", "hall", "road", "sea"]
    found = answers_by_scene(
        *many(scenes, ["swim", "run", "swim", "swim"], ["swim", "run", None, "swim"])
    )
    assert found.actions == ["swim", "run"]
    assert found.scenes == ["sea", "hall", "road"]
    assert found.usual == [0, 1, -1]
    assert found.counts.tolist() == [[2, 0], [0, 1], [1, 0]]


def test_without_known_scenes_there_is_nothing_to_count(saved):
    _, (protocol, sets) = saved
    for answered in sets.values():
        nowhere = np.full(len(answered.videos), UNKNOWN)
        answered.predictions = replace(answered.predictions, scene=nowhere)
    assert answers_by_scene(protocol, sets) is None
