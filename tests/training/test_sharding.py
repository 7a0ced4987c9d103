"""FSDP2 on two processes against DDP, and across a kill."""

import shutil
import subprocess
import sys
import time

import pytest
import torch

from devias.models.architecture import describe
from devias.models.mask_decoder import MaskDecoder
from devias.training.checkpoints import load_checkpoint
from devias.training.sharding import _names, _renamed
from helpers import TINY_SYNTHETIC

SHARDED = "trainer.strategy={_target_:devias.training.sharding.ShardedStrategy}"
SETTINGS = (
    "trainer.devices=2",
    "max_batch_per_device=1",  # two batches a step
    "backbone.drop_path_rate=0.3",
    "head.dropout=0.4",
    "augment=none",
    "trainer.max_epochs=8",
    "callbacks.last.every_n_steps=1",
    "ckpt_path=auto",
)


def test_states_are_numbered_in_the_order_of_the_groups():
    one, two, three = (torch.nn.Parameter(torch.zeros(n)) for n in (1, 2, 3))
    module = torch.nn.ParameterDict({"one": one, "two": two, "three": three})
    optimizer = torch.optim.AdamW([{"params": [three, one]}, {"params": [two]}])
    names = [*_names(module, optimizer)]
    assert names == ["three", "one", "two"]
    for parameter in module.values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    state = optimizer.state_dict()
    named = _renamed(state, dict(enumerate(names)))
    assert [group["params"] for group in named["param_groups"]] == [["three", "one"], ["two"]]
    assert {name: part["exp_avg"].numel() for name, part in named["state"].items()} == {
        "one": 1, "two": 2, "three": 3,
    }  # fmt: skip
    assert _renamed(named, {name: i for i, name in enumerate(names)}) == state
    assert _renamed({}, {}) == {}  # ranks but the first have none


def test_a_sharded_model_is_described_as_what_it_was():
    decoder = MaskDecoder(dim=6, output=4)
    expected = describe(decoder)
    sharded = type("FSDPModule", (), {})  # PyTorch puts this before the module's own class
    decoder.__class__ = type("FSDPMaskDecoder", (sharded, MaskDecoder), {})
    assert describe(decoder) == expected


def start(folder, *words):
    command = [sys.executable, "-m", "devias", "train", *TINY_SYNTHETIC, *SETTINGS, *words]
    command += [f"paths.datasets={folder.parent / 'data'}", f"paths.run_dir={folder}"]
    with (folder.parent / f"{folder.name}.out").open("a") as out:
        return subprocess.Popen(command, stdout=out, stderr=out)


def states(folder):
    content = load_checkpoint(folder / "checkpoints/last.ckpt")
    optimizer = content["optimizer_states"][0]["state"]
    moments = {f"{n} {key}": part[key] for n, part in optimizer.items() for key in ("exp_avg",)}
    return content["state_dict"] | moments


@pytest.mark.slow
def test_a_sharded_run_is_that_of_ddp_and_goes_on_exactly(tmp_path):
    ddp, whole, killed = (tmp_path / name for name in ("ddp", "whole", "killed"))
    assert start(ddp, "trainer.strategy=ddp").wait() == 0
    assert start(whole, SHARDED).wait() == 0
    torch.testing.assert_close(states(whole), states(ddp), atol=1e-5, rtol=1e-4)
    child = start(killed, SHARDED, "test=false")
    last = killed / "checkpoints/last.ckpt"
    while not last.exists():
        assert child.poll() is None
        time.sleep(0.02)
    child.kill()  # its other rank ends by itself
    child.wait()
    assert load_checkpoint(last)["global_step"] < 8 * 4
    shutil.copytree(killed, tmp_path / "other")
    assert start(killed, SHARDED).wait() == 0
    torch.testing.assert_close(states(killed), states(whole), atol=0, rtol=0)
    assert start(tmp_path / "other", "trainer.strategy=ddp").wait() == 0  # checkpoints are the same
    torch.testing.assert_close(states(tmp_path / "other"), states(whole), atol=1e-5, rtol=1e-4)
