"""A run that starts from another run's model."""

import json

import pytest
import torch
from omegaconf import OmegaConf

from devias import load_model
from devias.cli.evaluate import evaluate_checkpoint
from devias.cli.train import train
from devias.models.transfer import TransferModel
from devias.training.preflight import MissingError, preflight
from devias.training.run import build_run
from devias.training.trained import load_trained
from devias.training.transfer import record_source
from devias.weights.read import WeightsError
from helpers import run_parts, save_untrained, tiny_run


@pytest.fixture(scope="module")
def source(root):
    path = root / "source" / "checkpoints" / "best.ckpt"
    save_untrained(tiny_run(root, "matcher.assignment=greedy"), path)
    return path


def transfer_run(root, source, *overrides):
    return tiny_run(root, "model=transfer", f"model.source={source}", *overrides)


def test_a_transfer_is_trained_tested_and_no_more_in_need_of_its_source(root, source, caplog):
    own = root / "own.ckpt"
    own.write_bytes(source.read_bytes())
    folder = root / "transfer"
    quick = "trainer.max_epochs=1", "callbacks.figures=null", "protocol.num_clips=1"
    config = transfer_run(root, own, f"paths.run_dir={folder}", *quick)
    result = train(config)
    assert 0 <= result["seen/action_top1"] <= 1
    assert not [name for name in result if "scene_top" in name]
    own.unlink()

    checkpoint = folder / "checkpoints" / "best.ckpt"
    again = evaluate_checkpoint(checkpoint)
    assert again.metrics == result
    content = torch.load(checkpoint, weights_only=True)
    assert content["architecture"]["source"]["type"] == "DEVIAS"
    assert OmegaConf.create(content["devias_config"]).model.assignment == "greedy"
    assert isinstance(load_model(checkpoint), TransferModel)
    assert load_trained(checkpoint).model.matcher.assignment == "greedy"
    label = json.loads((folder / "result.json").read_text())["model"]
    assert label == "transfer"


def test_the_source_is_built_as_it_was_trained_but_for_the_recipe(root, source):
    config = transfer_run(root, source, "recipe.drop_path=0.25", "data.num_actions=8")
    record_source(config)
    assert "mask_decoder" not in config.model.architecture
    assert config.model.architecture.head.num_actions == 8
    module, _ = run_parts(config)
    assert module.model.source.backbone.blocks[1].drop_path2.drop_prob == 0.25
    stored = torch.load(source, weights_only=True)["state_dict"]
    name = "slot_attention.slots"
    assert torch.equal(module.model.source.state_dict()[name], stored[f"model.{name}"])


def test_a_missing_source_is_told_before_anything_starts(root, source):
    with pytest.raises(MissingError, match=r"model\.source: .*gone\.ckpt does not exist"):
        preflight(transfer_run(root, root / "gone.ckpt"))
    config = transfer_run(root, "null")
    with pytest.raises(WeightsError, match="say which trained model to start from"):
        build_run(config)
