from pathlib import Path

from devias.reporting.html.runs import reported_runs
from devias.reporting.results import RunResult


def result(experiment, model, data="d", seed=0, **settings):
    return RunResult(experiment, model, data, seed, None, {}, **settings)


def test_runs_are_named_apart_by_what_tells_them_apart():
    results = {
        Path("1/result.json"): result("e", "devias"),
        Path("2/result.json"): result("e", "devias", seed=1),
        Path("3/result.json"): result("e", "two_token"),
        Path("4/result.json"): result("f", "two_token"),
        Path("5/result.json"): result(
            "e", "devias", evaluation={"checkpoint": "best.ckpt", "changes": ["data.stride=2"]}
        ),
    }
    runs = reported_runs(results, load=None)
    assert [run.name for run in runs] == [
        "devias, seed 0",
        "devias, seed 1",
        "two_token (e, d), seed 0",
        "two_token (f, d), seed 0",
        "devias [data.stride=2], seed 0",
    ]
    assert [run.is_evaluation for run in runs] == [False] * 4 + [True]


def test_predictions_are_loaded_where_a_run_kept_them(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/predictions.parquet").touch()
    results = {tmp_path / name / "result.json": result("e", name) for name in ("a", "b")}
    asked = []
    runs = reported_runs(results, lambda path: asked.append(path) or ("protocol", {}))
    assert asked == [tmp_path / "a/predictions.parquet"]
    assert [run.answers for run in runs] == [("protocol", {}), None]
