"""A run that is killed at any moment and started again ends as if it had never been."""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from devias.cli.train import train
from devias.reporting.results import RunResult
from devias.training.callbacks import SeedEveryEpoch
from devias.training.checkpoints import load_checkpoint
from helpers import TINY_SYNTHETIC, tiny_run

# Everything random in a training step, and two batches accumulated.
RANDOM = (
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
    "trainer.val_check_interval=4",
    "backbone.drop_path_rate=0.3",
    "head.dropout=0.4",
    "augment.prob_aug=0.5",
    "max_batch_per_device=2",
)
EVERY_STEP = "callbacks.last.every_n_steps=1"
CRASH = "+callbacks.crash={{_target_: helpers.CrashAt, epoch: {}, batch: {}, error: SIGKILL}}"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Holds the data, drawn by the first run, and a folder of runs."""
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def whole(root):
    """The folder of a run that nothing interrupts and that saves at epoch ends alone."""
    folder = root / "whole"
    train(tiny_run(root, *RANDOM, f"paths.run_dir={folder}"))
    return folder


def start(root, folder, *overrides):
    """Train in a child process, on which a kill leaves this one unharmed → its id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        with (root / f"{folder.name}.out").open("a") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
            train(tiny_run(root, *RANDOM, "ckpt_path=auto", f"paths.run_dir={folder}", *overrides))
    except BaseException:
        os._exit(1)
    os._exit(0)


def run(root, folder, *overrides):
    """Train in a child process → its exit status, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(start(root, folder, *overrides), 0)[1])


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def differences(folder, reference):
    """What of two finished runs differs: parts of checkpoints, metrics, rows of the log."""
    found = []
    for name in ("last", "best"):
        ours, theirs = (
            load_checkpoint(f / f"checkpoints/{name}.ckpt") for f in (folder, reference)
        )
        parts = {"state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"}
        found += [f"{name} {part}" for part in sorted(parts) if not same(ours[part], theirs[part])]
        seeds = [content["callbacks"]["SeedEveryEpoch"] for content in (ours, theirs)]
        found += [f"{name} random state"] if not same(*seeds) else []
    results = [RunResult.load(f / "result.json").metrics for f in (folder, reference)]
    found += ["metrics"] if results[0] != results[1] else []
    rows, expected = logged(folder), logged(reference)
    return found + [f"row {step}" for step in rows if rows[step] != expected[step]]


def logged(folder):
    """Step and metric → value, of the metrics files of all attempts."""
    values = {}
    for path in folder.glob("metrics/*/metrics.csv"):
        with path.open() as file:
            for row in csv.DictReader(file):
                step = row.pop("step")
                values |= {(step, name): value for name, value in row.items() if value}
    return values


@pytest.mark.parametrize(("workers", "kills"), [(2, 1), pytest.param(0, 7, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_at_random_moments_ends_bit_for_bit_the_same(
    root, whole, workers, kills
):
    draw = random.Random(workers)
    folder = root / f"killed-{workers}"
    overrides = (EVERY_STEP, f"data.num_workers={workers}")
    for _ in range(kills):
        child = start(root, folder, *overrides)
        wait_for_progress(folder, partial(os.waitpid, child, os.WNOHANG), (0, 0))
        time.sleep(draw.uniform(0, 0.3))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)  # if it is at its end by now, so be it
    assert run(root, folder, *overrides) == 0
    assert differences(folder, whole) == []


def wait_for_progress(folder, poll, running):
    """Until the run has written another checkpoint, or is at its end."""
    last = folder / "checkpoints" / "last.ckpt"
    before = last.stat().st_mtime_ns if last.exists() else None
    while not last.exists() or last.stat().st_mtime_ns == before:
        if (folder / "result.json").exists():
            return
        assert poll() == running, f"{folder} has ended"
        time.sleep(0.01)


def test_without_the_random_states_it_would_not(root, whole, monkeypatch):
    # The comparison above can fail.
    folder = root / "control"
    assert run(root, folder, EVERY_STEP, CRASH.format(1, 3)) == -signal.SIGKILL
    assert load_checkpoint(folder / "checkpoints/last.ckpt")["global_step"] == 5
    monkeypatch.setattr(SeedEveryEpoch, "load_state_dict", lambda self, state: None)
    assert run(root, folder) == 0
    assert {"last state_dict", "last optimizer_states"} <= set(differences(folder, whole))


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(root, whole, monkeypatch):
    folder = root / "writing"
    save = torch.save

    def half(content, path):
        save(content, path)
        if content["global_step"] == 7:
            Path(path).write_bytes(Path(path).read_bytes()[:5000])
            os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        assert run(root, folder, EVERY_STEP) == -signal.SIGKILL
    names = {path.name for path in (folder / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt", ".last-partial.ckpt"}
    assert load_checkpoint(folder / "checkpoints/last.ckpt")["global_step"] == 5
    assert run(root, folder) == 0
    assert not list(folder.rglob(".*-partial*"))
    assert differences(folder, whole) == []


@pytest.mark.slow
def test_two_processes_that_are_killed_end_bit_for_bit_the_same(tmp_path):
    ranks = ("trainer.strategy=ddp", "trainer.devices=2", "max_batch_per_device=1", *RANDOM[:-1])

    def ddp(folder, *overrides):
        words = [
            *TINY_SYNTHETIC,
            *ranks,
            f"paths.datasets={tmp_path / 'data'}",
            f"paths.run_dir={folder}",
            "ckpt_path=auto",
            *overrides,
        ]
        out = (tmp_path / f"{folder.name}.out").open("a")
        return subprocess.Popen(
            [sys.executable, "-m", "devias", "train", *words], stdout=out, stderr=out
        )

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert ddp(whole).wait() == 0
    draw = random.Random(1)
    for _ in range(3):
        child = ddp(killed, EVERY_STEP)
        wait_for_progress(killed, child.poll, None)
        time.sleep(draw.uniform(0, 1))
        child.kill()  # its other rank ends by itself
        child.wait()
    assert ddp(killed, EVERY_STEP).wait() == 0
    seeds = load_checkpoint(killed / "checkpoints/last.ckpt")["callbacks"]["SeedEveryEpoch"]
    assert len(seeds["states"]) == 2
    assert differences(killed, whole) == []
