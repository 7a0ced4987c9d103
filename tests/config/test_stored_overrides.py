"""Hydra's overrides on a stored configuration: the grammar, the groups, the near misses."""

import copy

import pytest
from omegaconf import OmegaConf

from devias.config import compose
from devias.config.stored_overrides import apply_overrides
from devias.errors import ConfigError

STORED = {
    "seed": 3,
    "weights": None,
    "augment": {"prob_aug": 0.5},
    "backbone": {"depth": 3},
    "model": {"backbone": "${backbone}"},
    "data": {"root": "${paths.datasets}/x", "num_clips": 2, "crop_scale": [0.5, 1.0]},
    "paths": {"datasets": "d"},
    "callbacks": {"best": {"mode": "max"}, "figures": {"directory": "f"}},
}


def test_the_grammar_of_hydra():
    before = copy.deepcopy(STORED)
    changed = apply_overrides(
        STORED,
        [
            "data.num_clips=5",
            "paths.datasets='/data sets/a=b'",
            "data.crop_scale=[0.1, 1]",
            "augment=null",
            "weights='a, b.pth'",
            "~callbacks.figures",
            "~callbacks.best.mode=max",
            "+callbacks.new={a: {b: 1e-3}, c: true}",
            "++seed=4",
            "++deep.er.key=true",
            "data.root=${paths.datasets}/y",
        ],
    )
    assert before == STORED
    assert changed["data"] == {
        "root": "${paths.datasets}/y", "num_clips": 5, "crop_scale": [0.1, 1],
    }  # fmt: skip
    assert changed["paths"]["datasets"] == "/data sets/a=b"
    assert (changed["augment"], changed["weights"], changed["seed"]) == (None, "a, b.pth", 4)
    assert changed["callbacks"] == {"best": {}, "new": {"a": {"b": 0.001}, "c": True}}
    assert changed["deep"] == {"er": {"key": True}}


def test_mappings_merge_and_items_of_lists_change():
    changed = apply_overrides(STORED, ["callbacks={best: {mode: min}}", "data.crop_scale.1=0.9"])
    assert changed["callbacks"] == {"best": {"mode": "min"}, "figures": {"directory": "f"}}
    assert changed["data"]["crop_scale"] == [0.5, 0.9]


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("data.num_clip=5", r"no key data\.num_clip; did you mean data\.num_clips\?"),
        ("dta.num_clips=5", r"no key dta; did you mean data\?"),
        ("globl=5", r"no key globl; \+ adds it"),
        ("seed.x=5", "seed has no key x"),
        ("data={num_clip: 1}", r"no key data\.num_clip"),
        ("+data.num_clips=5", r"one already: \+\+ replaces it"),
        ("~data.num_clip", r"did you mean data\.num_clips\?"),
        ("~data.num_clips=7", "it is 2, not 7"),
        ("~data.crop_scale.0", "items of a list stay"),
        ("data.crop_scale.2=1", "crop_scale has no key 2"),
        ("model.backbone.depth=7", r"model\.backbone is \$\{backbone\}: change that"),
        ("data.num_clips=1,2", "one value is needed"),
        ("data.num_clips", "expected key=value, as Hydra reads it"),
        ("=5", "expected key=value"),
        ("data.root=[", "expected key=value, as Hydra reads it"),
        ("data.root='x", "expected key=value, as Hydra reads it"),
        ("data=5", "data holds settings: change them one by one"),
        ("trainer=gpu", "trainer has no option 'gpu'; did you mean gpus"),
        ("seed@x=5", "no group seed"),
    ],
)
def test_overrides_that_cannot_be(override, why):
    with pytest.raises(ConfigError, match=why) as caught:
        apply_overrides(STORED, ["seed=4", override])
    assert f"override {override!r}" in str(caught.value)


def test_a_group_word_puts_the_shipped_option_in_place():
    run = compose("experiment=synthetic", "model=two_token", "trainer.gradient_clip_val=3")
    stored = OmegaConf.to_container(run, resolve=False)
    words = ["trainer.devices=3", "trainer=gpus", "logger=[csv]", "+debug_note=x"]
    changed = apply_overrides(stored, words)
    assert changed["trainer"]["accelerator"] == "gpu"
    assert changed["trainer"]["devices"] == 3  # values come after choices, as in Hydra
    assert changed["trainer"]["gradient_clip_val"] is None
    assert set(changed["logger"]) == {"csv"}
    untouched = {key for key in stored if stored[key] == changed[key]}
    assert set(stored) - untouched <= {"trainer", "logger"}


def test_a_choice_that_changes_other_groups_does_so_here():
    stored = OmegaConf.to_container(compose("experiment=synthetic"), resolve=False)
    changed = apply_overrides(stored, ["decoder=pixel"])
    assert "pixel_prediction" in changed["loss"]
    assert "mask_prediction" not in changed["loss"]
    assert "attention_guidance" in changed["loss"]
    assert changed["decoder"]["_target_"].endswith("PixelDecoder")
