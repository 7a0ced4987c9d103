import json
import subprocess

import pytest

from declared import fake_job, forked, noted, plan_of, result_for, until
from devias.sweeps.neighbors import PROBE_FILE, probe_neighbors


@pytest.fixture
def calls(monkeypatch):
    """What is started instead of `devias knn`: it writes what that would, or fails."""
    started = []

    def run(command, **given):
        started.append(command)
        words = dict(word.split("=", 1) for word in command if "=" in word)
        if "bad" in words["checkpoint"]:
            return subprocess.CompletedProcess(command, 1, "first\nno memory\n\n")
        return subprocess.CompletedProcess(command, 0, "")

    monkeypatch.setattr(subprocess, "run", run)
    return started


def test_finished_runs_without_it_are_probed_and_failures_told(tmp_path, calls):
    plan = plan_of(tmp_path, ["done", "bad", "missing", "probed"])
    done, bad, _, probed = plan.runs
    for run in (done, bad, probed):
        (run.folder / "checkpoints").mkdir(parents=True)
        (run.folder / "checkpoints" / "last.ckpt").touch()
        result_for(run).save(run.folder / "result.json")
    (done.folder / "checkpoints" / "best.ckpt").touch()
    (probed.folder / PROBE_FILE).parent.mkdir(parents=True)
    (probed.folder / PROBE_FILE).write_text(json.dumps({}))
    assert probe_neighbors(plan) == {bad: "devias knn: no memory"}
    assert [command[-2:] for command in calls] == [
        [f"checkpoint={done.folder}/checkpoints/best.ckpt", f"output_dir={done.folder}/knn/table"],
        [f"checkpoint={bad.folder}/checkpoints/last.ckpt", f"output_dir={bad.folder}/knn/table"],
    ]


def test_what_another_process_is_at_is_left_to_it(tmp_path, calls):
    plan = plan_of(tmp_path, ["a"])
    other = forked(fake_job, plan.runs[0], 0.5)
    until(lambda: noted(tmp_path, "start"))
    result_for(plan.runs[0]).save(plan.runs[0].folder / "result.json")
    assert probe_neighbors(plan) == {}
    assert calls == []
    other.join()
