import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import OmegaConf

from devias.data.samplers import ResumeError
from devias.errors import ConfigError
from devias.training.checkpoint_io import AtomicCheckpointIO
from devias.training.checkpoints import (
    CheckpointError,
    final_checkpoint,
    load_checkpoint,
    resume_from,
    run_checkpoint,
    stored_config,
)

CONFIG = {
    "seed": 3,
    "weights": None,
    "augment": {"prob_aug": 0.5},
    "data": {"root": "${paths.datasets}/x", "num_clips": 2, "crop_scale": [0.5, 1.0]},
    "paths": {"datasets": "d"},
}


def write(path, content=None):
    """A checkpoint as a run leaves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = content or {"state_dict": {"w": torch.arange(900.0)}}
    config = OmegaConf.to_yaml(OmegaConf.create(CONFIG))
    torch.save({"devias_config": config, "devias_layout": 2} | content, path)
    return path


def settings(folder, ckpt_path=None, train=True):
    changes = {"paths": {"run_dir": str(folder)}, "ckpt_path": ckpt_path, "train": train}
    return OmegaConf.merge(CONFIG, changes)


def test_resume(tmp_path):
    new, old = tmp_path / "new", tmp_path / "old"
    last = write(old / "checkpoints" / "last.ckpt")
    best = write(old / "checkpoints" / "best.ckpt")
    assert resume_from(settings(new)) is None
    assert resume_from(settings(new, "auto")) is None
    assert resume_from(settings(old, "auto")) == last
    assert resume_from(settings(old, "last")) == last
    assert resume_from(settings(old, str(best))) == best
    assert resume_from(settings(new, str(last))) == last
    assert resume_from(settings(old, train=False)) is None
    assert resume_from(settings(old, str(best), train=False)) == best


def test_resume_from_nothing(tmp_path):
    with pytest.raises(CheckpointError, match=r"checkpoints/last\.ckpt does not exist"):
        resume_from(settings(tmp_path, "last"))
    with pytest.raises(CheckpointError, match=r"nowhere/x\.ckpt does not exist"):
        resume_from(settings(tmp_path, "nowhere/x.ckpt"))


def test_resuming_with_other_settings_is_refused_and_evaluating_is_not(tmp_path):
    last = write(tmp_path / "checkpoints" / "last.ckpt")
    config = settings(tmp_path, "last")
    config.augment.prob_aug = 0.25
    with pytest.raises(ResumeError, match=r"augment\.prob_aug was 0\.5, is 0\.25"):
        resume_from(config)
    assert resume_from(OmegaConf.merge(config, {"train": False})) == last


@pytest.mark.parametrize("layout", [None, 1, 3])
def test_checkpoints_of_another_layout_are_told_from_todays(tmp_path, layout):
    path = write(tmp_path / "x.ckpt", {"devias_layout": layout})
    if layout is None:  # as before layouts had numbers
        content = torch.load(path, weights_only=True)
        del content["devias_layout"]
        torch.save(content, path)
    message = rf"x\.ckpt was written by another version .*\({layout or 1}, here 2\).*weights="
    for read in (run_checkpoint, lambda path: stored_config(path, [])):
        with pytest.raises(CheckpointError, match=message):
            read(path)
    assert "state_dict" in load_checkpoint(write(path))


def test_the_checkpoints_of_another_run_are_not_overwritten(tmp_path):
    occupied = write(tmp_path / "old" / "checkpoints" / "last.ckpt")
    other = write(tmp_path / "other" / "checkpoints" / "last.ckpt")
    for ckpt_path in (None, str(other)):
        with pytest.raises(CheckpointError, match="continue it with ckpt_path=last") as caught:
            resume_from(settings(tmp_path / "old", ckpt_path))
        assert str(caught.value).startswith(f"{occupied} belongs to an earlier run")


def test_resuming_from_a_relative_path(tmp_path, monkeypatch):
    write(tmp_path / "old" / "checkpoints" / "last.ckpt")
    monkeypatch.chdir(tmp_path)
    path = resume_from(settings(tmp_path / "old", "old/checkpoints/last.ckpt"))
    assert path.exists()


def finished(final_weights, *savers):
    return SimpleNamespace(
        config=OmegaConf.create({"compat": {"final_weights": final_weights}}),
        trainer=SimpleNamespace(checkpoint_callbacks=savers),
    )


def saver(path, monitor=None):
    saver = ModelCheckpoint(monitor=monitor)
    saver.best_model_path = path
    return saver


def test_the_final_checkpoint():
    savers = [saver("a/best.ckpt", "val/harmonic_mean"), saver("a/last.ckpt", None)]
    for kind in ("best", "last"):
        assert final_checkpoint(finished(kind, *savers)) == (Path(f"a/{kind}.ckpt"), [])


def test_without_a_best_checkpoint_the_last_weights_are_final_and_it_is_noted():
    unused, last = saver("", "val/harmonic_mean"), saver("a/last.ckpt", None)
    for savers, path in (([unused, last], Path("a/last.ckpt")), ([unused], None), ([], None)):
        found, notes = final_checkpoint(finished("best", *savers))
        assert found == path
        assert [note.partition(":")[0] for note in notes] == ["weights of the last step"]


def test_without_a_last_checkpoint_the_weights_at_hand_are_the_last():
    best = saver("a/best.ckpt", "val/harmonic_mean")
    assert final_checkpoint(finished("last", best)) == (None, [])


class Code:
    def __reduce__(self):
        return (os.mkdir, ("ran",))


def damaged(kind, path):
    whole = write(path).read_bytes()
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": Code()}))
    elif kind == "zipped pickle":
        torch.save({"state_dict": Code()}, path)
    else:
        path.write_bytes(
            {
                "web page": b"<!DOCTYPE html><html><body>Not found</body></html>",
                "git lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 2\n",
                "empty": b"",
                "half": whole[: len(whole) // 2],
                "end": whole[:-20],
                "noise": bytes(range(256)) * 4,
            }[kind]
        )


KINDS = ["pickle", "zipped pickle", "web page", "git lfs", "empty", "half", "end", "noise"]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_checkpoint_is_refused_by_name_and_never_run(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.ckpt"
    damaged(kind, path)
    with pytest.raises(
        CheckpointError, match=r"x\.ckpt is not a readable checkpoint: is (truncated|refused)"
    ):
        load_checkpoint(path)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(CheckpointError, match=r"x\.ckpt is not a readable"):
        resume_from(settings(tmp_path / "run", str(path)))


@given(cut=st.floats(0, 0.999))
def test_every_truncation_is_noticed(tmp_path_factory, cut):
    path = write(tmp_path_factory.mktemp("cut") / "x.ckpt")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(CheckpointError, match=r"x\.ckpt"):
        load_checkpoint(path)


def test_what_is_readable_but_no_checkpoint_of_a_run(tmp_path):
    torch.save(torch.ones(3), tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=r"x\.ckpt holds a Tensor"):
        load_checkpoint(tmp_path / "x.ckpt")
    torch.save({"model": {"w": torch.ones(3)}}, tmp_path / "released.pth")
    with pytest.raises(CheckpointError, match=r"released\.pth holds no configuration.*weights=…"):
        run_checkpoint(tmp_path / "released.pth")
    with pytest.raises(CheckpointError, match=r"nothing\.ckpt does not exist"):
        load_checkpoint(tmp_path / "nothing.ckpt")


def test_the_stored_configuration_with_overrides(tmp_path):
    path = write(tmp_path / "x.ckpt")
    assert stored_config(path, []) == CONFIG
    assert stored_config(path, ["paths.datasets=/e"]).data.root == "/e/x"
    with pytest.raises(ConfigError, match=r"x\.ckpt: override 'data\.num_clip=5': .* no key"):
        stored_config(path, ["seed=4", "data.num_clip=5"])


def test_a_checkpoint_is_replaced_at_once_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "new folder" / "x.ckpt"
    AtomicCheckpointIO().save_checkpoint({"a": 1}, path)
    before = path.read_bytes()

    def interrupted(content, partial):
        partial.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        AtomicCheckpointIO().save_checkpoint({"a": 2}, path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["x.ckpt"]
