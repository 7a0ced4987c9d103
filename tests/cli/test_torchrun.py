"""Elastic restarts: what torchrun starts again goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from devias.training.checkpoints import load_checkpoint
from helpers import TINY_SYNTHETIC

pytestmark = pytest.mark.slow

RANDOM = ("backbone.drop_path_rate=0.3", "head.dropout=0.4", "trainer.max_epochs=8", "test=false")
SLOW = "+callbacks.slow={_target_: helpers.SlowDown, seconds: 0.5}"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=2"]


def rank(launcher: int, number: int) -> int:
    """The process of one of a launcher's ranks."""
    for pid in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        if f"RANK={number}" in Path(f"/proc/{pid}/environ").read_text().split("\0"):
            return int(pid)
    raise AssertionError(f"there is no rank {number}")


def test_a_killed_rank_is_started_again_with_the_others(tmp_path):
    words = [
        *("-m", "devias", "train", *TINY_SYNTHETIC, *RANDOM, "trainer.devices=2"),
        *(f"paths.datasets={tmp_path}/data", "ckpt_path=auto"),
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([sys.executable, *words, f"paths.run_dir={whole}"], check=True, env=environment)
    torchrun = subprocess.Popen(
        [sys.executable, *TORCHRUN, *words, f"paths.run_dir={killed}", SLOW], env=environment
    )
    log = killed / "train.log"
    until = time.monotonic() + 300
    while not (log.exists() and "epoch 3 of 8" in log.read_text()):
        assert time.monotonic() < until
        assert torchrun.poll() is None
        time.sleep(0.1)
    os.kill(rank(torchrun.pid, 1), signal.SIGKILL)
    assert torchrun.wait(400) == 0
    assert log.read_text().count("global batch 4 = 2 devices") == 2
    one, two = (load_checkpoint(folder / "checkpoints" / "last.ckpt") for folder in (whole, killed))
    assert one["global_step"] == two["global_step"] == 32
    for name, value in one["state_dict"].items():
        assert torch.equal(two["state_dict"][name], value), name
