import csv
import io

import pytest
from rich.console import Console

from devias.reporting.search import SearchResults, SearchTrial, short_names


def results(maximize=True, importances=None):
    def trial(number, state, value, rate, **more):
        values = {"optim.base_lr": rate, "loss.a.weight": 0.5, "loss.b.weight": 2}
        return SearchTrial(number, state, values, value, **more)

    trials = [
        trial(0, "complete", 0.5, 1e-5, epochs=6),
        trial(1, "failed", None, 0.1, note="loss term | became\nNaN"),
        trial(2, "complete", 0.7, 1e-3, epochs=6),
        trial(3, "running", 0.9, 1e-3, epochs=1),
        trial(4, "pruned", 0.8, 1e-2, epochs=2),
    ]
    return SearchResults("wide", "val/harmonic_mean", maximize, trials, importances or {})


def test_whole_trials_come_first_the_best_on_top():
    assert [trial.number for trial in results().ranked()] == [2, 0, 4, 1, 3]
    assert [trial.number for trial in results(maximize=False).ranked()] == [0, 2, 4, 1, 3]
    assert results().best.number == 2
    assert SearchResults("none", "m", True, [], {}).best is None


def test_the_caption_counts_and_says_what_matters():
    told = results(importances={"optim.base_lr": 0.75, "loss.a.weight": 0.25}).caption
    assert "highest val/harmonic_mean: 2 complete, 1 pruned, 1 failed, 1 running." in told
    assert told.endswith("come from optim.base_lr 75%, loss.a.weight 25%.")
    assert results(maximize=False).caption.startswith("Search wide, lowest")
    assert "no trials" in SearchResults("none", "m", True, [], {}).caption


def test_tables_hold_every_trial_and_value():
    lines = results().to_markdown().splitlines()
    assert lines[0].startswith(
        "| trial | state | val/harmonic_mean | epochs | base_lr | a.weight |"
    )
    assert lines[2] == "| 2 | complete | 0.7000 | 6 | 0.001 | 0.5 | 2 |  |"
    assert r"loss term \| became NaN" in lines[5]
    rows = list(csv.DictReader(io.StringIO(results().to_csv())))
    assert [row["optim.base_lr"] for row in rows] == ["0.001", "1e-05", "0.01", "0.1", "0.001"]
    assert rows[3]["val/harmonic_mean"] == ""


@pytest.mark.parametrize("width", [60, 120])
def test_the_terminal_shows_the_best_rows_whole(width):
    values = {"loss.attention_guidance.weight": 0.1234, "loss.slot_diversity.weight": 1e-05}
    many = [SearchTrial(n, "complete", values, n / 100, 3) for n in range(14)]
    console = Console(width=width, record=True, file=io.StringIO())
    SearchResults("many", "val/harmonic_mean", True, many, {}).print(console)
    text = console.export_text()
    for cell in ("0.1300", "complete", "attention_guidance.weight", "1e-05"):
        assert cell in text
    assert "0.0300" not in text
    assert "… and 4 more" in text


def test_names_are_as_short_as_they_are_clear():
    assert short_names(["a.x", "b.x", "c.y", "x"]) == ["a.x", "b.x", "y", "x"]
    assert short_names(["optim.lr", "loss.a.weight"]) == ["lr", "a.weight"]
    assert short_names(["weight"]) == ["weight"]
