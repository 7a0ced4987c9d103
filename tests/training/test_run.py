import logging
import warnings

import pytest
import torch
from omegaconf import open_dict

from devias.errors import ConfigError
from devias.training.quiet import quiet_lightning
from devias.training.run import Run, build_run
from devias.weights.read import WeightsError
from devias.weights.write import save_weights
from helpers import run_parts, tiny_run
from stub_parts import Constant, clips, loader, stub_module, stub_trainer


def built(config):
    return run_parts(config)[0].model


def test_initial_weights_depend_on_the_seed_alone(tmp_path):
    torch.rand(5)
    first, again, other = (
        build_run(tiny_run(tmp_path, f"seed={seed}")).module.model.state_dict()
        for seed in (3, 3, 4)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.fc.weight"], other["head.fc.weight"])


def test_the_global_batch_is_shared_and_told(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        run = build_run(tiny_run(tmp_path, "global_batch=12", "max_batch_per_device=5"))
    assert (run.data.train.batch_size, run.trainer.accumulate_grad_batches) == (4, 3)
    # 8e-3 · 12 / 256
    assert "12 = 1 devices × 4 clips × 3 accumulated; lr 3.75e-04" in caplog.text


def test_weights_fill_the_whole_model_and_the_backbone_needs_none(tmp_path):
    trained = built(tiny_run(tmp_path))
    save_weights(trained, tmp_path / "w.safetensors")
    weights = (f"weights={tmp_path / 'w.safetensors'}", "backbone.weights=gone.pth")
    for train in ("true", "false"):
        loaded = built(tiny_run(tmp_path, *weights, f"train={train}")).state_dict()
        for name, tensor in trained.state_dict().items():
            assert torch.equal(loaded[name], tensor)


def test_only_training_may_start_from_weights_that_lack_a_part(tmp_path):
    baseline = built(tiny_run(tmp_path, "model=two_token"))
    save_weights(baseline, tmp_path / "w.safetensors")
    weights = f"weights={tmp_path / 'w.safetensors'}"
    with pytest.raises(WeightsError):
        built(tiny_run(tmp_path, weights, "train=false"))
    started = built(tiny_run(tmp_path, weights))
    block = "blocks.0.attn.qkv.weight"
    assert torch.equal(started.backbone.state_dict()[block], baseline.backbone.state_dict()[block])


def test_missing_and_unfit_weights_are_told_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.pth does not exist\. VideoMAE weights"):
        built(tiny_run(tmp_path, f"backbone.weights={tmp_path / 'gone.pth'}"))
    (tmp_path / "page.pth").write_text("<html>")
    with pytest.raises(WeightsError, match=r"page\.pth is a web page"):
        built(tiny_run(tmp_path, f"backbone.weights={tmp_path / 'page.pth'}"))


def test_a_clip_size_that_the_patch_does_not_divide(tmp_path):
    with pytest.raises(ConfigError, match=r"50.*patch|patch.*50"):
        built(tiny_run(tmp_path, "data.image_size=50"))


def test_unknown_keys_are_refused_before_anything_is_built(tmp_path):
    config = tiny_run(tmp_path)
    with open_dict(config):
        config.globl_batch = 3
    with pytest.raises(ValueError, match="unknown configuration key 'globl_batch'"):
        build_run(config)


def test_closing_a_run_closes_the_loggers_that_can_be(tmp_path):
    class Uploading:
        closed = False

        def close(self):
            self.closed = True

    loggers = [object(), Uploading()]
    trainer = type("Trainer", (), {"loggers": loggers})
    Run(config=None, data=None, module=None, trainer=trainer).close()
    assert loggers[1].closed


def test_training_and_testing_warn_of_nothing(tmp_path):
    batch = clips([(0, 0)], [(0, 0)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet_lightning()
        trainer = stub_trainer(tmp_path)
        module = stub_module(Constant(1.0))
        trainer.fit(module, loader(batch), [loader(batch)])
        trainer.test(module, [loader(batch)], verbose=False)
