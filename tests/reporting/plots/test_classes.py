import numpy as np
import pytest

from devias.evaluation.protocol import Protocol
from devias.reporting.plots.classes import MOST, class_accuracy, class_figure
from devias.reporting.predictions import load_predictions, save_predictions
from evaluated import evaluated_run


def test_each_class_is_counted_on_both_kinds_of_sets(tmp_path):
    module, data = evaluated_run(tmp_path, videos=7)
    save_predictions(tmp_path / "predictions.parquet", data, module.predictions)
    found = class_accuracy(*load_predictions(tmp_path / "predictions.parquet"))
    assert set(found) == {"a", "b", "c"}
    for combination in ("seen", "unseen"):
        name = next(s.name for s in data.protocol.sets if s.combination == combination)
        predictions = module.predictions[name]
        own = predictions.action == 1
        expected = np.mean(predictions.answers("action")[own] == 1)
        assert found["b"][combination] == pytest.approx(expected)


def test_sets_without_actions_or_combination_count_for_nothing():
    protocol = Protocol("p", {"a": {"split": "x"}, "b": {"split": "y", "combination": "seen",
                                                         "tasks": ["scene"]}})  # fmt: skip
    assert class_accuracy(protocol, {}) == {}


def test_the_largest_falls_are_drawn_first():
    accuracy = {f"class {n}": {"seen": 0.9, "unseen": n / 100} for n in range(MOST + 5)}
    (axes,) = class_figure(accuracy).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [f"class {n}" for n in range(MOST)]
    assert f"of {MOST + 5} classes" in axes.get_title(loc="left")
    few = {"x": {"seen": 1.0, "unseen": 0.5}}
    assert "classes" not in class_figure(few).axes[0].get_title(loc="left")
