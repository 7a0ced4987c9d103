"""Every shipped configuration composes, and misspelt keys are refused wherever they stand."""

import re
from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.errors import ConfigCompositionException, InstantiationException
from hydra.utils import instantiate
from hydra.version import getbase
from omegaconf import OmegaConf, open_dict

from devias.config import compose, config_dir
from devias.config.identity import run_id
from devias.config.shipped import check_keys
from devias.training.dry_run import dry_run
from helpers import TINY_SYNTHETIC, run_parts, save_untrained

CONF = Path(config_dir())
OPTIONS = sorted(
    (path.parent.name, path.stem)
    for path in CONF.glob("*/[!_]*.yaml")
    if path.parent.name not in ("experiment", "hparams_search", "hydra", "local")
)
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
# What is fetched by the user is not there in tests.
WITHOUT_DOWNLOADS = ("backbone.weights=null", "scene_teacher=none")
# Nor is what a user's own videos show.
COUNTS = ("data.num_actions=3", "data.num_scenes=5")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Overrides for a model that starts from another run's."""
    path = tmp_path_factory.mktemp("source") / "best.ckpt"
    save_untrained(compose(*TINY_SYNTHETIC, f"paths.datasets={path.parent}"), path)
    return [f"model.source={path}"]


@pytest.mark.parametrize("option", OPTIONS, ids="=".join)
def test_every_option_composes_with_known_keys(option):
    added = "+" if option[0] == "eval_data" else ""  # a protocol brings its own along
    config = compose(added + "=".join(option))
    OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    check_keys(config)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_builds_its_model_and_data(experiment, source):
    counts = COUNTS if experiment.startswith("own") else ()
    transfers = experiment.startswith("transfer")
    more = source if transfers else ()
    config = compose(f"experiment={experiment}", *WITHOUT_DOWNLOADS, *counts, *more)
    check_keys(config)
    module, data = run_parts(config)
    head = module.model.classifier if transfers else module.model.head
    scenes = 0 if transfers else data.train.num_scenes
    assert (head.num_actions, head.num_scenes) == (data.train.num_actions, scenes)
    assert set(module.losses) == set(config.loss)
    train = data.train
    declared = (train.stage, train.input_size, train.has_ground_truth_masks)
    dry_run(module.model, module.losses, module.matcher, *declared)


@pytest.mark.parametrize("model", [stem for group, stem in OPTIONS if group == "model"])
def test_every_model_trains_in_the_synthetic_experiment(model, source):
    more = source if model == "transfer" else ()
    config = compose("experiment=synthetic", f"model={model}", "backbone.weights=null", *more)
    module, _ = run_parts(config)
    assert sum(parameter.numel() for parameter in module.model.parameters()) > 10_000


def test_a_choice_on_the_command_line_beats_the_experiment():
    config = compose("experiment=synthetic", "model=two_token")
    assert config.model._target_.endswith("TokenViT")
    assert set(config.loss) == {"action_recognition", "scene_recognition"}
    assert instantiate(config.augment) is None
    assert config.names == {
        "experiment": "synthetic",
        "model": "two_token",
        "data": "synthetic",
        "run_id": run_id(config),
    }


def test_composing_leaves_hydra_as_it_was():
    before = dict(Singleton._instances)
    config = compose("experiment=synthetic")
    assert not any("hydra" in key for key in config)
    assert Singleton._instances.keys() - before.keys() <= {ConfigStore, Plugins}
    for kind in before:
        assert Singleton._instances[kind] is before[kind]
    with initialize_config_dir(config_dir(), version_base="1.2", job_name="mine"):
        outer = hydra_compose("train", ["model=two_token"], return_hydra_config=True)
        HydraConfig.instance().set_config(outer)
        assert compose("model=one_token").names.model == "one_token"
        assert HydraConfig.get().runtime.choices.model == "two_token"
        assert (JobRuntime.instance().get("name"), getbase().minor) == ("mine", 2)
    assert compose("part=backbone", config_name="export").part == "backbone"


def test_what_depends_on_machine_and_moment_is_written_out(monkeypatch, tmp_path):
    monkeypatch.setenv("DEVIAS_DATASETS", "/disk/sets")
    monkeypatch.chdir(tmp_path)
    config = compose("+recipe.extra=[{a: '${oc.env:DEVIAS_DATASETS}/x'}]")
    assert config.recipe.extra[0].a == "/disk/sets/x"
    text = OmegaConf.to_yaml(config)
    for resolver in ("oc.env", "hydra:", "now:", "run_name:"):
        assert resolver not in text
    assert config.paths.datasets == "/disk/sets"
    assert "${paths.datasets}" in text  # can still be changed in one place
    folder = Path(config.paths.run_dir)
    assert folder.is_relative_to(tmp_path / "runs")
    assert folder.name.startswith(f"devias-{config.names.run_id}-s0-")


def test_one_word_drops_a_loss_term():
    config = compose("~loss.attention_guidance", "loss.mask_prediction.weight=0.5")
    assert "attention_guidance" not in config.loss
    assert config.loss.mask_prediction.weight == 0.5


def test_compat_switches_all_points_together():
    config = compose("compat=official")
    assert config.matcher.cost == "probability"
    assert config.model.slot_attention.key_normalization == "l1"
    assert config.loss.scene_recognition.target == "distribution"
    assert config.loss.mask_prediction.double_sigmoid is True
    assert (config.model.slot_attention.init, config.model.head.init_scale) == (
        "trunc_normal",
        0.001,
    )


@pytest.mark.parametrize(
    ("words", "smoothing", "divergence"),
    [
        ("model=devias", 0.0, (4000, "classes")),
        ("model=devias matcher.assignment=fixed", 0.0, (4, "clips")),
        ("model=two_token", 0.1, (1, "clips")),
    ],
)
def test_the_released_losses_differ_between_devias_and_baselines(words, smoothing, divergence):
    losses = compose("compat=official", *words.split()).loss
    action, scene = losses.action_recognition, losses.scene_recognition
    assert (action.smoothing, scene.scale, scene.mean) == (smoothing, *divergence)
    assert scene.target == "distribution"


def test_the_paper_smooths_no_labels():
    losses = compose("model=two_token").loss
    assert losses.action_recognition.smoothing == 0
    assert losses.scene_recognition.target == "label"


@pytest.mark.parametrize(
    ("words", "classifier"),
    [
        ("experiment=transfer compat=official", ("half", False, 0.0)),
        ("experiment=transfer_small", ("none", False, 0.5)),
        ("experiment=transfer_small compat=official", ("half", True, 0.5)),
    ],
)
def test_the_head_of_a_transfer_follows_data_and_compat(words, classifier):
    config = compose(*words.split())
    found = config.model.classifier
    assert (found.projection, found.input_norm, found.dropout) == classifier
    assert config.model.drop_path_rate == (0.2 if "small" in words else 0.1)
    assert set(config.loss) == {"action_recognition"}
    assert config.trainer.max_epochs == 50


def test_the_paper_settings_of_ucf101():
    config = compose("experiment=ucf101")
    assert (config.global_batch, config.trainer.max_epochs) == (96, 100)
    assert config.model.slot_attention.iterations == 4
    assert (config.masks.beta, config.augment.prob_aug) == (0.3, 0.4)
    assert (config.model.head.dropout, config.backbone.drop_path_rate) == (0.5, 0.2)
    assert (config.optim.base_lr, config.optim.min_lr, config.optim.layer_decay) == (
        5e-4,
        1e-5,
        0.75,
    )
    protocol = instantiate(config.protocol)
    assert (protocol.num_clips, protocol.num_crops, protocol.scene_topk) == (2, 3, 5)


def test_misspelt_keys_are_refused():
    with pytest.raises(ConfigCompositionException, match=r"optim\.bse_lr"):
        compose("optim.bse_lr=1")
    config = compose()
    with open_dict(config):
        config.globl_batch = 3
    with pytest.raises(ValueError, match="unknown configuration key 'globl_batch'"):
        check_keys(config)
    config = compose()
    with open_dict(config.compat):
        config.compat.matching_costs = "probability"
    with pytest.raises(ValueError, match=r"unknown configuration key 'compat.matching_costs'"):
        check_keys(config)
    config = compose()
    with open_dict(config.recipe):
        config.recipe.slot_iteration = 3
    with pytest.raises(ValueError, match=r"unknown configuration key 'recipe.slot_iteration'"):
        check_keys(config)
    config = compose()
    with open_dict(config.optim):
        config.optim.bse_lr = 3
    with pytest.raises(InstantiationException, match="bse_lr"):
        instantiate(config.optim)


def test_a_machine_has_settings_of_its_own(tmp_path):
    page = (Path(__file__).parents[2] / "conf/README.md").read_text()
    settings = re.search(r"<!-- local -->\n```yaml\n(.*?)```", page, re.DOTALL)[1]
    for name, text in (("default", settings), ("node7", settings.replace("12", "3"))):
        (tmp_path / "local").mkdir(exist_ok=True)
        (tmp_path / "local" / f"{name}.yaml").write_text(text)
    path = f"hydra.searchpath=[{tmp_path}]"
    config = compose("experiment=ucf101", path)
    assert (config.data.num_workers, config.paths.datasets) == (12, "/data")
    assert compose("experiment=ucf101", path, "local=node7").data.num_workers == 3
    assert compose("experiment=ucf101", path, "data.num_workers=1").data.num_workers == 1
    # What a run is called and known by does not depend on the machine.
    assert config.names == compose("experiment=ucf101").names


@pytest.mark.parametrize("experiment", ["hvu", "ucf101"])
def test_a_model_of_actions_alone_has_their_loss_alone_whatever_labels_scenes(experiment):
    config = compose(f"experiment={experiment}", "model=action_vit")
    assert set(config.loss) == {"action_recognition"}
