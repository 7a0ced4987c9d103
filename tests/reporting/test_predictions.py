from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from devias.evaluation.metrics import mean_metrics, video_metrics
from devias.evaluation.predictions import FIELDS
from devias.parquet import ParquetError, write_parquet
from devias.reporting.predictions import (
    PredictionsError,
    load_predictions,
    save_predictions,
)
from devias.structures import UNKNOWN
from evaluated import evaluated_run


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A tested run with one broken video of five, and the file of its predictions."""
    folder = tmp_path_factory.mktemp("run")
    module, data = evaluated_run(folder, broken=[3], on_error="skip")
    path = folder / "predictions.parquet"
    save_predictions(path, data, module.predictions)
    return module, data, path


def test_the_file_holds_what_was_predicted(written):
    module, data, path = written
    protocol, sets = load_predictions(path)
    assert protocol.sets == data.protocol.sets
    for eval_set in protocol.sets:
        mine, read = module.predictions[eval_set.name], sets[eval_set.name].predictions
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(read, name), getattr(mine, name), err_msg=name)
        again = mean_metrics(video_metrics(read, eval_set.tasks, data.reference(eval_set)))
        assert again == module.results[eval_set.name]


def test_a_row_says_of_a_reader_what_happened(written):
    _, _, path = written
    rows = pq.read_table(path).to_pylist()
    assert [(row["set"], row["video"]) for row in rows] == [
        *(("seen", f"{number}.mp4") for number in range(5)),
        *(("unseen", f"{number}.mp4") for number in range(5)),
    ]
    broken = rows[3]
    assert "3.mp4" in broken["error"]
    assert "list.txt:4" in broken["error"]
    assert broken["action"] == 0
    assert broken["predicted_action"] is broken["predicted_action_name"] is None
    # Training shows action s % 3 in scene s, and one scene is unknown.
    assert [row["usual_action"] for row in rows] == [None] * 5 + [0, 1, 2, 0, None]
    assert rows[4]["scene"] is rows[4]["scene_name"] is None
    for row in rows[:3]:
        assert row["error"] == ""
        assert row["action_name"] == "abc"[row["action"]]
        assert row["predicted_action"] == row["action_classes"][0]
        assert row["predicted_action_name"] == "abc"[row["predicted_action"]]
        assert len(row["action_slots"]) == 4


def test_videos_without_any_scene_label_come_back(written, tmp_path):
    module, data, _ = written
    unlabeled = {
        name: replace(p, scene=np.full_like(p.scene, UNKNOWN))
        for name, p in module.predictions.items()
    }
    path = tmp_path / "predictions.parquet"
    save_predictions(path, data, unlabeled)
    types = {field.name: str(field.type) for field in pq.read_schema(path)}
    assert (types["scene"], types["scene_name"]) == ("int64", "string")
    _, sets = load_predictions(path)
    for name, found in sets.items():
        assert (found.predictions.scene == UNKNOWN).all()
        assert found.names["scene"] == [None] * len(unlabeled[name])


def test_other_files_are_named(tmp_path):
    path = tmp_path / "predictions.parquet"
    path.write_text("no table")
    with pytest.raises(ParquetError, match=r"predictions\.parquet"):
        load_predictions(path)
    for metadata in ({}, {"protocol": "[]"}, {"protocol": '{"name": "x"}'}):
        write_parquet(path, {"set": ["a"]}, metadata)
        with pytest.raises(PredictionsError, match=r"predictions\.parquet holds no predictions"):
            load_predictions(path)
