"""Every dataset in its official layout, from training to transfer, on miniatures."""

import json

import pytest

import lookalikes
from devias.cli.evaluate import evaluate_checkpoint
from devias.cli.knn import main as knn
from devias.cli.train import train
from devias.config import compose
from devias.models.baselines import TokenViT
from devias.models.heads import UnifiedHead
from devias.reporting.results import RunResult
from devias.weights.assign import video_vit
from devias.weights.write import save_weights

CLIPS = ("data.clip_length=4", "data.stride=1", "data.image_size=32", "data.num_workers=0")
TINY = (
    *CLIPS,
    "logger=csv",
    "global_batch=2",
    "max_batch_per_device=2",
    "data.rand_augment=null",
    "trainer=cpu",
    "trainer.max_epochs=1",
    "trainer.enable_progress_bar=false",
)
NETWORK = (
    "backbone.embed_dim=24",
    "backbone.depth=1",
    "backbone.num_heads=2",
    "backbone.weights=null",
)
PROTOCOLS = {"folder": "own"}
"""Of datasets that are called otherwise than theirs."""
FAST = ("hvu", "activitynet")
"""Datasets that stand for the others where time is short."""


@pytest.fixture(scope="module")
def scene_model(tmp_path_factory):
    """A scene model as the released one, for clips of four frames of 32×32 pixels."""
    path = tmp_path_factory.mktemp("weights") / "scene_model.pth"
    vit = video_vit(image_size=32, num_frames=4, patch_size=16, embed_dim=12, depth=1, num_heads=2,
                    num_tokens=1)  # fmt: skip
    save_weights(TokenViT(vit, UnifiedHead(12, 0, 365)), path)
    return path


def data_words(name, folder):
    known = ["data.num_actions=2", "data.num_scenes=2"] if name == "hvu" else []
    if name not in ("hvu", "folder"):
        known = ["data.num_actions=2"]
    return [f"data={name}", f"data.root={folder / name}", *known]


def composed(folder, run, *words):
    return compose(f"paths.run_dir={folder / run}", f"paths.datasets={folder}", *TINY, *words)


@pytest.mark.parametrize(
    "name",
    [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in lookalikes.BUILDERS],
)
def test_from_training_to_transfer(tmp_path, scene_model, name):
    lookalikes.BUILDERS[name](tmp_path / name)
    words = [*data_words(name, tmp_path), f"protocol={PROTOCOLS.get(name, name)}"]
    if name != "hvu":  # HVU alone has scene labels
        words += ["scene_teacher=places365", f"scene_teacher.model.path={scene_model}"]
    metrics = train(composed(tmp_path, "run", *words, *NETWORK))
    assert metrics["seen/action_top1"] * 4 in range(5)
    assert ("harmonic_mean" in metrics) == (name == "hvu")
    checkpoint = tmp_path / "run/checkpoints/last.ckpt"
    again = evaluate_checkpoint(checkpoint, [], tmp_path / "again")
    assert again.metrics.keys() == metrics.keys()
    knn([f"checkpoint={checkpoint}", "k=2", f"output_dir={tmp_path / 'knn'}"])
    rows = json.loads((tmp_path / "knn/knn.json").read_text())["rows"]
    assert rows["model"]["A-A"]["plain"]["videos"] == 4
    assert {"A-S", "S-A", "S-S"} <= rows["model"].keys()
    transferred = train(
        composed(tmp_path, "transfer", "experiment=transfer", f"model.source={checkpoint}", *words)
    )
    assert transferred["seen/action_top1"] * 4 in range(5)


def run_of_ucf101(folder, scene_model):
    """Trained and tested by its protocol on what `folder` holds → its result."""
    words = [
        *data_words("ucf101", folder), "protocol=ucf101", "scene_teacher=places365",
        f"scene_teacher.model.path={scene_model}",
    ]  # fmt: skip
    train(composed(folder, "run", *words, *NETWORK))
    return RunResult.load(folder / "run/result.json")


def test_the_protocol_of_unseen_combinations(tmp_path, scene_model):
    for name in ("ucf101", "scuba", "hat"):
        getattr(lookalikes, name)(tmp_path / name)
    result = run_of_ucf101(tmp_path, scene_model)
    metrics = result.metrics
    assert not result.absent
    assert "harmonic_mean" in metrics
    unseen = [metrics[f"scuba_{kind}/action_top1"] for kind in ("places", "vqgan", "sinusoidal")]
    assert metrics["unseen/action_top1"] == pytest.approx(sum(unseen) / 3)
    assert result.lower_is_better == ["scufo/action_top1"]
    low, high = result.intervals["unseen/scene_top5"]
    assert 0 <= low <= metrics["unseen/scene_top5"] <= high <= 1
    narrow = evaluate_checkpoint(
        tmp_path / "run/checkpoints/last.ckpt", ["protocol=ucf101_ablation"], tmp_path / "narrow"
    )
    assert narrow.metrics["unseen/action_top1"] == metrics["scuba_places/action_top1"]
    assert narrow.protocol == "ucf101_ablation"


def test_a_protocol_some_of_whose_data_are_elsewhere(tmp_path, scene_model):
    for name in ("ucf101", "scuba"):
        getattr(lookalikes, name)(tmp_path / name)
    result = run_of_ucf101(tmp_path, scene_model)
    metrics = result.metrics
    assert {"hat_scene_only", "hat_far_1", "hat_human_only"} <= result.absent.keys()
    assert {"seen/action_top1", "seen/scene_top5", "unseen/action_top1"} <= metrics.keys()
    assert not {"unseen/scene_top5", "harmonic_mean"} & metrics.keys()
