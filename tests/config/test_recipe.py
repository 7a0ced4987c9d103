"""The paper's per-dataset table: its values, and what is refused."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from devias.config import compose, config_dir
from devias.config.recipe import Recipe
from devias.errors import ConfigError

TABLE = {
    # epochs, slot iterations, FAME β, prob_aug, head dropout, drop path, min lr
    "ucf101": (100, 4, 0.3, 0.4, 0.5, 0.2, 1e-5),
    "kinetics400": (100, 8, 0.5, 0.8, 0.0, 0.1, 1e-6),
    "hvu": (50, 8, 0.5, 0.25, 0.0, 0.1, 1e-6),
    "downstream": (50, 8, 0.5, 0.0, 0.0, 0.1, 1e-6),
    "downstream_small": (50, 8, 0.5, 0.0, 0.5, 0.2, 1e-5),
    "default": (100, 4, 0.5, 0.5, 0.0, 0.1, 1e-6),
    "synthetic": (6, 4, 0.5, 1.0, 0.0, 0.0, 1e-6),
    "synthetic_pretrain": (24, 4, 0.5, 0.5, 0.0, 0.0, 1e-6),
    "scene_model": (20, 4, 0.5, 0.5, 0.0, 0.1, 1e-6),
    "own": (30, 4, 0.5, 0.5, 0.5, 0.1, 1e-6),
}


def test_every_recipe_is_known():
    assert {path.stem for path in Path(config_dir(), "recipe").glob("*.yaml")} == set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_the_table_sets_what_is_built(name):
    config = compose(f"recipe={name}", "masks=fame")
    used = (
        config.trainer.max_epochs,
        config.model.slot_attention.iterations,
        config.masks.beta,
        config.augment.prob_aug,
        config.head.dropout,
        config.backbone.drop_path_rate,
        config.optim.min_lr,
    )
    assert used == TABLE[name]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"slot_iterations": "four"}, "recipe.slot_iterations must be a whole number, not 'four'"),
        ({"slot_iterations": 4.0}, "recipe.slot_iterations must be a whole number"),
        ({"slot_iterations": 0}, "recipe.slot_iterations must be at least 1"),
        ({"epochs": True}, "recipe.epochs must be a whole number"),
        ({"fame_beta": 1.5}, "recipe.fame_beta must be from 0 to 1, not 1.5"),
        ({"prob_aug": -0.1}, "recipe.prob_aug must be from 0 to 1"),
        ({"head_dropout": 1.0}, "recipe.head_dropout must be at least 0 and below 1"),
        ({"drop_path": None}, "recipe.drop_path must be a number, not None"),
        ({"min_lr": float("nan")}, "recipe.min_lr must be a rate"),
        ({"slot_iteration": 4}, r"'recipe\.slot_iteration'; did you mean slot_iterations"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(changed, why):
    settings = OmegaConf.load(Path(config_dir(), "recipe/default.yaml"))
    with pytest.raises(ConfigError, match=why):
        Recipe.from_settings({**settings, **changed})


def test_a_missing_value_is_named():
    with pytest.raises(ConfigError, match=r"recipe\.slot_iterations is missing"):
        Recipe.from_settings({"epochs": 3})
