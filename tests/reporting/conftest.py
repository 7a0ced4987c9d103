import pytest
import wandb

from devias.cli.evaluate import evaluate_checkpoint
from devias.cli.train import train
from helpers import tiny_run


@pytest.fixture(scope="session")
def offline_run(tmp_path_factory):
    """A run with W&B, its files among what is handed on, and an evaluation of it."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("HOME", str(root / "home"))
        words = ("logger=wandb", "trainer.max_epochs=1", "logger.wandb.files=true")
        train(tiny_run(root, *words))
        assert wandb.run is None  # the next run of this process starts its own
        evaluate_checkpoint(root / "run" / "checkpoints" / "best.ckpt", ["protocol.num_crops=1"])
    return root / "run"
