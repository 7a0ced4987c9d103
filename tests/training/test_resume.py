import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from devias.data.samplers import ResumeError
from devias.training.resume import changed_settings, check_settings

CONFIG = {
    "seed": 3,
    "weights": "start.pth",
    "optim": {"base_lr": 0.004, "betas": [0.9, 0.999]},
    "loss": {"action": {"weight": 1.0}, "mask": {"weight": 1.0}},
    "model": {"_target_": "devias.models.devias.DEVIAS", "depth": 2},
    "data": {
        "root": "${paths.datasets}/x",
        "num_workers": 2,
        "seed": "${seed}",
        "stage": "${stage}",
    },
    "stage": {"prob": 0.5},
    "trainer": {"max_epochs": 3, "gradient_clip_val": None},
    "callbacks": {"best": {"dirpath": "${paths.run_dir}/checkpoints"}, "seed": {"seed": "${seed}"}},
    "paths": {"datasets": "d", "run_dir": "r"},
    "names": {"model": "devias"},
    "test": True,
}


def changed(**settings):
    """The configuration with `a__b=value` for the key a.b."""
    config = OmegaConf.create(CONFIG)
    for key, value in settings.items():
        OmegaConf.update(config, key.replace("__", "."), value, force_add=True)
    return config


def check(epochs=2, **settings):
    progress = {"fit_loop": {"epoch_progress": {"current": {"processed": epochs}}}}
    checkpoint = {"devias_config": OmegaConf.to_yaml(OmegaConf.create(CONFIG)), "loops": progress}
    check_settings(checkpoint, changed(**settings), Path("a/last.ckpt"))


def test_the_same_settings_differ_in_nothing(caplog):
    with caplog.at_level(logging.INFO):
        check()
    assert caplog.records == []
    assert changed_settings(changed(), changed()) == {}


def test_differences_are_named_once_by_the_key_that_makes_them():
    changes = changed_settings(changed(), changed(seed=4, stage__prob=0.25, optim__betas=[0.9, 1]))
    assert changes == {
        "seed": (3, 4),
        "stage.prob": (0.5, 0.25),
        "optim.betas": ([0.9, 0.999], [0.9, 1]),
    }
    # A key that was given a value of its own makes a difference itself.
    assert changed_settings(changed(), changed(data__seed=5)) == {"data.seed": (3, 5)}
    # However it is spelt, the same value is no difference.
    assert changed_settings(changed(), changed(data__seed=3, data__stage={"prob": 0.5})) == {}


def test_of_a_part_of_another_class_the_class_alone_is_named():
    other = {"_target_": "b.TwoToken", "tokens": 2}
    assert changed_settings(changed(), changed(model=other, model__depth=3)) == {
        "model._target_": ("devias.models.devias.DEVIAS", "b.TwoToken")
    }


def test_a_setting_that_only_one_has_is_not_hidden_by_what_it_comes_from():
    assert changed_settings(changed(), changed(data__fps="${seed}")) == {"data.fps": (None, 3)}
    # But that of a group which both take from elsewhere is left to that.
    assert changed_settings(changed(), changed(stage={"flip": 1})) == {"stage.flip": (None, 1)}


def test_a_group_that_interpolation_stands_for_may_be_stored_resolved():
    old = OmegaConf.create(OmegaConf.to_container(changed(), resolve=True))
    assert changed_settings(old, changed()) == {}
    assert changed_settings(old, changed(stage__prob=1.0)) == {
        "stage.prob": (0.5, 1.0),
        "data.stage.prob": (0.5, 1.0),
    }


@given(
    st.dictionaries(
        st.sampled_from(["seed", "optim.base_lr", "model.depth", "new.key"]), st.integers(5, 9)
    )
)
def test_every_changed_value_is_found(changes):
    found = changed_settings(changed(), changed(**changes))
    assert {key: now for key, (_, now) in found.items()} == changes


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"seed": 4}, "seed was 3, is 4"),
        ({"optim__base_lr": 0.008}, "optim.base_lr was 0.004, is 0.008"),
        ({"loss__mask": None}, "loss.mask.weight was 1.0, is absent"),
        ({"loss__new__weight": 2}, "loss.new.weight was absent, is 2"),
        ({"model___target_": "b.TwoToken"}, "model._target_ was devias.models.devias.DEVIAS, is b"),
        ({"trainer__gradient_clip_val": 1}, "trainer.gradient_clip_val was absent, is 1"),
        ({"data__fps": 3}, "data.fps was absent, is 3"),
    ],
)
def test_what_resuming_cannot_change_is_refused_by_name(settings, named):
    with pytest.raises(ResumeError) as caught:
        check(**settings, trainer__max_epochs=5)
    message = str(caught.value)
    assert message.startswith("a/last.ckpt comes from a run whose settings differ")
    assert named in message
    assert "max_epochs" not in message
    assert "\n" not in message


def test_what_it_may_change_is_logged(caplog):
    with caplog.at_level(logging.INFO):
        check(
            trainer__max_epochs=5,
            data__num_workers=0,
            data__root="/e",
            paths__run_dir="moved",
            callbacks__crash={"epoch": 1},
            weights=None,
            names__model="devias max_epochs=5",
            test=False,
        )
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("resuming a/last.ckpt; settings differ that may: ")
    assert set(message.partition(": ")[2].split("; ")) == {
        "trainer.max_epochs was 3, is 5",
        "data.num_workers was 2, is 0",
        "data.root was d/x, is /e",
        "paths.run_dir was r, is moved",
        "callbacks.crash.epoch was absent, is 1",
    }


def test_a_run_that_is_further_than_asked_for_is_refused():
    check(epochs=3)
    with pytest.raises(
        ResumeError, match=r"has 3 epochs behind it, more than trainer\.max_epochs=2"
    ):
        check(epochs=3, trainer__max_epochs=2)
