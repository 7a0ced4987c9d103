"""Whole runs of seconds: what they leave, and that an interruption changes nothing."""

import csv
import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from devias import cli
from devias.cli.evaluate import evaluate_checkpoint
from devias.cli.report import report
from devias.cli.train import train
from devias.data.samplers import ResumeError
from devias.errors import ConfigError
from devias.reporting.results import RunResult, load_results
from devias.training.checkpoints import CheckpointError, load_checkpoint, stored_config
from helpers import TINY_SYNTHETIC, tiny_run

TERMS = {
    "action_recognition",
    "attention_guidance",
    "mask_prediction",
    "scene_recognition",
    "slot_diversity",
}
# Everything random in a training step: drop path, dropout, mixing, crops and flips.
RANDOM = (
    "trainer.max_epochs=3",
    "backbone.drop_path_rate=0.3",
    "head.dropout=0.4",
    "augment.prob_aug=0.5",
    "max_batch_per_device=2",  # two accumulated
)


def configured(root, name, *overrides):
    run_dir = root / "runs" / name
    return tiny_run(root, f"paths.run_dir={run_dir}", *overrides), run_dir


@pytest.fixture(scope="module")
def finished(root):
    """The run directory of a DEVIAS run, and what `train` returned."""
    config, run_dir = configured(root, "devias", *RANDOM)
    return run_dir, train(config)


@pytest.fixture(scope="module")
def two_token(root):
    """The run directory of its baseline."""
    config, run_dir = configured(root, "two_token", "model=two_token", "trainer.max_epochs=1")
    train(config)
    return run_dir


def test_the_result_file(finished):
    run_dir, metrics = finished
    result = json.loads((run_dir / "result.json").read_text())
    assert {"experiment", "model", "data", "seed", "commit", "metrics", "seconds"} <= set(result)
    assert (result["experiment"], result["model"]) == ("synthetic", "devias")
    assert (result["data"], result["seed"]) == ("synthetic", 0)
    assert result["metrics"] == metrics
    shares = {name: value for name, value in metrics.items() if not name.startswith("gap/")}
    assert all(0 <= value <= 1 for value in shares.values())
    assert metrics["gap/action_top1"] == metrics["seen/action_top1"] - metrics["unseen/action_top1"]
    for split in ("seen", "unseen"):
        for metric in ("action_top1", "scene_top1", "slot_collision", "mask_iou"):
            assert metrics[f"{split}/{metric}"] == metrics[f"test_{split}/{metric}"]
    assert "harmonic_mean" in metrics
    assert "scene_bias" in {name.partition("/")[2] for name in metrics if "unseen" in name}
    # Counts of 5 seen and 7 unseen videos: no video is lost or seen twice.
    assert metrics["seen/action_top1"] * 5 == pytest.approx(round(metrics["seen/action_top1"] * 5))
    assert metrics["unseen/scene_top1"] * 7 == pytest.approx(
        round(metrics["unseen/scene_top1"] * 7)
    )
    assert set(result["seconds"]) == {"fit", "test"}
    assert min(result["seconds"].values()) > 0
    assert RunResult.load(run_dir / "result.json").metrics == metrics


def test_the_run_directory_is_self_contained(finished):
    run_dir, _ = finished
    config = OmegaConf.load(run_dir / "config.yaml")
    assert config.paths.run_dir == str(run_dir)
    assert config.names.model == "devias"
    assert stored_config(run_dir / "checkpoints" / "best.ckpt", []) == config
    assert {path.name for path in (run_dir / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}

    figures = {path.name for path in (run_dir / "figures").iterdir()}
    assert figures == {"clips.png", "answers_test_unseen.png"}
    for name in figures:
        with Image.open(run_dir / "figures" / name) as picture:
            pixels = np.asarray(picture)
        assert min(pixels.shape[:2]) > 200
        assert pixels.std() > 10  # there is something on it


def test_the_metrics_file_has_every_term_rate_and_split(finished):
    run_dir, metrics = finished
    (path,) = (run_dir / "metrics").rglob("metrics.csv")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    columns = rows[0].keys()
    assert {f"loss/{name}" for name in (*TERMS, "total")} <= columns
    assert any(name.startswith("lr-AdamW") for name in columns)
    logged = [row for row in rows if row["loss/total"]]
    assert [int(row["step"]) for row in logged] == [1, 3, 5, 7, 9, 11]
    for row in logged:  # all weights are 1
        total = sum(float(row[f"loss/{name}"]) for name in TERMS)
        assert float(row["loss/total"]) == pytest.approx(total, rel=1e-5)
    headline = [float(row["val/harmonic_mean"]) for row in rows if row["val/harmonic_mean"]]
    assert len(headline) == 3
    tested = [row for row in rows if row["test_seen/action_top1"]]
    assert float(tested[-1]["test_seen/action_top1"]) == pytest.approx(metrics["seen/action_top1"])


def same(a, b):
    """Whether nested containers hold equal tensors and values."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def interrupt(root, name, epoch, batch, error):
    """Run until the crash → the run directory."""
    crash = f"{{_target_: helpers.CrashAt, epoch: {epoch}, batch: {batch}, error: {error}}}"
    config, run_dir = configured(root, name, *RANDOM, f"+callbacks.crash={crash}")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises((ZeroDivisionError, SystemExit)) as caught:
        train(config)
    if error == "SIGTERM":
        assert caught.value.code == 143
    signal.signal(signal.SIGINT, before)  # Lightning leaves it ignored
    return run_dir


@pytest.mark.parametrize(
    ("epoch", "batch", "error", "workers"), [(1, 3, "Ctrl-C", 0), (2, 7, "bug", 2)]
)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    root, finished, epoch, batch, error, workers
):
    name = f"interrupted-{epoch}-{batch}"
    run_dir = interrupt(root, name, epoch, batch, error)
    # What an interruption leaves: whole checkpoints of the epochs before it, and no result.
    assert {path.name for path in (run_dir / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    last = load_checkpoint(run_dir / "checkpoints" / "last.ckpt")
    assert last["global_step"] == 4 * epoch
    assert not (run_dir / "result.json").exists()

    # Nothing random depends on the number of loader processes either.
    resumption = (*RANDOM, "ckpt_path=last", f"data.num_workers={workers}")
    metrics = train(configured(root, name, *resumption)[0])
    reference, expected = finished
    resumed, uninterrupted = (
        load_checkpoint(folder / "checkpoints" / "last.ckpt") for folder in (run_dir, reference)
    )
    assert resumed["global_step"] == 12
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert same(resumed[part], uninterrupted[part]), part
    assert metrics == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_was_stopped_amid_an_epoch_and_moved_goes_on_bit_for_bit(
    root, finished, workers
):
    before = interrupt(root, f"stopped-{workers}", 1, 2, "SIGTERM")
    assert not (before / "result.json").exists()
    best = load_checkpoint(before / "checkpoints" / "best.ckpt")
    # In the middle of an epoch, and of the two batches of a step.
    last = load_checkpoint(before / "checkpoints" / "last.ckpt")
    assert last["global_step"] == 4 + 1
    assert last["RunData"] == {"epoch": 1, "batches": 3, "batch_size": 2, "world_size": 1}
    moved = before.rename(before.with_name(f"moved-{workers}"))
    with (moved / "checkpoints" / "last.ckpt").open("rb") as file:
        assert str(root).encode() not in file.read().partition(b"devias_config")[0]

    overrides = (*RANDOM, "ckpt_path=last", f"data.num_workers={workers}")
    metrics = train(configured(root, moved.name, *overrides)[0])
    assert not before.exists()
    reference, expected = finished
    for name in ("last", "best"):
        ours, theirs = (load_checkpoint(f / f"checkpoints/{name}.ckpt") for f in (moved, reference))
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "epoch"):
            assert same(ours[part], theirs[part]), (name, part)
    assert metrics == expected
    assert best["epoch"] == 0


def test_resuming_with_another_seed_or_model_is_one_sentence(root, finished):
    run_dir, _ = finished
    before = (run_dir / "config.yaml").read_bytes()
    for change, named in (
        ("seed=1", "seed was 0, is 1"),
        ("optim.base_lr=0.1", "optim.base_lr was 0.008, is 0.1"),
        ("model=two_token", "model._target_ was devias.models.devias.DEVIAS, is devias.models"),
    ):
        random = RANDOM if "model" not in change else ()  # a baseline has no mixing
        config, _ = configured(root, run_dir.name, *random, "ckpt_path=last", change)
        with pytest.raises(ResumeError, match="comes from a run whose settings differ") as caught:
            train(config)
        assert named in str(caught.value)
    assert (run_dir / "config.yaml").read_bytes() == before


def test_without_a_seed_for_every_epoch_it_would_not_be(root, finished):
    # The comparison above can fail: the random draws do matter.
    run_dir = interrupt(root, "unseeded", 1, 0, "bug")
    config, _ = configured(
        root, "unseeded", *RANDOM, "ckpt_path=last", "~callbacks.seed", "test=false"
    )
    assert train(config) == {}
    states = [
        load_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]
        for folder in (run_dir, finished[0])
    ]
    assert not same(*states)


def test_evaluating_the_best_checkpoint_repeats_the_metrics_exactly(finished, tmp_path):
    run_dir, metrics = finished
    best = run_dir / "checkpoints" / "best.ckpt"
    # What the run started from need not be there any more.
    result = evaluate_checkpoint(best, ["backbone.weights=gone.pth"])
    assert result.metrics == metrics
    assert (result.experiment, result.model, result.seed) == ("synthetic", "devias", 0)
    assert RunResult.load(run_dir / "evaluations" / "1" / "result.json") == result
    assert (run_dir / "evaluations" / "1" / "figures" / "clips.png").exists()
    assert result.evaluation == {"checkpoint": str(best), "changes": ["backbone.weights=gone.pth"]}

    fewer = [
        "protocol.num_clips=1",
        "protocol.num_crops=1",
        "logger.csv=null",
        "callbacks.figures=null",
    ]
    changed = evaluate_checkpoint(best, fewer, tmp_path / "out")
    assert changed.metrics.keys() == metrics.keys()
    assert changed.metrics != metrics
    assert OmegaConf.load(tmp_path / "out" / "config.yaml").protocol.num_crops == 1
    left = {"config.yaml", "predictions.parquet", "result.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == left
    with pytest.raises(ConfigError, match="out is an earlier run's or evaluation's"):
        evaluate_checkpoint(best, fewer, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"model\.slot_attention: softmax_axis"):
        evaluate_checkpoint(best, ["model.slot_attention.softmax_axis=x"])
    with pytest.raises(CheckpointError, match=r"best\.ckpt holds another model's weights: s"):
        evaluate_checkpoint(best, ["backbone.embed_dim=48"])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    with pytest.raises(CheckpointError):
        evaluate_checkpoint(best, ["backbone.embed_dim=48"], tmp_path / "other")
    assert not (tmp_path / "other" / "config.yaml").exists()
    assert (tmp_path / "other" / "mine.txt").exists()
    assert [path.name for path in (run_dir / "evaluations").iterdir()] == ["1"]
    names = [result.row for result in load_results(run_dir)]
    assert names == [RunResult.load(run_dir / "result.json").row]


def test_testing_weights_without_training(root, finished):
    run_dir, metrics = finished
    best = run_dir / "checkpoints" / "best.ckpt"
    config, other = configured(root, "weights", *RANDOM, "train=false", f"weights={best}")
    assert train(config) == metrics
    assert not (other / "checkpoints").exists()


def test_the_two_token_rival_runs_the_same_way(two_token):
    result = RunResult.load(two_token / "result.json")
    assert (result.experiment, result.model) == ("synthetic", "two_token")
    assert {"seen/action_top1", "unseen/scene_top1", "harmonic_mean"} <= result.metrics.keys()
    assert not any("mask_iou" in name for name in result.metrics)
    assert (two_token / "figures" / "clips.png").exists()


def test_the_one_token_model_runs_the_same_way(root):
    config, run_dir = configured(root, "one_token", "model=one_token", "trainer.max_epochs=1")
    metrics = train(config)
    assert "seen/slot_collision" not in metrics  # one slot has both roles by design
    assert RunResult.load(run_dir / "result.json").model == "one_token"


def test_the_report_of_a_folder_of_runs(root, finished, two_token, tmp_path, capsys):
    for run_dir in (finished[0], two_token):
        RunResult.load(run_dir / "result.json").save(tmp_path / run_dir.name / "result.json")
    report(tmp_path)
    table = (tmp_path / "table.md").read_text()
    assert "devias" in table
    assert "two_token" in table
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["Model"] for row in rows] == ["devias", "two_token"]
    with (tmp_path / "composition.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert "Action gap" in rows[0]
    assert "there is no" in (tmp_path / "comparison.md").read_text()  # predictions
    with Image.open(tmp_path / "scene_bias.png") as picture:
        assert np.asarray(picture).std() > 10
    assert "scene_bias.png" in capsys.readouterr().out


def test_the_surest_mistakes_of_a_run_are_shown(finished, tmp_path, capsys):
    run_dir, _ = finished
    cli.main(["errors", str(run_dir), "task=scene", "count=3", f"output_dir={tmp_path}"])
    with (tmp_path / "errors_scene.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert 1 <= len(rows) <= 3
    assert all(row["Scene"] != row["Answered scene"] for row in rows)
    sure = [float(row["Sure"]) for row in rows]
    assert sure == sorted(sure, reverse=True)
    assert rows[0]["Video"] in (tmp_path / "errors_scene.md").read_text()
    with Image.open(tmp_path / "errors_scene.png") as picture:
        assert np.asarray(picture).std() > 10
    with pytest.raises(SystemExit):
        cli.main(["errors", str(run_dir), "data.rot=x", f"output_dir={tmp_path}"])
    assert "data.rot" in capsys.readouterr().out


def test_a_sweep_of_an_ablation_makes_a_table_of_its_rows(tmp_path):
    program = [sys.executable, "-m", "devias.train", "--multirun"]
    rows = "model.slot_attention.num_slots=2,3"
    folders = [f"paths.{name}={tmp_path / name}" for name in ("datasets", "runs")]
    settings = [*TINY_SYNTHETIC, "trainer.max_epochs=1", "callbacks.figures=null", *folders]
    subprocess.run([*program, rows, *settings], check=True, cwd=tmp_path, capture_output=True)
    (sweep,) = (tmp_path / "runs" / "synthetic").iterdir()
    assert sweep.name.startswith("sweep-")
    report(sweep)
    with (sweep / "table.csv").open() as file:
        names = [row["Model"] for row in csv.DictReader(file)]
    for number, name in enumerate(names):
        # Two slots are what the experiment has, so only the other row says how many it has.
        assert ("num_slots=3" in name) == (number == 1)
        assert "num_slots=2" not in name
        config = OmegaConf.load(sweep / str(number) / "config.yaml")
        assert config.model.slot_attention.num_slots == number + 2
        assert (sweep / str(number) / "checkpoints" / "best.ckpt").exists()
    assert len(names) == 2
