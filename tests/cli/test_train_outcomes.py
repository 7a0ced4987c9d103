"""What training and testing leave where the Trainer is told to do less than all."""

import logging

import lightning as L
import pytest

from devias.cli.evaluate import evaluate_checkpoint
from devias.cli.train import main, train
from devias.data.samplers import ResumeError
from devias.errors import ConfigError
from devias.reporting.results import RunResult
from devias.training.run import build_run
from helpers import tiny_run


@pytest.mark.parametrize(
    "overrides",
    [("max_batch_per_device=32",), ("max_batch_per_device=8",), ("max_batch_per_device=1",)],
)
def test_too_few_videos_for_a_batch(tmp_path, overrides):
    with pytest.raises(ConfigError, match="16 training videos make no batch of 32"):
        train(tiny_run(tmp_path, "global_batch=32", *overrides))


def test_a_batch_of_all_videos_trains(tmp_path):
    assert train(tiny_run(tmp_path, "global_batch=16", "trainer.max_epochs=1"))


@pytest.mark.parametrize("batches", ["true", "2"])
def test_a_fast_dev_run_goes_through_all_phases_and_leaves_no_result(tmp_path, batches):
    train(tiny_run(tmp_path, f"trainer.fast_dev_run={batches}"))
    assert not list((tmp_path / "run").rglob("*.ckpt"))
    assert not (tmp_path / "run" / "result.json").exists()


def test_one_batch_is_overfitted(tmp_path):
    config = tiny_run(tmp_path, "trainer.overfit_batches=1", "trainer.max_epochs=3", "test=false")
    seen = []

    class Watch(L.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            seen.append((batch.index.tolist(), batch.video.sum().item()))

    run = build_run(config)
    run.trainer.callbacks.append(Watch())
    run.data.train.stage.augment = None
    run.trainer.fit(run.module, datamodule=run.data)
    assert len(seen) == 3
    assert len(seen[0][0]) == 4
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize(
    ("override", "checkpoint"),
    [
        ("trainer.limit_val_batches=0", "last.ckpt"),
        ("trainer.check_val_every_n_epoch=5", "last.ckpt"),
        ("trainer.enable_checkpointing=false", None),
        ("trainer.limit_train_batches=0", None),
    ],
)
def test_without_validation_the_last_weights_are_tested_and_the_result_says_so(
    tmp_path, override, checkpoint, monkeypatch
):
    tested = []
    test = L.Trainer.test
    monkeypatch.setattr(
        L.Trainer,
        "test",
        lambda self, *args, **given: (
            tested.append(given["ckpt_path"]) or test(self, *args, **given)
        ),
    )
    train(tiny_run(tmp_path, override))
    assert tested == [checkpoint and tmp_path / "run/checkpoints" / checkpoint]
    result = RunResult.load(tmp_path / "run/result.json")
    assert result.notes == ["weights of the last step: no checkpoint was chosen by validation"]


@pytest.mark.parametrize("limit", [1, 0.7])
def test_a_result_on_a_part_says_so(tmp_path, caplog, limit):
    note = f"tested on a part only: trainer.limit_test_batches={limit}"
    small = ("data.eval_batch_size=1", "trainer.max_epochs=1")
    with caplog.at_level(logging.WARNING):
        train(tiny_run(tmp_path, f"trainer.limit_test_batches={limit}", *small))
    assert RunResult.load(tmp_path / "run/result.json").notes == [note]
    assert note in caplog.text


def test_a_test_of_nothing_is_none(tmp_path):
    assert train(tiny_run(tmp_path, "trainer.limit_test_batches=0", "trainer.max_epochs=1")) == {}
    assert not (tmp_path / "run/result.json").exists()
    with pytest.raises(ConfigError, match="limit_test_batches=0 leaves nothing to test"):
        evaluate_checkpoint(
            tmp_path / "run/checkpoints/best.ckpt", ["trainer.limit_test_batches=0"]
        )


def test_an_ordinary_result_has_no_notes(tmp_path):
    train(tiny_run(tmp_path, "trainer.max_epochs=1", "trainer.val_check_interval=0.5"))
    assert RunResult.load(tmp_path / "run/result.json").notes == []


def test_a_setting_that_the_data_do_not_fit_is_told_as_one(tmp_path):
    with pytest.raises(ConfigError, match=r"val_check_interval.*must be less than or equal"):
        train(tiny_run(tmp_path, "trainer.val_check_interval=100"))


def test_the_same_command_begins_continues_and_then_leaves_a_run_alone(tmp_path, monkeypatch):
    fits = []
    fit = L.Trainer.fit
    monkeypatch.setattr(
        L.Trainer,
        "fit",
        lambda self, *args, **given: fits.append(given["ckpt_path"]) or fit(self, *args, **given),
    )
    config = ("ckpt_path=auto", "trainer.max_epochs=1")
    metrics = train(tiny_run(tmp_path, *config))
    written = (tmp_path / "run/result.json").stat().st_mtime_ns
    assert train(tiny_run(tmp_path, *config)) == metrics
    assert fits == [None]
    assert (tmp_path / "run/result.json").stat().st_mtime_ns == written
    (tmp_path / "run/result.json").unlink()  # as a run that was killed while it was tested
    assert train(tiny_run(tmp_path, *config)) == metrics
    train(tiny_run(tmp_path, "ckpt_path=auto", "trainer.max_epochs=2"))  # another method's result
    assert fits == [None, *[tmp_path / "run/checkpoints/last.ckpt"] * 2]
    with pytest.raises(ResumeError, match="seed was 0, is 1"):  # nor is another seed's result its
        train(tiny_run(tmp_path, "ckpt_path=auto", "trainer.max_epochs=2", "seed=1"))


def test_continuing_needs_a_folder_that_stays_the_same(capfd):
    with pytest.raises(SystemExit):
        main(["experiment=synthetic", "ckpt_path=auto"])
    assert "name it with paths.run_dir" in capfd.readouterr().out
