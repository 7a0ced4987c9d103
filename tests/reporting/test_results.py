import json
import math
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from devias.reporting.results import (
    ResultError,
    RunResult,
    describe_hardware,
    git_commit,
    group_runs,
    load_results,
    paper_rows,
)


def result_of(model="devias", seed=0, **metrics):
    return RunResult(
        experiment="synthetic",
        model=model,
        data="synthetic",
        seed=seed,
        commit="0" * 40,
        metrics=metrics or {"seen/action_top1": 0.9, "harmonic_mean": 0.5},
        seconds={"train": 12.5},
        hardware={"cpu": "some", "cores": 2},
        command="python -m devias.train experiment=synthetic",
    )


def test_round_trip(tmp_path):
    path = tmp_path / "run" / "result.json"
    result_of().save(path)
    assert RunResult.load(path) == result_of()
    assert [file.name for file in path.parent.iterdir()] == ["result.json"]


def test_file_is_plain_json_with_the_fields_in_order(tmp_path):
    result_of().save(tmp_path / "result.json")
    content = json.loads((tmp_path / "result.json").read_text())
    first = ["experiment", "model", "data", "seed", "commit", "metrics", "intervals"]
    assert list(content)[:7] == first
    assert content["metrics"]["seen/action_top1"] == 0.9


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_non_finite_metric_is_refused_by_name_and_the_old_file_kept(tmp_path, value):
    path = tmp_path / "result.json"
    result_of().save(path)
    with pytest.raises(ValueError, match=r"metrics\['unseen/mask_iou'\] is (nan|inf)"):
        result_of(**{"unseen/mask_iou": value}).save(path)
    assert RunResult.load(path) == result_of()


def test_interrupted_writing_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    result_of().save(path)

    def full_disk(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        result_of(seed=1).save(path)
    assert RunResult.load(path).seed == 0
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-10], "Expecting|Unterminated|delimiter"),
        (lambda text: "[1, 2]", "expected an object, found list"),
        (lambda text: text.replace('"model"', '"modell"'), "the field 'model' is missing"),
        (lambda text: text.replace('"seconds"', '"secs"'), "unknown field 'secs'"),
        (lambda text: text.replace("12.5", "NaN"), r"seconds\['train'\] is nan"),
        (lambda text: text.replace("12.5", '"12.5"'), r"seconds\['train'\] is '12.5'"),
        (lambda text: text.replace("12.5", "true"), r"seconds\['train'\] is True"),
        (lambda text: text.replace('{\n    "train": 12.5\n  }', "[]"), "seconds must map"),
        (lambda text: text.replace('"devias"', "[1]"), r"model is \[1\], not a name"),
        (lambda text: text.replace("null", '{"checkpoint": 1}'), "evaluation is .*not checkpoint"),
        (
            lambda text: text.replace('"intervals": {}', '"intervals": {"a": [0.5, 0.4]}'),
            r"intervals\['a'\] is \[0.5, 0.4\], not \[low, high\]",
        ),
        (lambda text: text.replace('"intervals": {}', '"intervals": []'), "intervals must map"),
        (lambda text: "[" * 100_000, "recursion"),
    ],
)
def test_bad_file_is_named(tmp_path, change, message):
    path = tmp_path / "some_run" / "result.json"
    result_of().save(path)
    changed = change(path.read_text())
    assert changed != path.read_text()
    path.write_text(changed)
    with pytest.raises(ResultError, match=f"(?s)some_run.result.json: .*({message})"):
        RunResult.load(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.json"):
        RunResult.load(tmp_path / "absent.json")


def test_all_results_below_a_folder(tmp_path):
    result_of(seed=1).save(tmp_path / "b" / "result.json")
    result_of(seed=0).save(tmp_path / "a" / "deep" / "result.json")
    (tmp_path / "other.json").write_text("{}")
    assert [result.seed for result in load_results(tmp_path)] == [0, 1]
    with pytest.raises(FileNotFoundError, match=r"no result\.json"):
        load_results(tmp_path / "b" / "nowhere")


def evaluated(run, *changes, checkpoint="best.ckpt", seed=0, value=0.7):
    result = result_of(seed=seed, harmonic_mean=value)
    path = str(run / "checkpoints" / checkpoint)
    result.evaluation = {"checkpoint": path, "changes": list(changes)}
    return result


def rows_below(folder):
    return {result.row: result.metrics["harmonic_mean"] for result in load_results(folder)}


def test_an_evaluation_that_changes_nothing_only_repeats_the_run(tmp_path):
    run = tmp_path / "runs" / "a"
    evaluated(run).save(run / "evaluations" / "1" / "result.json")
    moved = evaluated(run, "data.root=/x", "trainer.devices=2")
    moved.save(run / "evaluations" / "2" / "result.json")
    evaluated(run).save(tmp_path / "runs" / "0-elsewhere" / "result.json")
    assert rows_below(tmp_path) == {"devias": 0.7}  # a run that was not tested itself
    result_of(harmonic_mean=0.5).save(run / "result.json")
    assert rows_below(tmp_path) == {"devias": 0.5}


def test_evaluations_with_other_settings_are_rows_of_their_own(tmp_path):
    run = tmp_path / "a"
    result_of(harmonic_mean=0.5).save(run / "result.json")
    for number, value in ((9, 0.1), (10, 0.2)):  # the tenth comes last
        result = evaluated(run, "data.num_clips=5", value=value)
        result.save(run / "evaluations" / str(number) / "result.json")
    evaluated(run, checkpoint="last.ckpt").save(run / "evaluations" / "11" / "result.json")
    other = tmp_path / "b"
    result_of(seed=1, harmonic_mean=0.6).save(other / "result.json")
    evaluated(other, "data.num_clips=5", seed=1).save(other / "evaluations" / "1" / "result.json")
    groups = group_runs(load_results(tmp_path))
    assert {key[2]: [run.seed for run in runs] for key, runs in groups.items()} == {
        "devias": [0, 1], "devias [data.num_clips=5]": [0, 1], "devias [last.ckpt]": [0],
    }  # fmt: skip
    seeds = groups["synthetic", "synthetic", "devias [data.num_clips=5]"]
    assert [run.metrics["harmonic_mean"] for run in seeds] == [0.2, 0.7]


def test_an_evaluation_of_an_earlier_version_is_no_second_seed(tmp_path):
    result_of(harmonic_mean=0.5).save(tmp_path / "a" / "result.json")
    result_of(harmonic_mean=0.5).save(tmp_path / "a" / "evaluation" / "result.json")
    assert rows_below(tmp_path) == {"devias": 0.5, "devias [evaluation]": 0.5}


def test_rows_of_the_paper_stand_beside_a_result():
    (row,) = paper_rows(evaluated(Path("run"), "data.num_clips=5"), {"DEVIAS, paper": {"a": 0.5}})
    assert (row.row, row.metrics, row.evaluation) == ("DEVIAS, paper", {"a": 0.5}, None)


def test_two_runs_of_one_seed_are_named(tmp_path):
    for name in ("a", "b"):
        result_of(seed=3).save(tmp_path / name / "result.json")
    with pytest.raises(ResultError, match=r"a.result\.json and .*b.result\.json .* seed 3"):
        load_results(tmp_path)


def test_seeds_are_grouped_in_order_of_appearance():
    runs = [result_of("two_token", 1), result_of("devias", 1), result_of("two_token", 0)]
    groups = group_runs(runs)
    assert [key[2] for key in groups] == ["two_token", "devias"]
    assert [len(group) for group in groups.values()] == [2, 1]


def test_runs_of_one_method_are_one_row_whatever_they_are_called():
    spelled = [("a b=1", 0, "1f"), ("a c=1", 1, "1f"), ("ours", 0, "2f"), ("ours", 0, "3f")]
    runs = [replace(result_of(name, seed), run_id=identity) for name, seed, identity in spelled]
    groups = group_runs([*runs, result_of("ours", 0)])
    names = ["a b=1", "ours [2f]", "ours [3f]", "ours"]
    assert [key[2] for key in groups] == names
    assert [len(group) for group in groups.values()] == [2, 1, 1, 1]
    with pytest.raises(ValueError, match="have the seed 0"):
        group_runs([runs[0], replace(runs[1], seed=0)])


def test_files_from_before_there_was_a_hash_load(tmp_path):
    content = asdict(result_of())
    del content["run_id"]
    (tmp_path / "result.json").write_text(json.dumps(content))
    assert RunResult.load(tmp_path / "result.json").run_id == ""


def test_repeated_seed_is_refused():
    with pytest.raises(ValueError, match="model 'devias' have the seed 3"):
        group_runs([result_of(seed=3), result_of(seed=3)])


def git(folder, *arguments):
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", folder, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_git_commit_of_a_repository(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "code.py").write_text("one")
    assert git_commit(tmp_path) is None  # nothing is tracked yet
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-m", "one")
    git(tmp_path, "tag", "v1")  # the commit is wanted, not the tag
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_commit(tmp_path) == commit
    (tmp_path / "untracked.py").write_text("new")
    assert git_commit(tmp_path) == commit
    (tmp_path / "code.py").write_text("two")
    assert git_commit(tmp_path) == f"{commit}-dirty"


def test_untracked_folder_inside_a_repository_has_no_commit(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "code.py").write_text("one")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-m", "one")
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "installed.py").write_text("two")
    assert git_commit(tmp_path / "site-packages") is None


def test_no_commit_outside_a_repository_or_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert git_commit() is None


def test_hardware_can_be_saved(tmp_path):
    result = result_of()
    result.hardware = describe_hardware()
    result.save(tmp_path / "result.json")
    assert RunResult.load(tmp_path / "result.json").hardware["cores"] >= 1
