"""Every row of the tables trains: what the pages in `experiments/` list, a few steps each."""

import re
from pathlib import Path

import pytest
import torch

from devias.cli.train import train
from devias.config import compose, config_dir
from devias.evaluation.views import score_videos
from devias.structures import UNKNOWN, ClipBatch
from devias.training.optim import build_optimizer
from devias.training.run import build_run
from helpers import TINY_SYNTHETIC, run_parts, tiny_run
from sync_guard import no_host_sync

PAGES = [
    Path(config_dir()).parent / "experiments" / f"{name}.md" for name in ("baselines", "ablations")
]
ROWS = list(
    dict.fromkeys(
        overrides
        for page in PAGES
        for overrides in re.findall(r"^\|.*\| `([^`]+)` \|$", page.read_text(), re.MULTILINE)
    )
)
CLIPS = 4


def raw_batch():
    """As the loader makes it."""
    return ClipBatch(
        video=torch.randint(0, 256, (CLIPS, 3, 8, 48, 48), dtype=torch.uint8),
        action=torch.tensor([0, 7, 3, UNKNOWN]),
        scene=torch.tensor([2, UNKNOWN, 7, 0]),
        index=torch.arange(CLIPS),
        ground_truth_masks=torch.rand(CLIPS, 8, 48, 48) > 0.8,
    )


def parts(*overrides):
    """The module of a row and its stage, at tiny sizes."""
    config = compose(*TINY_SYNTHETIC, *overrides)
    module, data = run_parts(config)
    return module, data.train.stage


def run_steps(module, stage, monkeypatch, steps=2):
    """Train on one batch → the loss terms' values, one row a step."""
    monkeypatch.setattr(module, "log_dict", lambda *args, **kwargs: None)
    optimizer, schedule = build_optimizer(module.model, module.optimizer_settings, 32, 2, steps)
    values = []
    for step in range(steps):
        batch = stage.train()(raw_batch())
        with no_host_sync():
            output = module.training_step(batch, step)
            output["loss"].backward()
        values.append(output["terms"])
        optimizer.step()
        schedule.step()
        if step < steps - 1:
            optimizer.zero_grad()
    return torch.stack(values)


@pytest.fixture(scope="module")
def segformer(tmp_path_factory):
    """A folder with a small SegFormer of random weights."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("segformer")
    config = transformers.SegformerConfig(
        depths=[1] * 4, hidden_sizes=[8] * 4, decoder_hidden_size=8, num_labels=19
    )
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    return folder


def test_the_tables_are_found():
    assert len(ROWS) > 40
    assert {"model=devias", "model=two_token augment=fame", "decoder=pixel"} < set(ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_every_row_trains_and_answers(row, monkeypatch, request):
    overrides = row.split()
    if "masks=segformer" in overrides:
        overrides.append(f"masks.model={request.getfixturevalue('segformer')}")
    module, stage = parts(*overrides)
    values = run_steps(module, stage, monkeypatch)
    assert values.shape == (2, len(module.losses))
    assert values.isfinite().all()
    # Distributed training waits for the gradient of every parameter.
    idle = [name for name, p in module.model.named_parameters() if p.grad is None]
    assert idle == []

    batch = stage.eval()(raw_batch())
    with torch.no_grad():
        prediction, roles = module.eval().predict(batch)
    scores = score_videos(prediction, roles)
    head = module.model.head
    assert scores.action.shape == (CLIPS, head.num_actions)
    assert scores.scene.shape == (CLIPS, head.num_scenes)
    single = {"model=action_vit": (8, 0), "model=scene_vit": (0, 8)}
    assert (head.num_actions, head.num_scenes) == single.get(row.split()[0], (8, 8))
    assert prediction.logits.isfinite().all()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("head=separate model.slot_attention.num_slots=3", "separate heads need 2 slots, got 3"),
        ("model=action_vit head=separate", "separate heads cannot predict 8 action and 0 scene"),
        ("model=scene_vit head=separate", "separate heads cannot predict 0 action and 8 scene"),
        ("masks=none augment=none", "needs frame masks .*; drop it with ~loss.attention_guidance"),
        ("masks=none model=two_token decoder=mask", "mask_prediction needs clip masks"),
        ("masks=none", "mixing needs masks: choose an extractor"),
        ("backbone.num_frames=4", r"takes clips \[B, 3, 4, 48, 48\], got \[2, 3, 8, 48, 48\]"),
        ("backbone.tubelet_size=4 masks.tubelet_size=2", "4 frame masks a clip.* 2 tubelets"),
        ("model=two_token loss=devias", "attention_guidance needs a model with slot attention"),
        ("model=one_token decoder=mask loss.mask_prediction.slots=both", "both needs two slots"),
        ("model.slot_attention.num_slots=1 loss.mask_prediction.slots=scene", "needs two slots"),
        ("model.slot_attention.num_slots=0", "at least one slot and one iteration"),
        ("model.slot_attention.softmax_axis=rows", "softmax_axis must be 'slots' or 'keys'"),
        ("matcher.assignment=auction", "assignment must be one of hungarian, greedy, fixed"),
        ("compat=official", "needs scene_logits .* or loss.scene_recognition.target=label"),
        ("loss.mask_prediction.slots=all", "slots must be one of action, scene, both, not 'all'"),
        ("model=action_vit loss=recognition", "scene_recognition needs a head with scene classes"),
    ],
)
def test_what_means_nothing_is_refused_with_the_reason_before_anything_is_decoded(
    overrides, message
):
    weights = ["backbone.weights=null"] if "backbone" in overrides else []
    config = compose(*TINY_SYNTHETIC, *overrides.split(), *weights)
    config.data.root = "nowhere"
    with pytest.raises(Exception, match=message):
        build_run(config)


@pytest.mark.parametrize("decoder", ["none", "mask", "pixel"])
@pytest.mark.parametrize("augment", ["none", "fame", "be"])
@pytest.mark.parametrize("model", ["devias", "two_token"])
def test_every_choice_brings_its_terms_and_only_the_masks_it_needs(model, augment, decoder):
    choices = (f"model={model}", f"augment={augment}", f"decoder={decoder}")
    config = compose(*choices)
    terms = {"action_recognition", "scene_recognition"}
    terms |= {"attention_guidance", "slot_diversity"} if model == "devias" else set()
    terms |= {"consistency"} if augment == "be" else set()
    terms |= {f"{decoder}_prediction"} if decoder != "none" else set()
    assert set(config.loss) == terms
    _, stage = parts(*choices)
    labeled = stage.train()(raw_batch())
    needs_masks = model == "devias" or augment == "fame" or decoder != "none"
    assert (labeled.clip_mask is not None) == needs_masks
    assert (labeled.second_view is not None) == (augment == "be")


def test_other_masks_follow_everywhere():
    """Ground truth is loaded for training, and cut out tubelet by tubelet."""
    for choices in (["model=two_token", "augment=fame"], ["decoder=pixel"]):
        _, data = run_parts(compose(*TINY_SYNTHETIC, *choices, "masks=ground_truth"))
        assert data.train.ground_truth_masks
        assert data.train.stage.augment.masks == "frame"
    for masks, kind in (("fame", "clip"), ("motion_em", "frame")):
        _, data = run_parts(compose(*TINY_SYNTHETIC, f"masks={masks}"))
        assert not data.train.ground_truth_masks
        assert data.train.stage.augment.masks == kind


def test_single_task_models_run_from_end_to_end_and_teach_scenes(tmp_path):
    """The scene ViT of one run is the scene model of another, under the released code's losses."""
    result = train(tiny_run(tmp_path, "model=scene_vit", "trainer.max_epochs=1"))
    assert "seen/scene_top1" in result
    assert not [name for name in result if "action" in name or "harmonic" in name]
    teacher = tmp_path / "run" / "checkpoints" / "best.ckpt"
    result = train(
        tiny_run(
            tmp_path,
            f"paths.run_dir={tmp_path / 'official'}",
            "compat=official",
            "scene_teacher=places365",
            f"scene_teacher.model.path={teacher}",
            "scene_teacher.model.num_scenes=8",
            "trainer.max_epochs=1",
        )
    )
    assert 0 <= result["harmonic_mean"] <= 1
    result = train(
        tiny_run(
            tmp_path,
            f"paths.run_dir={tmp_path / 'erasing'}",
            "model=action_vit",
            "augment=be",
            "trainer.max_epochs=1",
        )
    )
    assert "unseen/action_top1" in result
    assert not [name for name in result if "scene_top" in name]
