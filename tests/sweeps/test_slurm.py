"""Sweeps on a real Slurm cluster of two nodes that see this machine's files.

`DEVIAS_SLURM` may hold further words of the command, as `cluster.partition=gpu`.
"""

import csv
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from devias.cli.train import train
from devias.training.checkpoints import load_checkpoint
from helpers import TINY_SYNTHETIC, tiny_run

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(shutil.which("sinfo") is None, reason="Slurm is not on this machine"),
]

# Equal on any number of processes: nothing is drawn but by the sample.
EXACT = (
    "augment=none",
    "backbone.drop_path_rate=0",
    "head.dropout=0",
    "trainer.log_every_n_steps=1",
)
RANDOM = ("backbone.drop_path_rate=0.3", "head.dropout=0.4", "trainer.max_epochs=25", "test=false")
SLOW = "+callbacks.slow={{_target_: helpers.SlowDown, seconds: {}}}"
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Holds the data and all runs."""
    if subprocess.run(["sinfo"], capture_output=True, check=False).returncode:
        pytest.skip("no Slurm controller answers")
    return tmp_path_factory.mktemp("slurm")


def start(root, sweep, *words):
    """Start a sweep over two nodes → the process of its launcher."""
    command = [
        *(sys.executable, "-m", "devias", "train", "--multirun", *TINY_SYNTHETIC),
        *("cluster=slurm", "cluster.nodes=2", "cluster.minutes=30", "cluster.poll=1"),
        *(f"paths.datasets={root}/data", f"hydra.sweep.dir={root}/{sweep}", *words),
        *shlex.split(os.environ.get("DEVIAS_SLURM", "")),
    ]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT
    )


def ended(launcher, seconds=900):
    """The exit code and what was printed."""
    printed, _ = launcher.communicate(timeout=seconds)
    return launcher.returncode, printed


def wait_for(condition, seconds=300.0):
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.2)
    return found


def rates(folder):
    """The learning rate of every logged step."""
    (path,) = folder.glob("metrics/*/metrics.csv")
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if row["loss/total"]]
    return {
        row["step"]: value
        for row in rows
        for name, value in row.items()
        if name.startswith("lr-") and value
    }


def state(folder):
    return load_checkpoint(folder / "checkpoints" / "last.ckpt")


@pytest.fixture(scope="module")
def uninterrupted(root):
    """The run of the other tests on two processes of this machine, which nothing interrupts."""
    folder = root / "uninterrupted"
    words = [*TINY_SYNTHETIC, *RANDOM, f"paths.datasets={root}/data", f"paths.run_dir={folder}"]
    subprocess.run(
        [sys.executable, "-m", "devias", "train", *words, "trainer.devices=2"],
        check=True, env=ENVIRONMENT,
    )  # fmt: skip
    return state(folder)


def assert_same_training(folder, uninterrupted):
    ours = state(folder)
    assert ours["global_step"] == uninterrupted["global_step"] == 100
    for name, value in uninterrupted["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], value), name
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert not list(folder.parent.rglob("hpc_ckpt*"))


def test_jobs_over_two_nodes_train_as_one_process_does_and_failures_are_told(root):
    launcher = start(root, "sweep", *EXACT, "optim.base_lr=1e-3,1e9")
    config = tiny_run(root, *EXACT, "optim.base_lr=1e-3")
    metrics = train(config)
    code, printed = ended(launcher)
    assert code == 1
    assert "1 of 2 jobs failed\noptim.base_lr=1000000000.0: loss term " in printed
    assert "(FAILED, exit code 1)" in printed

    folder = root / "sweep" / "0"
    assert "global batch 4 = 2 devices × 2 clips" in (folder / "output.log").read_text()
    assert rates(folder) == rates(root / "run")
    one, two = (state(place)["state_dict"] for place in (root / "run", folder))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-5, atol=1e-6, msg=name)
    assert (folder / "result.json").exists()
    assert metrics
    # What another rank makes it makes elsewhere, or not at all.
    assert {path.name for path in (root / "sweep").iterdir()} == {
        "0",
        "1",
        "slurm",
        "multirun.yaml",
    }


def test_a_time_limit_is_survived_in_the_same_folder(root, uninterrupted):
    limit = ("cluster.minutes=2", "cluster.pause_before=10")
    code, printed = ended(start(root, "limit", *RANDOM, *limit, SLOW.format(1.0)), 1500)
    assert code == 0, printed
    output = (root / "limit" / "0" / "output.log").read_text()
    assert "stopped at SIGUSR2 after step" in output
    assert "is PENDING" in printed.partition("is RUNNING")[2]
    assert_same_training(root / "limit" / "0", uninterrupted)


def test_what_ends_a_job_leaves_a_folder_that_goes_on(root, uninterrupted):
    output = root / "ends" / "0" / "output.log"

    def began(epochs):
        return wait_for(lambda: output.exists() and f"epoch {epochs} of 25" in output.read_text())

    # A rank dies: the other one does not wait for it, and the job is told as failed.
    launcher = start(root, "ends", *RANDOM, SLOW.format(0.4))
    began(2)
    os.kill(rank_of(root / "ends", 1), signal.SIGKILL)
    killed = time.monotonic()
    code, printed = ended(launcher)
    assert (code, "failed" in printed) == (1, True), printed
    assert time.monotonic() - killed < 60

    # Slurm ends the job.
    launcher = start(root, "ends", *RANDOM, SLOW.format(0.4))
    began(5)
    number = printed_number(launcher)
    subprocess.run(["scancel", number], check=True)
    code, printed = ended(launcher)
    assert (code, "CANCELLED" in printed) == (1, True), printed
    assert "stopped at SIGTERM" in output.read_text()

    code, printed = ended(start(root, "ends", *RANDOM))
    assert code == 0, printed
    assert_same_training(root / "ends" / "0", uninterrupted)


def rank_of(sweep: Path, rank: int) -> int:
    """The process of a rank of the sweep's job."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and process.joinpath("cmdline").exists():
            words = process.joinpath("cmdline").read_bytes().decode().split("\0")
            if any(word == f"paths.run_dir={sweep}/0" for word in words):
                environment = process.joinpath("environ").read_bytes().decode().split("\0")
                if f"SLURM_PROCID={rank}" in environment:
                    return int(process.name)
    raise AssertionError(f"there is no rank {rank}")


def printed_number(launcher) -> str:
    """The number of the job that a launcher has told of."""
    for line in launcher.stdout:
        if " job 0 is " in line:
            return line.split(" job 0 is ")[1].partition(":")[0]
    raise AssertionError("no job was submitted")
