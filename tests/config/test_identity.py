"""A run's hash and label follow from its resolved method, however it was asked for."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from devias.config import compose, config_dir
from devias.config.identity import ONLY, file_name, run_id


def named(*overrides):
    names = compose("experiment=synthetic", *overrides).names
    return names.model, names.run_id


@pytest.fixture(scope="module")
def plain():
    return named()


@pytest.mark.parametrize(
    ("spellings", "label"),
    [
        (
            ["masks=fame recipe.fame_beta=.4", "masks.beta=.4 masks=fame"],
            "masks=fame fame_beta=0.4",
        ),
        (["trainer.max_epochs=7", "recipe.epochs=7", "++recipe.epochs=7"], "epochs=7"),
        (["~loss.slot_diversity", "loss.slot_diversity=null"], "~loss.slot_diversity"),
        (["compat.matching_cost=x", "matcher.cost=x"], "matching_cost=x"),
        (["head.dropout=0.5 seed=1", "recipe.head_dropout=0.5"], "head_dropout=0.5"),
        (["trainer=gpus", "trainer.precision=bf16-mixed"], "precision=bf16-mixed"),
        (["global_batch=8 seed=1", "seed=1 global_batch=8"], "global_batch=8"),
        (["optim.base_lr=1", "optim.base_lr=1.0"], "base_lr=1"),
        (["backbone.weights=/a/x.pth", "backbone.weights=/b/c/x.pth"], "backbone.weights=x.pth"),
        (["augment=none", "augment=none augment._target_=devias.config.nothing"], "augment=none"),
    ],
)
def test_neither_spelling_nor_order_matters(spellings, label, plain):
    names = {named(*spelling.split()) for spelling in spellings}
    assert len(names) == 1
    ((name, identity),) = names
    assert name == f"devias {label}"
    assert identity != plain[1]


@pytest.mark.parametrize(
    ("overrides", "label"),
    [
        ("backbone.weights=null", "devias backbone.weights=null"),
        ("scene_teacher=places365", "devias scene_teacher=places365"),
        ("trainer.gradient_clip_val=2", "devias gradient_clip_val=2"),
        ("data.rand_augment=rand-m7-n4", "devias rand_augment=rand-m7-n4"),
        ("data.horizontal_flip=0", "devias horizontal_flip=0"),
        ("compat=official", "devias compat=official"),
        ("model=two_token augment=fame", "two_token augment=fame"),
        ("model=two_token", "two_token"),
        ("augment=none model.slot_attention.num_slots=3", "devias augment=none num_slots=3"),
        ("decoder=pixel", "devias decoder=pixel"),
        ("masks=segformer masks.model=/hub/small", "devias masks=segformer masks.model=small"),
        # What follows from another value is not said twice, what does not follow is.
        ("backbone.embed_dim=24", "devias embed_dim=24"),
        ("backbone.embed_dim=24 head.dim=48", "devias embed_dim=24 head.dim=48"),
        ("loss.mask_prediction.weight=0.5", "devias mask_prediction.weight=0.5"),
        ("weights=/r/a-1/checkpoints/best.ckpt", "devias weights=a-1/best.ckpt"),
        ("trainer.limit_train_batches=4 trainer.devices=2", "devias limit_train_batches=4"),
        ("names.model=ours augment=be", "ours"),
    ],
)
def test_every_change_of_the_method_shows(overrides, label, plain):
    words = overrides.split()
    if "limit_train_batches" in overrides:
        words = [f"+{word}" if "limit" in word else word for word in words]
    name, identity = named(*words)
    assert name == label
    assert identity != plain[1]


def test_what_is_no_part_of_the_method_does_not(plain):
    elsewhere = (
        "seed=5 trainer.devices=2 trainer.accelerator=gpu data.root=/d paths.weights=/w logger=csv "
        "data.num_workers=0 data.eval_batch_size=3 max_batch_per_device=2 compile=true "
        "~callbacks.figures protocol.num_crops=1 backbone.gradient_checkpointing=true"
    )
    assert named(*elsewhere.split()) == plain
    # FAME's share means nothing where FAME is not used.
    assert named("recipe.fame_beta=0.1") == plain
    # Another choice with the values of the first is the same method.
    assert named("masks=motion_em", "masks.iterations=3", "masks.working_size=32")[1] == plain[1]


def test_other_data_are_no_change_of_the_model_but_another_run(plain):
    name, identity = named("data=synthetic_pretrain")
    assert name == plain[0] == "devias"
    assert identity != plain[1]


def test_the_other_keys_of_compat_set_values_of_other_sections():
    folder = Path(config_dir())
    texts = [path.read_text() for path in folder.rglob("*.yaml") if path.parent.name != "protocol"]
    reference = re.compile(r"\$\{(?:oc\.select:)?compat\.(\w+)")
    set_elsewhere = {key for text in texts for key in reference.findall(text)}
    views = {"hvu_views"}  # of a protocol, which are no method
    known = set(OmegaConf.load(folder / "compat/paper.yaml"))
    assert known - set_elsewhere - views == ONLY["compat"]


def test_two_runs_of_last_weights_differ_by_their_folders():
    def of(path):
        return run_id(OmegaConf.create({"weights": path}))

    assert of("/x/a/checkpoints/last.ckpt") == of("/y/a/checkpoints/last.ckpt")
    assert of("/x/a/checkpoints/last.ckpt") != of("/x/b/checkpoints/last.ckpt")
    assert of("/x/a.pth") == of("a.pth")


@given(label=st.text())
def test_a_run_folder_has_a_safe_and_bounded_name(label):
    name = file_name(label, "0123abcd")
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,69}", name)
    assert name.endswith("0123abcd")
