import lightning as L
import pytest
import torch

from devias.errors import ConfigError
from devias.training.callbacks import StopOnNonFiniteLoss
from devias.training.exact_resume import ExactResume
from devias.training.saving import LastCheckpoint
from stub_parts import Constant, Poison, clips, loader, stub_module, stub_trainer

BATCH = clips(answers=[(0, 1)], labels=[(0, 1)])


class Saves(LastCheckpoint):
    """Remembers the optimizer steps and batches at which it saved."""

    def __init__(self, folder, **settings):
        super().__init__(folder, **settings)
        self.places = []

    def _save_checkpoint(self, trainer, filepath):
        super()._save_checkpoint(trainer, filepath)
        content = torch.load(filepath, weights_only=True)
        batches = content["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["processed"]
        self.places.append((content["global_step"], batches))


class Tick(L.Callback):
    """A minute passes in every batch, on a clock of its own."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr("devias.training.saving.time.monotonic", lambda: self.now)

    def on_train_batch_start(self, *args):
        self.now += 60


def fit(folder, *extra, batches=5, resume=False, term=None, saver=None, **settings):
    """Two epochs; → where the file was saved: optimizer steps, batches of the epoch."""
    saver = Saves(folder, **saver or {})
    trainer = stub_trainer(
        folder,
        saver,
        ExactResume(),
        *extra,
        **{"max_epochs": 2, "enable_checkpointing": True} | settings,
    )
    module = stub_module(term or Constant(1.0))
    resume = folder / "last.ckpt" if resume else None
    data = [BATCH] * batches
    trainer.fit(module, loader(*data), [loader(BATCH)], ckpt_path=resume, weights_only=True)
    return saver.places


ENDS = [(5, 5), (10, 5)]


@pytest.mark.parametrize(
    ("settings", "within"),
    [
        ({}, []),
        ({"every_n_steps": 2}, [(2, 2), (4, 4), (6, 1), (8, 3)]),
        ({"every_n_steps": 1}, [(s, (s - 1) % 5 + 1) for s in (1, 2, 3, 4, 6, 7, 8, 9)]),
        ({"every_n_steps": 7}, [(7, 2)]),
        ({"every_n_steps": 100}, []),
    ],
)
def test_steps_are_counted_over_epochs_whose_ends_save_once_as_ever(tmp_path, settings, within):
    assert fit(tmp_path, saver=settings) == sorted([*within, *ENDS])


def test_minutes_are_counted_from_the_last_time_the_file_was_written(tmp_path, monkeypatch):
    places = fit(tmp_path, Tick(monkeypatch), saver={"every_minutes": 3})
    assert places == [(3, 3), (5, 5), (8, 3), (10, 5)]  # not at 6, a minute after the fifth
    steps_too = {"every_minutes": 3, "every_n_steps": 2}
    assert fit(tmp_path, Tick(monkeypatch), saver=steps_too)[:3] == [(2, 2), (4, 4), (5, 5)]


def test_accumulated_batches_are_not_torn_apart(tmp_path):
    places = fit(tmp_path, saver={"every_n_steps": 1}, batches=5, accumulate_grad_batches=2)
    assert places == [(1, 2), (2, 4), (3, 5), (4, 2), (5, 4), (6, 5)]


def test_what_falls_on_a_validation_waits_for_the_step_after_it(tmp_path):
    saver = {"every_n_steps": 2}
    assert fit(tmp_path, saver=saver, batches=6, val_check_interval=2, max_epochs=1) == [
        (3, 3),
        (5, 5),
        (6, 6),
    ]


class StopSoon(L.Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        trainer.should_stop = batch_idx == 2


@pytest.mark.parametrize("end", [{"max_steps": 3}, {"callbacks": [StopSoon()]}])
def test_the_step_that_ends_training_is_saved_after_the_epoch(tmp_path, end):
    assert fit(
        tmp_path, *end.pop("callbacks", ()), saver={"every_n_steps": 1}, batches=5, **end
    ) == [(1, 1), (2, 2), (3, 3)]
    loops = torch.load(tmp_path / "last.ckpt", weights_only=True)["loops"]
    # Counted after the last batch, before the hook at an epoch's end.
    assert loops["fit_loop"]["epoch_progress"]["current"]["processed"] == 1


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    with pytest.raises(Exception, match="became NaN"):
        fit(
            tmp_path,
            StopOnNonFiniteLoss(50),
            saver={"every_n_steps": 1},
            term=Poison(3, "bad"),
        )
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 2


class Stop(Exception):
    pass


class StopAfter(L.Callback):
    """As a kill between two batches: nothing of Lightning's is saved."""

    def __init__(self, batches):
        self.left = batches

    def on_train_batch_start(self, *args):
        self.left -= 1
        if self.left < 0:
            raise Stop


class Validations(L.Callback):
    def __init__(self):
        self.steps = []

    def on_validation_start(self, trainer, pl_module):
        self.steps.append(trainer.global_step)


@pytest.mark.parametrize("interval", [1.0, 2])
@pytest.mark.parametrize("accumulated", [1, 2])
@pytest.mark.parametrize("batches", [1, 2, 3, 5, 6, 7, 8, 11])
def test_a_run_that_is_cut_anywhere_takes_the_same_steps_and_validations(
    tmp_path, interval, accumulated, batches
):
    settings = {
        "batches": 6,
        "saver": {"every_n_steps": 1},
        "val_check_interval": interval,
        "accumulate_grad_batches": accumulated,
    }
    whole, cut = Validations(), Validations()
    places = fit(tmp_path / "whole", whole, **settings)
    with pytest.raises(Stop):
        fit(tmp_path / "cut", cut, StopAfter(batches), **settings)
    begun = (tmp_path / "cut" / "last.ckpt").exists()
    resumed = fit(tmp_path / "cut", cut, resume=begun, **settings)
    assert set(resumed) <= set(places)
    assert resumed[-1] == places[-1]
    # Those between the checkpoint and the cut are repeated.
    assert sorted(set(cut.steps)) == whole.steps
    ours, theirs = (
        torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("cut", "whole")
    )
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"):
        assert repr(ours[key]) == repr(theirs[key])
    assert (
        ours["loops"]["fit_loop"]["epoch_progress"] == theirs["loops"]["fit_loop"]["epoch_progress"]
    )


@pytest.mark.parametrize("name", ["every_n_steps", "every_minutes"])
def test_nothing_is_saved_every_zeroth_step(tmp_path, name):
    with pytest.raises(ConfigError, match=rf"callbacks.last.{name}=0 must be above 0"):
        LastCheckpoint(str(tmp_path), **{name: 0})


def test_a_fast_dev_run_saves_nothing(tmp_path):
    assert fit(tmp_path, saver={"every_n_steps": 1}, fast_dev_run=True) == []
    assert not (tmp_path / "last.ckpt").exists()
