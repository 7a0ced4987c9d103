"""Requests to stop, at any moment and of any rank."""

import os
import signal

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import distributed, multiprocessing

from devias.training.exact_resume import ExactResume
from devias.training.preemption import StopOnSignal, exit_code_of
from devias.training.ranks import PAUSE_FILE, PAUSED
from stub_parts import Constant, Poison, clips, loader, stub_module, stub_trainer

BATCH = clips(answers=[(0, 1), (2, 3)], labels=[(0, 1), (2, 3)])


class Ask(L.Callback):
    """Sends a signal to this process at a hook, at a batch of the second epoch."""

    def __init__(self, number, hook="on_train_batch_start", batch=1):
        self.number, self.batch = number, batch
        setattr(self, hook, self._ask)

    def _ask(self, trainer, pl_module, *args):
        batch_idx = next(arg for arg in args if isinstance(arg, int))
        if trainer.current_epoch == 1 and batch_idx == self.batch:
            os.kill(os.getpid(), self.number)


def parts(folder, *extra, term=None, **settings):
    """A trainer that validates and saves every epoch of four steps, and a module."""
    last = ModelCheckpoint(
        folder, "last", save_on_train_epoch_end=True, enable_version_counter=False
    )
    stop = StopOnSignal()
    settings = {"max_epochs": 3, "enable_checkpointing": True} | settings
    trainer = stub_trainer(folder, last, ExactResume(), stop, *extra, **settings)
    return trainer, stub_module(term or Constant(1.0)), stop


def fit(trainer, module, resume=None):
    path = resume and resume / "last.ckpt"
    trainer.fit(module, loader(*[BATCH] * 4), [loader(BATCH)], ckpt_path=path, weights_only=True)


def stopped(folder, *extra, term=None, **settings):
    """Train until asked to stop → the exit code, and the checkpoint."""
    trainer, module, _ = parts(folder, *extra, term=term, **settings)
    with pytest.raises(SIGTERMException):
        fit(trainer, module)
    return exit_code_of(trainer), torch.load(folder / "last.ckpt", weights_only=True)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGUSR1, PAUSED), (signal.SIGUSR2, PAUSED)],
)
def test_the_batch_is_finished_and_saved(tmp_path, monkeypatch, number, code):
    monkeypatch.setenv(PAUSE_FILE, str(tmp_path / "pause"))
    before = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)]
    ended, last = stopped(tmp_path, Ask(number))
    assert (ended, last["global_step"]) == (code, 6)
    assert (tmp_path / "pause").exists() == (code == PAUSED)
    after = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)]
    assert after == before


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    _, last = stopped(tmp_path, Ask(signal.SIGTERM), term=Poison(5, "bad"))
    assert last["global_step"] == 4
    assert all(value.isfinite().all() for value in last["state_dict"].values())


@pytest.mark.parametrize(
    ("hook", "batch"), [("on_validation_batch_start", 0), ("on_train_batch_end", 3)]
)
def test_an_epoch_is_finished_where_a_validation_is_under_way_or_due(tmp_path, hook, batch):
    code, last = stopped(tmp_path, Ask(signal.SIGUSR1, hook, batch))
    assert (code, last["global_step"]) == (PAUSED, 8)
    assert last["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"] == 2
    seen = []

    class Watch(L.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            seen.append((trainer.current_epoch, batch_idx))

    trainer, module, _ = parts(tmp_path, Watch())
    fit(trainer, module, tmp_path)
    assert seen == [(2, 0), (2, 1), (2, 2), (2, 3)]


@pytest.mark.parametrize("hook", ["on_train_start", "on_fit_start"])
def test_before_the_first_batch_nothing_is_saved(tmp_path, hook):
    class Early(L.Callback):
        pass

    ask = Early()
    setattr(ask, hook, lambda *_: os.kill(os.getpid(), signal.SIGUSR2))
    trainer, module, _ = parts(tmp_path)
    trainer.callbacks.insert(0, ask)  # StopOnSignal's hook comes later
    with pytest.raises(SystemExit) as caught:
        fit(trainer, module)
    assert caught.value.code == PAUSED
    assert not (tmp_path / "last.ckpt").exists()


def test_a_test_ends_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv(PAUSE_FILE, str(tmp_path / "pause"))

    class DuringTest(L.Callback):
        def on_test_batch_start(self, *_):
            os.kill(os.getpid(), signal.SIGUSR2)
            pytest.fail("went on")

    trainer, module, _ = parts(tmp_path, DuringTest())
    with pytest.raises(SystemExit) as caught:
        trainer.test(module, [loader(BATCH)], verbose=False)
    assert caught.value.code == PAUSED
    assert (tmp_path / "pause").exists()


def test_a_loader_s_process_is_not_meant(tmp_path):
    trainer, module, stop = parts(tmp_path)
    stop.setup(trainer, module, "fit")
    pid = os.fork()
    if not pid:
        os.kill(os.getpid(), signal.SIGUSR2)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    stop.teardown(trainer, module, "fit")


def on_rank(rank, folder, number, asked):
    """One of two ranks, of which one is asked to stop."""
    torch.set_num_threads(1)
    store = distributed.FileStore(str(folder / "store"), 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    extra = [Ask(number)] if rank == asked else []
    ddp = {"strategy": "ddp", "devices": 2, "use_distributed_sampler": False}
    ddp["limit_val_batches"] = 0  # both would see the same videos
    trainer, module, stop = parts(folder, *extra, **ddp)
    try:
        fit(trainer, module)
    except SIGTERMException:
        ended = (trainer.global_step, stop.stopped, exit_code_of(trainer))
        torch.save(ended, folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("asked", [0, 1])
def test_one_rank_that_is_asked_stops_all_after_the_same_step(tmp_path, asked):
    multiprocessing.start_processes(
        on_rank, (tmp_path, signal.SIGUSR1, asked), 2, start_method="fork"
    )
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first == (7, signal.SIGUSR1, PAUSED)  # the batch after it was asked
    assert second == (7, signal.SIGUSR1, 0)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 7
