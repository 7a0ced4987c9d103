import csv
import io

import pytest
from rich.console import Console

from devias.errors import ConfigError
from devias.reporting.comparison import (
    TITLES,
    compare_runs,
    comparisons_to_csv,
    comparisons_to_markdown,
    print_comparisons,
)
from devias.reporting.predictions import PREDICTIONS_FILE, save_predictions
from devias.reporting.results import RESULT_FILE, RunResult, find_results
from evaluated import draw_videos, evaluated_run

VIDEOS = 9


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return draw_videos(tmp_path_factory.mktemp("videos"), VIDEOS)


def write_run(videos, folder, model, weights, seed=0, harmonic_mean=0.5, **settings):
    """A run with its result and its predictions → its module."""
    module, data = evaluated_run(videos, videos=VIDEOS, seed=weights, **settings)
    save_predictions(folder / PREDICTIONS_FILE, data, module.predictions)
    metrics = {"harmonic_mean": harmonic_mean}
    result = RunResult("e", model, "d", seed, None, metrics, protocol="gray")
    result.save(folder / RESULT_FILE)
    return module


def test_discordant_videos_are_counted_by_set_and_task(videos, tmp_path):
    modules = [
        write_run(videos, tmp_path / name, name, weights, harmonic_mean=value)
        for name, weights, value in (("a", 1, 0.4), ("b", 3, 0.5))
    ]
    (comparison,) = compare_runs(find_results(tmp_path))
    assert (comparison.first, comparison.second, comparison.seed) == ("b", "a", 0)
    assert list(comparison.tests) == [
        (name, task) for name in ("seen", "unseen") for task in ("action", "scene")
    ]
    test = comparison.tests["unseen", "action"]
    a, b = (module.videos["unseen"]["action_top1"] for module in modules)
    assert test.videos == VIDEOS
    assert (test.first_only, test.second_only) == (int((b > a).sum()), int((a > b).sum()))
    assert test.first_only + test.second_only > 0
    assert comparison.tests["unseen", "scene"].videos == VIDEOS - 1  # the last has no scene
    gain, (low, high) = comparison.gain
    summaries = [m.protocol.summarize(m.results)["harmonic_mean"] for m in modules]
    assert gain == pytest.approx(summaries[0] - summaries[1])
    assert low <= gain <= high


def test_one_row_is_compared_with_each_other_seed_by_seed(videos, tmp_path):
    for model in ("a", "b", "c"):
        for seed in (0, 1):
            write_run(videos, tmp_path / f"{model}{seed}", model, seed, seed)
    found = compare_runs(find_results(tmp_path), against="b")
    assert [(c.first, c.second, c.seed) for c in found] == [
        ("b", "a", 0), ("b", "a", 1), ("b", "c", 0), ("b", "c", 1),
    ]  # fmt: skip
    assert found[0].gain == (0, (0, 0))
    with pytest.raises(ConfigError, match="no row is called 'dd'"):
        compare_runs(find_results(tmp_path), against="dd")


def test_runs_on_other_videos_are_not_compared(videos, tmp_path):
    write_run(videos, tmp_path / "a", "a", 1)
    other = draw_videos(tmp_path / "other_videos", VIDEOS - 2)
    module, data = evaluated_run(other, videos=VIDEOS - 2)
    save_predictions(tmp_path / "b" / PREDICTIONS_FILE, data, module.predictions)
    for name in ("b", "c"):
        RunResult("e", name, "d", 0, None, {}, protocol="gray").save(tmp_path / name / RESULT_FILE)
    found = compare_runs(find_results(tmp_path))
    assert "the videos of seen are not the same" in found[0].title
    assert "there is no" in found[1].why_not
    assert "predictions.parquet" in found[1].why_not
    assert [c.tests for c in found] == [{}, {}]
    assert "not compared" in comparisons_to_markdown(found)


def test_a_video_that_one_could_not_read_counts_for_neither(videos, tmp_path):
    write_run(videos, tmp_path / "a", "a", 1)
    copy = draw_videos(tmp_path / "copies", VIDEOS, broken=[2])
    write_run(copy, tmp_path / "b", "b", 1, broken=[2], on_error="skip")
    (comparison,) = compare_runs(find_results(tmp_path))
    assert comparison.tests["seen", "action"].videos == VIDEOS - 1
    assert comparison.gain == (0, (0, 0))


def test_tables_have_a_row_a_set_and_task(videos, tmp_path):
    for model, weights in (("a", 1), ("b", 3)):
        write_run(videos, tmp_path / model, model, weights)
    found = compare_runs(find_results(tmp_path))
    rows = list(csv.DictReader(io.StringIO(comparisons_to_csv(found))))
    assert [(row["Set"], row["Task"], row["Videos"]) for row in rows][:2] == [
        ("seen", "action", "9"), ("seen", "scene", "8"),
    ]  # fmt: skip
    markdown = comparisons_to_markdown(found)
    assert f"| {' | '.join(TITLES)} |" in markdown
    assert "H.M. " in markdown
    console = Console(width=80, file=io.StringIO())
    print_comparisons(found, console)
    assert "Second alone" in console.file.getvalue()
    console = Console(width=80, file=io.StringIO())
    print_comparisons(found * 5, console)
    assert "Second alone" not in console.file.getvalue()
    assert console.file.getvalue().count("H.M.") == 5
