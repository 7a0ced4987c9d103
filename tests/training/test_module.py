import pytest
import torch

from devias.config import compose
from devias.labels.scene_teacher import SceneTeacher
from devias.models.baselines import TokenViT
from devias.models.heads import UnifiedHead
from devias.structures import UNKNOWN, ClipBatch, SlotPrediction
from devias.training.callbacks import StopOnNonFiniteLoss
from devias.training.optim import build_optimizer
from devias.training.run import build_data, build_losses, build_module, build_stage
from devias.weights.assign import video_vit
from helpers import TINY_SYNTHETIC
from stub_parts import Constant, Counting, clips, loader, stub_module, stub_trainer
from sync_guard import no_host_sync

BATCH = clips(answers=[(0, 1), (2, 3)], labels=[(0, 1), (2, 3)])


def test_the_loss_is_the_weighted_sum_and_every_term_is_logged_by_name(monkeypatch):
    module = stub_module(Constant(3.0, 0.5, "first"), Constant(2.0, 4.0, "second"))
    logged = {}
    monkeypatch.setattr(module, "log_dict", lambda values, **_: logged.update(values))
    output = module.training_step(BATCH, 0)
    assert output["loss"].item() == pytest.approx(0.5 * 3 + 4 * 2)
    assert output["terms"].tolist() == pytest.approx([3, 2])
    assert not output["terms"].requires_grad
    assert logged.keys() == {"loss/first", "loss/second", "loss/total"}
    assert [logged[f"loss/{name}"].item() for name in ("first", "second", "total")] == [3, 2, 9.5]
    output["loss"].backward()
    assert module.model.scale.grad.item() == pytest.approx(9.5 / 2)  # the terms are ∝ the scale


def test_a_weight_that_a_term_changes_counts_from_the_next_step():
    term = Constant(3.0, 1.0)
    module = stub_module(term)
    term.weight = 10.0
    assert module.training_step(BATCH, 0)["loss"].item() == 30


def test_in_training_the_labels_decide_the_roles():
    logits = torch.zeros(1, 2, 10)
    logits[0, 0, 0] = 5  # slot 0 is sure of action 0,
    logits[0, 1, 1] = 1  # but the label is action 1, of which slot 1 knows more
    logits[0, 0, 3 + 2] = 1
    term = Constant(1.0)
    module = stub_module(term)
    prediction = SlotPrediction(logits, logits, 3, (1, 1, 1))
    module.model.forward = lambda video: prediction
    module.training_step(clips(answers=[(0, 0)], labels=[(1, 2)]), 0)
    (roles,) = term.seen
    assert (roles.action.item(), roles.scene.item()) == (1, 0)
    assert module.matcher.infer(prediction).action.item() == 0


def full_step_parts(*overrides: str):
    """A DEVIAS module, a stage with masks, mixing and a scene model, and a loader's batch."""
    config = compose(*TINY_SYNTHETIC, "backbone.drop_path_rate=0.3", *overrides)
    losses = build_losses(config)
    stage = build_stage(config, losses)
    sizes = {"image_size": config.backbone.image_size, "num_frames": config.backbone.num_frames}
    vit = video_vit(**sizes, patch_size=24, embed_dim=12, depth=1, num_heads=2, num_tokens=1)
    stage.scene_teacher = SceneTeacher(TokenViT(vit, UnifiedHead(12, 0, 8)))
    batch = ClipBatch(
        video=torch.randint(0, 256, (5, 3, 8, 48, 48), dtype=torch.uint8),
        action=torch.tensor([0, 7, 3, 3, 1]),
        scene=torch.tensor([2, UNKNOWN, 7, 0, UNKNOWN]),
        index=torch.arange(5),
    )
    return build_module(config, build_data(config, stage, 5), losses), stage, batch


@pytest.mark.parametrize(
    ("masks", "compat", "cut"),
    [("fame", "paper", "clip"), ("fame", "official", "clip"), ("motion_em", "paper", "frame")],
)
def test_no_part_of_a_training_step_waits_for_the_device(masks, compat, cut, monkeypatch):
    overrides = (f"masks={masks}", f"compat={compat}", f"augment.masks={cut}")
    module, stage, raw = full_step_parts(*overrides)
    assert set(module.losses) == {
        "action_recognition",
        "scene_recognition",
        "mask_prediction",
        "attention_guidance",
        "slot_diversity",
    }
    monkeypatch.setattr(module, "log_dict", lambda *_, **__: None)
    optimizer, schedule = build_optimizer(module.model, module.optimizer_settings, 5, 10, 20)
    watch = StopOnNonFiniteLoss(every_n_steps=10)
    module.train()
    stage.train()
    before = [parameter.clone() for parameter in module.parameters()]
    for step in range(2):  # the second step finds the optimizer's state in place
        with no_host_sync():
            batch = stage(raw)
            output = module.training_step(batch, step)
            output["loss"].backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            watch.on_train_batch_end(None, module, output, batch, step)
    assert batch.clip_mask.amax() > 0
    assert (batch.scene != UNKNOWN).all()
    assert output["terms"].isfinite().all()
    after = list(module.parameters())
    changed = sum(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert changed == len(after)


class Guard(Counting):
    """Watches what Lightning does between the two hooks: closure, optimizer, schedule, logging."""

    def on_train_batch_start(self, *args):
        self.guard = no_host_sync()
        self.guard.__enter__()

    def on_train_batch_end(self, *args):
        self.guard.__exit__(None, None, None)
        super().on_train_batch_end()

    def on_exception(self, *args):
        self.guard.__exit__(None, None, None)


def test_the_trainer_does_not_wait_for_the_device_either(tmp_path):
    guard = Guard(1.0, name="guard")
    trainer = stub_trainer(tmp_path, gradient_clip_val=1.0)
    trainer.fit(stub_module(guard), loader(BATCH, BATCH, BATCH))
    assert guard.batches == 3


def test_loss_terms_are_callbacks_and_their_state_survives_a_checkpoint(tmp_path):
    terms = [Counting(1.0, name="one"), Counting(1.0, name="two")]
    module = stub_module(*terms)
    assert module.configure_callbacks() == terms
    trainer = stub_trainer(tmp_path, max_epochs=2)
    trainer.fit(module, loader(BATCH, BATCH, BATCH))
    assert [term.batches for term in terms] == [6, 6]
    terms[1].batches = 100
    trainer.save_checkpoint(tmp_path / "x.ckpt")

    resumed = [Counting(1.0, name="one"), Counting(1.0, name="two")]
    stub_trainer(tmp_path, max_epochs=3).fit(
        stub_module(*resumed), loader(BATCH, BATCH, BATCH), ckpt_path=tmp_path / "x.ckpt"
    )
    assert [term.batches for term in resumed] == [9, 103]


def test_the_schedule_counts_optimizer_steps(tmp_path):
    module = stub_module(Constant(1.0))
    trainer = stub_trainer(tmp_path, accumulate_grad_batches=2, max_epochs=2)
    trainer.fit(module, loader(BATCH, BATCH, BATCH, BATCH))
    assert module.lr_schedulers().last_epoch == trainer.global_step == 4
    # The fourth and last of the steps was taken at the end of the cosine.
    (rate,) = {group["lr"] for group in module.optimizers().param_groups}
    assert rate == pytest.approx(module.optimizer_settings.min_lr / 256)


SEEN = clips([(0, 0), (1, 1), (2, 2), (0, 3)], [(0, 0), (1, 1), (2, 2), (2, 3)])
"""Three of four actions right, four of four scenes."""
UNSEEN = clips([(0, 0), (1, 1), (0, 4), (0, 5)], [(1, 0), (1, 6), (1, 6), (2, UNKNOWN)])
"""One of four actions right, one of three known scenes."""


def validate(tmp_path, *batches, **settings):
    splits = [f"val_{i}" for i in range(len(batches))]
    module = stub_module(validation=splits, **settings)
    trainer = stub_trainer(tmp_path)
    loaders = [loader(*split) for split in batches]
    trainer.validate(module, loaders, verbose=False)
    return module, trainer, loaders


def test_an_evaluation_that_was_interrupted_leaves_no_answers_to_the_next(tmp_path):
    module, trainer, loaders = validate(tmp_path, [SEEN])
    whole = module.predictions["val_0"].index.tolist()

    class Interrupted(Exception):
        pass

    def stop(*_):
        raise Interrupted

    module.on_validation_epoch_end, end = stop, module.on_validation_epoch_end
    with pytest.raises(Interrupted):
        trainer.validate(module, loaders, verbose=False)
    module.on_validation_epoch_end = end
    trainer.validate(module, loaders, verbose=False)
    assert module.predictions["val_0"].index.tolist() == whole


def test_validation_gives_each_split_its_metrics_and_their_harmonic_mean(tmp_path):
    module, trainer, loaders = validate(tmp_path, [SEEN], [UNSEEN])
    assert module.results["val_0"]["action_top1"] == pytest.approx(3 / 4)
    assert module.results["val_0"]["scene_top1"] == 1
    assert module.results["val_1"]["action_top1"] == pytest.approx(1 / 4)
    assert module.results["val_1"]["scene_top1"] == pytest.approx(1 / 3)
    expected = 4 / (4 / 3 + 1 + 4 + 3)  # 4 / Σ 1/xᵢ of 3/4, 1, 1/4, 1/3
    metrics = trainer.callback_metrics
    assert metrics["val/harmonic_mean"].item() == pytest.approx(expected)
    assert metrics["val_1/scene_top1"].item() == pytest.approx(1 / 3)
    # Nothing of one validation is left in the next.
    trainer.validate(module, loaders[::-1], verbose=False)
    assert module.results["val_0"]["action_top1"] == pytest.approx(1 / 4)


def test_a_metric_that_no_video_has_is_left_out_of_the_harmonic_mean(tmp_path):
    no_scene = clips([(0, 0), (1, 1), (0, 2)], [(0, UNKNOWN), (1, UNKNOWN), (1, UNKNOWN)])
    module, trainer, _ = validate(tmp_path, [SEEN], [no_scene])
    assert "scene_top1" not in module.results["val_1"]
    expected = 3 / (4 / 3 + 1 + 3 / 2)  # of 3/4, 1 and 2/3
    assert trainer.callback_metrics["val/harmonic_mean"].item() == pytest.approx(expected)


def test_the_harmonic_mean_takes_the_scene_accuracy_of_the_protocol(tmp_path):
    # All scenes are answered 0, the five best being 0–4: top-1 is 1/2, top-5 3/4.
    batch = clips([(0, 0)] * 4, [(0, 0), (0, 0), (0, 3), (0, 6)])
    _, trainer, _ = validate(tmp_path, [batch], scene_topk=5)
    expected = 2 / (1 + 4 / 3)  # of action top-1, which is 1, and 3/4
    assert trainer.callback_metrics["val/harmonic_mean"].item() == pytest.approx(expected)


def test_test_metrics_by_split_with_the_scene_bias_of_unseen_ones_only(tmp_path):
    home = [0, 1, 2, 0, 1, 2, 0]
    module = stub_module(sets=["seen", "unseen"], usual_actions={"unseen": home})
    trainer = stub_trainer(tmp_path)
    trainer.test(module, [loader(SEEN), loader(UNSEEN)], verbose=False)
    assert list(module.results) == ["seen", "unseen"]
    assert "scene_bias" not in module.results["seen"]
    # Of the unseen videos that show another action than their scene's home (the first three: 1
    # for 0, 1 for 0, 1 for 0), two are answered with the home action 0.
    assert module.results["unseen"]["scene_bias"] == pytest.approx(2 / 3)
    assert trainer.callback_metrics["unseen/scene_bias"].item() == pytest.approx(2 / 3)


def test_the_released_action_space_lets_a_scene_win(tmp_path):
    batch = clips([(0, 0)], [(0, 0)])
    for space, accuracy in (("half", 1.0), ("all", 0.0)):
        module = stub_module(action_space=space)
        prediction = module.model(batch.video)
        prediction.logits[:, :, 5] = 9  # scene 2, in both slots
        module.model.forward = lambda video, fixed=prediction: fixed
        stub_trainer(tmp_path).test(module, loader(batch), verbose=False)
        assert module.results["test"]["action_top1"] == accuracy


def test_test_step_hands_on_what_figures_need():
    module = stub_module()
    module.on_test_epoch_start()
    output = module.test_step(SEEN, 0)
    assert output["scores"].action.argmax(1).tolist() == [0, 1, 2, 0]
    assert output["roles"].scene.tolist() == [1, 1, 1, 1]
    assert output["prediction"].logits.shape == (4, 2, 10)
