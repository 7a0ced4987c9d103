import logging
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import OmegaConf

import devias
from devias.models.backbone import VideoViT
from devias.models.devias import DEVIAS
from devias.models.heads import UnifiedHead
from devias.models.mask_decoder import MaskDecoder
from devias.models.slot_attention import SlotAttention
from devias.training.callbacks import (
    LogEpochs,
    NonFiniteLossError,
    SeedEveryEpoch,
    StopOnNonFiniteLoss,
    StoreConfig,
)
from stub_parts import Constant, Poison, clips, loader, stub_module, stub_trainer

BATCH = clips(answers=[(0, 1), (2, 3)], labels=[(0, 1), (2, 3)])


def draws(seed, epoch, rank):
    trainer = SimpleNamespace(current_epoch=epoch, global_rank=rank)
    SeedEveryEpoch(seed).on_train_epoch_start(trainer, None)
    return torch.rand(()).item(), np.random.rand(), random.random()  # noqa: NPY002


def test_every_seed_epoch_and_rank_has_draws_of_its_own():
    first = draws(3, 1, 0)
    torch.rand(7)
    assert draws(3, 1, 0) == first
    others = [draws(3, 2, 0), draws(3, 1, 1), draws(4, 1, 0), draws(1, 3, 0), draws(3, 0, 1)]
    for generator in range(3):
        assert len({values[generator] for values in [first, *others]}) == 6


def fit_with_poison(folder, first, *, every, epochs=3, val=True):
    """Three steps an epoch; the second term is NaN from its call number `first` on."""
    saver = ModelCheckpoint(
        folder, monitor="val/harmonic_mean" if val else None, filename="best", save_last=True
    )
    trainer = stub_trainer(
        folder, saver, StopOnNonFiniteLoss(every), max_epochs=epochs, enable_checkpointing=True
    )
    module = stub_module(Constant(1.0, name="good"), Poison(first, "bad"))
    splits = [loader(BATCH)] if val else None
    trainer.fit(module, loader(BATCH, BATCH, BATCH), splits)
    return trainer


@pytest.mark.parametrize("every", [1, 2, 50])
@pytest.mark.parametrize("val", [True, False])
def test_a_non_finite_loss_stops_the_run_and_keeps_the_checkpoint(
    tmp_path, every, val, monkeypatch
):
    kept = {}
    save = ModelCheckpoint._save_checkpoint

    def remember(self, trainer, filepath):
        save(self, trainer, filepath)
        kept.update({path.name: path.read_bytes() for path in tmp_path.glob("*.ckpt")})

    monkeypatch.setattr(ModelCheckpoint, "_save_checkpoint", remember)
    with pytest.raises(NonFiniteLossError, match=r"loss term bad became NaN .*are kept.*lr") as e:
        fit_with_poison(tmp_path, 5, every=every, val=val)  # the second step of the second epoch
    # Looked after every step, after the second step of an epoch, or at its end.
    looks = {1: "4 and 5", 2: "3 and 5", 50: "3 and 6"}
    assert f"between steps {looks[every]};" in str(e.value)
    left = {path.name: path.read_bytes() for path in tmp_path.glob("*.ckpt")}
    assert left == kept
    assert {"best.ckpt", "last.ckpt"} <= left.keys()
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["global_step"] == 3
    assert all(tensor.isfinite().all() for tensor in state["state_dict"].values())


def test_finite_losses_do_not_stop_a_run(tmp_path):
    assert fit_with_poison(tmp_path, 100, every=1).global_step == 9


def test_the_terms_of_the_first_bad_step_are_named_even_if_all_recover():
    module = stub_module(Constant(1.0, name="a"), Constant(1.0, name="b"), Constant(1.0, name="c"))
    watch = StopOnNonFiniteLoss(every_n_steps=10)
    for step, terms in enumerate(
        [[1, 2, 3], [torch.inf, 2, torch.nan], [1, torch.nan, 3], [1, 2, 3]]
    ):
        watch.on_train_batch_end(None, module, {"terms": torch.tensor(terms)}, None, step)
    with pytest.raises(NonFiniteLossError, match="loss term a, c became"):
        watch.on_validation_start(SimpleNamespace(global_step=4), module)


def tiny_devias():
    backbone = VideoViT(image_size=6, num_frames=4, patch_size=3, embed_dim=8, depth=1, num_heads=2)
    return DEVIAS(
        backbone,
        SlotAttention(8, num_slots=3, iterations=2, num_heads=2, head_dim=3),
        UnifiedHead(8, num_actions=3, num_scenes=2),
        MaskDecoder(8, output=4, hidden_dims=[5]),
    )


def test_a_checkpoint_describes_itself_and_becomes_a_model_again(tmp_path):
    config = OmegaConf.create({"seed": 3, "data": {"root": "${paths.datasets}"}})
    model = tiny_devias()
    trainer = stub_trainer(tmp_path, StoreConfig(OmegaConf.to_yaml(config)))
    trainer.strategy.connect(stub_module(Constant(1.0), model=model))
    path = tmp_path / "x.ckpt"
    trainer.save_checkpoint(path)

    content = torch.load(path, weights_only=True)
    assert OmegaConf.create(content["devias_config"]) == config
    assert content["architecture"]["slot_attention"]["num_slots"] == 3
    loaded = devias.load_model(path)
    assert not loaded.training
    video = torch.randn(2, 3, 4, 6, 6)
    with torch.no_grad():
        ours, theirs = model.eval()(video), loaded(video)
    for name in ("slots", "logits", "attention", "mask_logits"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name))


@pytest.mark.parametrize("terminal", [True, False])
def test_epochs_are_logged_where_no_bar_can_be_drawn(tmp_path, caplog, monkeypatch, terminal):
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    trainer = stub_trainer(tmp_path, LogEpochs(), max_epochs=2, logger=True)
    with caplog.at_level(logging.INFO, logger="devias"):
        trainer.fit(stub_module(Constant(1.0)), loader(BATCH), val_dataloaders=[loader(BATCH)])
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("devias")]
    if terminal:
        assert lines == []
    else:
        assert [line.partition(":")[0] for line in lines] == ["epoch 1 of 2", "epoch 2 of 2"]
        assert "val/harmonic_mean 1.000" in lines[0]


def test_epochs_without_a_last_one_are_only_counted(tmp_path, caplog):
    trainer = stub_trainer(tmp_path, LogEpochs(), max_epochs=-1, max_steps=1, limit_val_batches=0)
    with caplog.at_level(logging.INFO, logger="devias"):
        trainer.fit(stub_module(Constant(1.0)), loader(BATCH))
    assert "epoch 1: loss/total" in caplog.text


def test_a_run_that_logs_no_step_is_checked_at_the_end_of_epochs(tmp_path):
    with pytest.raises(NonFiniteLossError, match="between steps 0 and 3"):
        fit_with_poison(tmp_path, 1, every=0)
