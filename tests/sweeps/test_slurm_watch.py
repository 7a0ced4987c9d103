"""What is asked of Slurm, and what is made of its answers, without a cluster."""

import subprocess
import sys

import pytest
from submitit.slurm.slurm import _make_sbatch_string

from devias.errors import ConfigError
from devias.sweeps import slurm
from devias.sweeps.slurm import SlurmSettings, Start, Watch, sbatch_options
from stub_jobs import job


@pytest.fixture
def watch(tmp_path):
    """Looks after two jobs of an array."""
    jobs = {f"7_{number}": job(tmp_path, number, "") for number in range(2)}
    for one in jobs.values():
        one.folder.mkdir()
    return Watch(jobs, tmp_path)


def test_jobs_end_as_slurm_says_they_did(watch, tmp_path, caplog):
    caplog.set_level("INFO")
    (tmp_path / "1" / "output.log").write_text("2026-01-01 10:00:00 ERROR no videos\n")
    (tmp_path / "7_1.exit").write_text("1\n")
    watch.look({"7_0": "PENDING", "7_1": "RUNNING"})
    assert watch.errors == {}
    watch.look({"7_0": "COMPLETING", "7_1": "FAILED"})
    assert watch.errors == {"7_1": "no videos (FAILED, exit code 1)"}
    watch.look({"7_0": "COMPLETED", "7_1": "FAILED"})
    assert watch.errors["7_0"] is None
    assert caplog.text.count("job 1 (7_1) failed: no videos") == 1


@pytest.mark.parametrize(
    "state", ["TIMEOUT", "CANCELLED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"]
)
def test_a_job_that_slurm_has_ended_has_failed(watch, state):
    watch.look({"7_0": state, "7_1": "RUNNING"})
    assert watch.errors == {"7_0": f"it printed nothing ({state})"}


def test_a_requeued_job_is_waited_for(watch, tmp_path):
    (tmp_path / "7_0.exit").write_text("75\n")
    for state in ("RUNNING", "COMPLETING", "PENDING", "RUNNING"):
        watch.look({"7_0": state, "7_1": state})
    assert watch.errors == {}
    (tmp_path / "7_0.exit").write_text("0\n")
    watch.look({"7_0": "COMPLETED", "7_1": "RUNNING"})
    assert watch.errors == {"7_0": None}


def test_a_job_that_slurm_has_forgotten_ended_as_its_script_noted(watch, tmp_path):
    (tmp_path / "7_0.exit").write_text("0\n")
    (tmp_path / "7_1_1_log.out").write_text("RuntimeError: the other rank\n")
    watch.look({})
    watch.look({})
    assert watch.errors == {}
    watch.look({})
    assert watch.errors == {
        "7_0": None,
        "7_1": "RuntimeError: the other rank (gone from the queue)",
    }


def test_a_queue_that_does_not_answer_says_nothing(monkeypatch, caplog):
    answer = subprocess.CompletedProcess([], 1, "", "slurm_load_jobs error: Unable to contact")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    assert slurm.queue() is None
    assert "Unable to contact" in caplog.text
    answer = subprocess.CompletedProcess([], 0, "7_0|RUNNING\n8|PENDING\n", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    assert slurm.queue() == {"7_0": "RUNNING", "8": "PENDING"}


def script(folder, **settings):
    options = sbatch_options(SlurmSettings(**settings), folder)
    return _make_sbatch_string(command="true", folder=folder, map_count=3, **options)


def test_every_setting_reaches_the_script(tmp_path):
    text = script(
        tmp_path, nodes=2, tasks_per_node=8, gpus_per_node=8, cpus_per_task=12, mem_gb=1.5,
        minutes=90, partition="gpu", account="lab", qos="high", constraint="h100",
        array_parallelism=2, pause_before=300, max_requeues=7, setup=["module load cuda"],
        srun_args=["--mpi=none"], parameters={"reservation": "deadline"},
    )  # fmt: skip
    for option in (
        "nodes=2", "ntasks-per-node=8", "gpus-per-node=8", "cpus-per-task=12", "mem=1536MB",
        "time=90", "partition=gpu", "account=lab", "qos=high", "constraint=h100", "array=0-2%2",
        "signal=USR2@300", "reservation=deadline", "requeue",
    ):  # fmt: skip
        assert f"#SBATCH --{option}\n" in text, option
    assert "-lt 7 ]" in text
    assert text.index("module load cuda") < text.index("\nsrun ")
    assert "--kill-on-bad-exit=1 --mpi=none" in text
    assert "gpus-per-node" not in script(tmp_path)


@pytest.mark.parametrize(
    ("code", "restarts", "requeued"),
    [
        (0, 0, False),
        (1, 0, False),
        (143, 0, False),
        ("pause 75", 0, True),
        ("pause 143", 0, True),  # srun has ended another rank
        ("pause 75", 2, False),
        (140, 1, True),
    ],
)
def test_the_script_requeues_after_a_pause_alone(tmp_path, code, restarts, requeued):
    pause, _, code = str(code).rpartition(" ")
    touch = 'touch "$DEVIAS_PAUSE_FILE"\n' if pause else ""
    (tmp_path / "srun").write_text(f"#!/bin/sh\n{touch}exit {code}\n")
    (tmp_path / "17_1.pause").touch()  # of an earlier start
    (tmp_path / "scontrol").write_text('#!/bin/sh\necho "$@" > "$(dirname "$0")/asked"\n')
    for name in ("srun", "scontrol"):
        (tmp_path / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/bin:/usr/bin",
        "SLURM_JOB_ID": "19",
        "SLURM_ARRAY_JOB_ID": "17",
        "SLURM_ARRAY_TASK_ID": "1",
        "SLURM_RESTART_COUNT": str(restarts),
    }
    text = script(tmp_path, max_requeues=2)
    ended = subprocess.run(["bash", "-c", text], env=environment, check=False)
    assert ended.returncode == int(code)
    assert (tmp_path / "17_1.exit").read_text() == f"{code}\n"
    asked = tmp_path / "asked"
    assert (asked.read_text() if asked.exists() else "") == ("requeue 19\n" if requeued else "")


def test_a_task_becomes_the_command(tmp_path):
    show = "import os; print(os.environ['COLOR'], os.getpid())"
    start = Start((sys.executable, "-c", show), {"COLOR": "red"}, str(tmp_path / "out"))
    for rank in ("0", "1"):
        code = f"import os; os.environ['SLURM_PROCID'] = {rank!r}; print(os.getpid(), flush=True);"
        ended = subprocess.run(
            [sys.executable, "-c", f"{code} from devias.sweeps.slurm import Start; {start!r}()"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        own = ended.stdout.split()
        if rank == "0":
            assert (tmp_path / "out").read_text() == f"red {own[0]}\n"
        else:
            assert own == [own[0], "red", own[0]]


def test_what_is_not_installed_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="srun is not on this machine; cluster=local"):
        slurm.submit([], SlurmSettings(), tmp_path)
    monkeypatch.setitem(sys.modules, "submitit.core.utils", None)
    with pytest.raises(ConfigError, match=r"pip install 'devias\[slurm\]'"):
        slurm.submit([], SlurmSettings(), tmp_path)
