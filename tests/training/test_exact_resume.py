import logging
import shutil
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from devias.data.datamodule import VideoDataModule
from devias.data.samplers import ResumeError, TrainSampler
from devias.training.exact_resume import ExactResume
from stub_parts import Constant, clips, loader, stub_module, stub_trainer

RIGHT = clips(answers=[(0, 1), (2, 3)], labels=[(0, 1), (2, 3)])
WRONG = clips(answers=[(1, 2), (1, 4)], labels=[(0, 1), (2, 3)])


def fit(folder, batch=RIGHT, resume=None, **settings):
    """Three steps an epoch, validated on `batch` → the trainer, the best and the last saver."""
    same_name = {"enable_version_counter": False}
    best = ModelCheckpoint(folder, "best", "val/harmonic_mean", mode="max", **same_name)
    last = ModelCheckpoint(folder, "last", **same_name)
    trainer = stub_trainer(folder, best, last, ExactResume(), enable_checkpointing=True, **settings)
    module = stub_module(Constant(1.0))
    trainer.fit(
        module,
        loader(RIGHT, RIGHT, RIGHT),
        [loader(batch)],
        ckpt_path=resume and folder / f"{resume}.ckpt",
        weights_only=True,
    )
    return trainer, best, last


def test_a_moved_run_keeps_its_best_checkpoint(tmp_path):
    fit(tmp_path / "a", max_epochs=1)
    before = (tmp_path / "a" / "best.ckpt").read_bytes()
    assert str(tmp_path).encode() not in before
    (tmp_path / "a").rename(tmp_path / "b")
    _, best, last = fit(tmp_path / "b", WRONG, "last", max_epochs=2)
    assert (tmp_path / "b" / "best.ckpt").read_bytes() == before
    assert (best.best_model_score, best.best_model_path) == (1, str(tmp_path / "b" / "best.ckpt"))
    assert last.best_model_path == str(tmp_path / "b" / "last.ckpt")
    assert not (tmp_path / "a").exists()


def test_a_copied_run_leaves_the_original_s_alone(tmp_path):
    fit(tmp_path / "a", WRONG, max_epochs=1)
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    _, best, _ = fit(tmp_path / "b", RIGHT, "last", max_epochs=2)
    assert best.best_model_score == 1
    assert torch.load(best.best_model_path, weights_only=True)["epoch"] == 1
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before


def test_where_the_best_is_missing_it_is_chosen_anew(tmp_path, caplog):
    fit(tmp_path / "a", max_epochs=1)
    (tmp_path / "b").mkdir()
    shutil.copy(tmp_path / "a" / "last.ckpt", tmp_path / "b")
    with caplog.at_level(logging.INFO):
        _, best, _ = fit(tmp_path / "b", WRONG, "last", max_epochs=2)
    assert f"chosen among checkpoints in {tmp_path / 'b'} alone" in caplog.text
    assert best.best_model_path == str(tmp_path / "b" / "best.ckpt")
    assert best.best_model_score == 0


def test_absolute_paths_of_earlier_checkpoints_move_as_well(tmp_path):
    fit(tmp_path / "a", max_epochs=1)
    content = torch.load(tmp_path / "a" / "last.ckpt", weights_only=True)
    for state in content["callbacks"].values():
        if "best_k_models" in state:
            assert state["dirpath"] == "."
            state["dirpath"] = str(tmp_path / "a")
            for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
                state[key] = state[key] and str(tmp_path / "a" / state[key])
            models = state["best_k_models"].items()
            state["best_k_models"] = {str(tmp_path / "a" / path): s for path, s in models}
    torch.save(content, tmp_path / "a" / "last.ckpt")
    (tmp_path / "a").rename(tmp_path / "b")
    _, best, _ = fit(tmp_path / "b", WRONG, "last", max_epochs=2)
    assert (best.best_model_score, best.best_model_path) == (1, str(tmp_path / "b" / "best.ckpt"))


@pytest.mark.parametrize(
    ("first", "then", "steps", "epochs"),
    [
        # Lightning alone counts the fourth step as an epoch, or skips the second one.
        ({"max_steps": 4}, {"max_epochs": 2}, 6, 2),
        ({"max_steps": 4}, {"max_steps": 9}, 9, 3),
        ({"max_steps": 3}, {"max_steps": 6}, 6, 2),
        ({"max_epochs": 1}, {"max_steps": 6}, 6, 2),
    ],
)
def test_every_epoch_is_whole_however_the_run_was_cut_short(tmp_path, first, then, steps, epochs):
    fit(tmp_path, **{"max_epochs": -1} | first)
    trainer, *_ = fit(tmp_path, resume="last", **{"max_epochs": -1} | then)
    assert (trainer.global_step, trainer.current_epoch) == (steps, epochs)


def test_a_begun_epoch_goes_on_with_the_same_batches_alone():
    sampler = TrainSampler(16, seed=1)  # made before, as strategies do that restore late
    data = SimpleNamespace(batch_size=2, trainer=SimpleNamespace(world_size=1), _sampler=sampler)
    state = {"epoch": 3, "batches": 5, "batch_size": 2, "world_size": 1}
    VideoDataModule.load_state_dict(data, state)
    assert (data._epoch, data._drawn_batches) == (3, 5)
    whole = TrainSampler(16, seed=1)
    whole.set_epoch(3)
    assert [*sampler] == [*whole][10:]
    for key in ("batch_size", "world_size"):
        with pytest.raises(ResumeError, match=rf"same {key.replace('_', ' ')}: 4 then, . now"):
            VideoDataModule.load_state_dict(data, state | {key: 4})
        VideoDataModule.load_state_dict(data, state | {"batches": 0, key: 4})
