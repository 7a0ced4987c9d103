import logging
import os
import random
import signal
import time
from collections import Counter

import pytest
from hydra.core.utils import JobReturn, JobStatus

from declared import fake_job, fake_launcher, forked, noted, plan_of, result_for, until
from devias.sweeps import runner
from devias.sweeps.jobs import JobFailedError
from devias.sweeps.plan import State
from devias.sweeps.runner import run_table

LABELS = ["a", "b", "c", "d", "e"]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(runner, "POLL", 0.02)


def test_what_is_missing_is_run_and_nothing_else(tmp_path, capsys):
    plan = plan_of(tmp_path, ["a", "b", "c"], seeds=(0, 1))
    fake_job(plan.runs[3])
    calls = []
    states = run_table(plan, fake_launcher(plan, calls=calls))
    assert set(states.values()) == {State.FINISHED}
    assert calls == [5]
    assert Counter(noted(tmp_path, "end")) == Counter(f"{r.label} {r.seed}" for r in plan.runs)
    assert run_table(plan, fake_launcher(plan, calls=calls)) == states
    assert calls == [5]
    output = capsys.readouterr().out.splitlines()
    assert output[0] == "1 of 6 runs finished; about 5:00 left"
    assert output[-1] == "6 of 6 runs finished"


def test_jobs_that_nobody_waits_for_are_handed_over_once(tmp_path):
    plan, calls = plan_of(tmp_path, ["a", "b"]), []
    states = run_table(plan, lambda jobs, first: calls.append(len(jobs)) or [])
    assert calls == [2]
    assert set(states.values()) == {State.MISSING}


def test_what_does_one_at_a_time_is_given_one_at_a_time(tmp_path):
    plan, calls = plan_of(tmp_path, LABELS), []
    run_table(plan, fake_launcher(plan, calls=calls), one_by_one=True)
    assert calls == [1] * 5


def test_a_failure_is_written_down_and_the_others_go_on(tmp_path, capsys):
    plan, calls = plan_of(tmp_path, ["a", "bad", "c"]), []
    launch = fake_launcher(plan, calls=calls)
    states = run_table(plan, launch)
    assert [*states.values()] == [State.FINISHED, State.FAILED, State.FINISHED]
    assert plan.runs[1].failure() == "the loss diverged"
    assert "2 of 3 runs finished, 1 failed" in capsys.readouterr().out
    run_table(plan, launch)
    assert calls == [3]
    run_table(plan, launch, retry_failed=True)
    assert calls == [3, 1]
    assert noted(tmp_path, "start").count("bad 0") == 2
    assert plan.runs[1].failure() == "the loss diverged"


def test_of_a_message_about_several_jobs_each_takes_its_own_line(tmp_path):
    plan = plan_of(tmp_path, ["a", "b"])

    def launch(jobs, first):
        ends = [JobReturn(status=JobStatus.FAILED) for _ in jobs]
        for end, run in zip(ends, plan.runs, strict=True):
            end.return_value = JobFailedError("2 of 2 jobs failed\n…", f"no memory for {run.label}")
        return ends

    run_table(plan, launch)
    assert [run.failure() for run in plan.runs] == ["no memory for a", "no memory for b"]


def test_a_job_that_ends_without_a_result_has_failed(tmp_path):
    plan = plan_of(tmp_path, ["a"])
    launch = lambda jobs, first: [JobReturn(status=JobStatus.COMPLETED) for _ in jobs]  # noqa: E731
    assert run_table(plan, launch)[plan.runs[0]] is State.FAILED
    assert plan.runs[0].failure() == "it ended without a result"


def test_a_run_that_another_process_is_at_is_left_to_it_and_waited_for(tmp_path, caplog):
    plan = plan_of(tmp_path, ["a", "b"])
    other = forked(fake_job, plan.runs[0], 0.6)
    until(lambda: noted(tmp_path, "start"))
    states = run_table(plan, fake_launcher(plan), wait=False)
    assert [*states.values()] == [State.RUNNING, State.FINISHED]
    states = run_table(plan, fake_launcher(plan))
    assert set(states.values()) == {State.FINISHED}
    other.join()
    assert noted(tmp_path, "end") == ["b 0", "a 0"]


def test_a_job_that_comes_late_is_no_failure(tmp_path, caplog):
    """It was missing when jobs were chosen, and claimed by another process when it began."""
    plan, others = plan_of(tmp_path, ["a", "b"]), []
    launch = fake_launcher(plan)

    def late(jobs, first):
        if not others:
            others.append(forked(fake_job, plan.runs[0], 0.4))
            until(lambda: noted(tmp_path, "start"))
        return launch(jobs, first)

    with caplog.at_level(logging.INFO):
        states = run_table(plan, late)
    assert set(states.values()) == {State.FINISHED}
    assert "a, seed 0: another process is at it" in caplog.text
    assert not list(tmp_path.rglob("failed.json"))
    assert sorted(noted(tmp_path, "end")) == ["a 0", "b 0"]
    others[0].join()


def test_what_another_process_leaves_is_taken_over(tmp_path):
    plan = plan_of(tmp_path, ["a"])
    other = forked(fake_job, plan.runs[0], 60)
    until(lambda: noted(tmp_path, "start"))
    taken = forked(run_table, plan, fake_launcher(plan))
    time.sleep(0.2)
    assert taken.is_alive()
    os.kill(other.pid, signal.SIGKILL)
    taken.join(20)
    assert taken.exitcode == 0
    assert noted(tmp_path, "end") == ["a 0"]
    other.join()


@pytest.mark.parametrize("one_by_one", [True, False])
def test_two_at_once_share_the_runs(tmp_path, one_by_one):
    plan = plan_of(tmp_path, LABELS, seeds=(0, 1))
    calls = fake_launcher(plan, 0.05)
    both = [forked(_run, plan, calls, one_by_one) for _ in range(3)]
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    assert sorted(noted(tmp_path, "end")) == sorted(f"{r.label} {r.seed}" for r in plan.runs)
    assert sorted(noted(tmp_path, "start")) == sorted(noted(tmp_path, "end"))


def test_killed_at_any_moment_and_started_again_no_run_is_lost_or_done_twice(tmp_path):
    plan = plan_of(tmp_path, LABELS)
    draw = random.Random(3)
    kills = 0
    while True:
        process = forked(_run, plan, fake_launcher(plan, 0.05), True)
        process.join(draw.uniform(0.02, 0.2) if kills < 12 else 60)
        if process.exitcode == 0:
            break
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        kills += 1
    assert kills > 2
    assert {run.state() for run in plan.runs} == {State.FINISHED}
    # `end` stands just before the result is written: a kill between the two is the only way to two.
    counts = Counter(noted(tmp_path, "end"))
    assert counts.keys() == {f"{label} 0" for label in LABELS}
    assert sum(counts.values()) <= len(LABELS) + 1


def test_progress_tells_what_others_do_as_well(tmp_path):
    plan = plan_of(tmp_path, ["a", "b", "c", "d"])
    lines = []
    progress = runner.Progress(plan.runs, show=lines.append)
    progress.look()
    fake_job(plan.runs[0])
    progress.look()
    progress.look()
    result = result_for(plan.runs[1], seconds={"fit": 100.0, "test": 20.0})
    plan.runs[1].folder.mkdir()
    result.save(plan.runs[1].folder / "result.json")
    plan.runs[2].record_failure("x")
    progress.look()
    assert lines == [
        "0 of 4 runs finished",
        "1 of 4 runs finished; about 3:00 left",
        "2 of 4 runs finished, 1 failed; about 1:30 left",
    ]
    assert progress.seconds_left(1) == pytest.approx(90.0)


def _run(plan, launch, one_by_one):
    run_table(plan, launch, one_by_one=one_by_one)
