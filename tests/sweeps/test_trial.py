import lightning as L
import pytest
import torch

from devias.cli.train import train
from devias.config import compose
from devias.errors import ConfigError
from devias.sweeps import trial as trial_module
from devias.sweeps.search import Search, SearchSettings
from devias.sweeps.space import Parameter, Space
from devias.sweeps.study import PrunerSettings, open_study
from devias.sweeps.trial import PRUNED_AFTER, ReportTrial, TrialFile, best_value
from devias.training.saving import LastCheckpoint
from helpers import TINY_SYNTHETIC
from stub_parts import Constant, clips, loader, stub_module, stub_trainer

RIGHT = clips(answers=[(0, 1)], labels=[(0, 1)])
WRONG = clips(answers=[(1, 2)], labels=[(0, 1)])


@pytest.fixture(autouse=True)
def _no_watch(monkeypatch):
    """The thread would outlive the test."""
    monkeypatch.setattr(trial_module, "end_with_parent", lambda: None)


def begin(folder, metric="val/harmonic_mean", rivals=()):
    """A study whose trials had `rivals` after each of three epochs, and one that begins."""
    pruner = {"name": "median", "startup_trials": 1, "warmup_epochs": 1}
    storage = str(folder / "journal.log")
    study = open_study(storage, "s", "maximize", PrunerSettings(**pruner), create=True)
    for value in rivals:
        rival = study.ask()
        for epoch in (1, 2, 3):
            rival.report(value, epoch)
        study.tell(rival, value)
    number = study.ask().number
    place = {"study": "s", "storage": storage, "pruner": pruner}
    TrialFile(number, "running", {"x": 1}, metric, "maximize", **place).save(folder)
    return study


def fit(folder, *callbacks, batch=RIGHT, **settings):
    saver = LastCheckpoint(str(folder))
    trainer = stub_trainer(
        folder,
        ReportTrial(str(folder)),
        saver,
        *callbacks,
        **{"max_epochs": 3, "enable_checkpointing": True} | settings,
    )
    trainer.fit(stub_module(Constant(1.0)), loader(RIGHT, RIGHT), [loader(batch)])
    return trainer


def test_every_epoch_with_validation_is_reported_once(tmp_path):
    study = begin(tmp_path)
    fit(tmp_path, val_check_interval=1)
    assert [*study.trials[0].intermediate_values] == [1, 2, 3]
    study = begin(tmp_path / "sparse")
    fit(tmp_path / "sparse", check_val_every_n_epoch=2)
    assert [*study.trials[0].intermediate_values] == [2]


def test_a_trial_below_the_median_stops_after_a_whole_epoch(tmp_path):
    study = begin(tmp_path, rivals=[0.5, 0.5])
    assert fit(tmp_path, batch=WRONG).current_epoch == 2
    assert study.trials[2].user_attrs == {PRUNED_AFTER: 2}
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 4
    study = begin(tmp_path / "good", rivals=[0.5, 0.5])
    assert fit(tmp_path / "good").current_epoch == 3
    assert study.trials[2].user_attrs == {}


def test_a_metric_that_is_not_logged_is_told_with_those_that_are(tmp_path):
    begin(tmp_path, metric="val/f1")
    with pytest.raises(ConfigError, match=r"metric=val/f1 is not logged.*val/harmonic_mean"):
        fit(tmp_path)


def test_nothing_is_looked_for_where_nothing_is_trained(tmp_path):
    ReportTrial(str(tmp_path / "gone")).setup(None, None, "test")


def test_the_best_value_is_a_number():
    values = {1: 0.2, 2: float("nan"), 3: 0.5, 4: float("inf"), 5: 0.4}
    assert best_value(values, "maximize") == 0.5
    assert best_value(values, "minimize") == 0.2
    assert best_value({1: float("nan")}, "maximize") is None


def test_trials_are_runs_that_read_no_test_set(tmp_path, monkeypatch):
    monkeypatch.setattr(L.Trainer, "test", None)
    rate = Parameter("optim.base_lr", "float", low=1e-4, high=1e-2, log=True)
    model = Parameter("model", "choice", choices=("devias", "two_token"))
    settings = SearchSettings(
        name="tiny",
        folder=tmp_path / "search",
        space=Space("tiny", TINY_SYNTHETIC, ("trainer.max_epochs=1",), (rate, model)),
        overrides=(f"paths.datasets={tmp_path / 'data'}",),
        trials=2,
    )
    search = Search(settings, lambda words, folder: int(train(compose(*words)) != {}))
    search.run()
    trials = search.results().trials
    assert [(trial.state, trial.epochs) for trial in trials] == [("complete", 1)] * 2
    for trial in trials:
        folder = tmp_path / "search" / f"trial-{trial.number}"
        assert (folder / "checkpoints" / "best.ckpt").exists()
        assert not (folder / "result.json").exists()
        assert TrialFile.load(folder).parameters == trial.parameters
        config = (folder / "config.yaml").read_text()
        assert f"base_lr: {trial.parameters['optim.base_lr']}" in config
