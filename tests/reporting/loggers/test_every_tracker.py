"""One short run with all trackers at once, continued, and one where none of them works."""

import json
import logging
import os
import shlex
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import wandb
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from devias.cli.train import train
from devias.config import compose
from devias.reporting.loggers.tracker import Tracker
from devias.reporting.results import RunResult, find_results, is_tracked_copy
from devias.training.run import build_trainer
from helpers import TINY_SYNTHETIC, tiny_run
from offline_wandb import read_offline_runs

TRACKERS = ("wandb", "tensorboard", "mlflow", "trackio")
EVERY = f"logger=[{','.join(TRACKERS)}]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of one epoch, continued for another; its numbers are in `result.json`."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_API_KEY", "MLFLOW_TRACKING_URI", "TRACKIO_DIR", "TRACKIO_SPACE_ID"):
            patch.delenv(name, raising=False)
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("HOME", str(root / "home"))
        for overrides in (["trainer.max_epochs=1"], ["trainer.max_epochs=2", "ckpt_path=last"]):
            words = (f"paths.runs={root}", "logger.mlflow.files=true", "logger.trackio.files=true")
            train(tiny_run(root, EVERY, *words, *overrides))
        wandb.teardown()
    return root


@pytest.fixture(scope="module")
def result(folder):
    return RunResult.load(folder / "run" / "result.json")


SCORE, WEIGHT = "test_seen/action_top1", "weight/action_recognition"


def test_wandb_continues_its_run_by_the_id(folder):
    first, second = read_offline_runs(folder / "run")
    assert first.run.run_id == second.run.run_id == (folder / "run" / ".wandb_id").read_text()
    assert (first.history["trainer/global_step"], second.history["trainer/global_step"]) == (4, 8)


def test_tensorboard_has_curves_figures_tables_and_results(folder, result):
    events = EventAccumulator(str(folder / "run" / "tensorboard"), {"images": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    assert {"loss/total", WEIGHT, "val/harmonic_mean", SCORE} <= {*tags["scalars"]}
    assert {"figures/clips", "figures/answers_test_unseen"} <= {*tags["images"]}
    steps = [event.step for event in events.Scalars(WEIGHT)]
    assert steps == [3, 7]  # both epochs: the second run's file stands beside the first's
    assert "mistakes/scene/text_summary" in tags["tensors"]
    found = events.Scalars("result/harmonic_mean")[-1].value
    assert found == pytest.approx(result.metrics["harmonic_mean"])
    start = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"optim/base_lr" in start


def test_mlflow_continues_its_run_in_the_shared_database(folder, result):
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "synthetic"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == (folder / "run" / ".mlflow_id").read_text()
    assert (run.info.run_name, run.info.status) == ("devias-seed0", "FINISHED")
    assert run.data.tags["run_id"] == result.run_id
    assert run.data.params["optim/base_lr"] == "0.008"
    assert [m.step for m in client.get_metric_history(run.info.run_id, WEIGHT)] == [3, 7]
    assert run.data.metrics[f"result/{SCORE}"] == pytest.approx(result.metrics[SCORE])
    for path in ("figures", "mistakes", "checkpoint", "result"):
        assert client.list_artifacts(run.info.run_id, path)
    artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
    assert artifacts.is_relative_to(folder / "mlflow")
    assert (artifacts / "mistakes" / "scene.csv").read_text().startswith("Set,Video,Action,")


def test_trackio_continues_its_run(folder, result):
    (path,) = (folder / "trackio").glob("*.db")
    with sqlite3.connect(path) as database:
        rows = database.execute("select run_name, step, metrics from metrics").fetchall()
        ((config,),) = database.execute("select config from configs").fetchall()
    names = {name for name, *_ in rows}
    kept = (folder / "run" / ".trackio_id").read_text()
    assert names == {f"synthetic-devias-seed0-{kept}"}
    values = [(step, json.loads(metrics)) for _, step, metrics in rows]
    assert [step for step, metrics in values if WEIGHT in metrics] == [3, 7]
    last = {key: value for _, metrics in values for key, value in metrics.items()}
    assert {"loss/total", "figures/clips", "mistakes/scene", SCORE} <= last.keys()
    found = [
        metrics["result/harmonic_mean"]
        for _, metrics in values
        if "result/harmonic_mean" in metrics
    ]
    assert found[-1] == pytest.approx(result.metrics["harmonic_mean"])
    assert json.loads(config)["_Group"] == "synthetic-devias"
    assert json.loads(config)["data"]["num_actions"] == 8


def test_copies_of_trackers_are_not_taken_for_results_or_figures(folder):
    copies = [path for path in folder.rglob("result.json") if "mlflow" in path.parts]
    assert copies
    assert [*find_results(folder)] == [folder / "run" / "result.json"]
    copies = [path.parts for path in folder.rglob("*.png") if is_tracked_copy(path, folder)]
    whose = {name for parts in copies for name in TRACKERS if name in parts}
    assert whose == {"mlflow", "trackio", "wandb"}
    assert not is_tracked_copy(folder / "run" / "figures" / "clips.png", folder)


def test_csv_files_are_written_beside_them(folder):
    assert len([*(folder / "run").glob("metrics/version_*/metrics.csv")]) == 2


def test_where_no_tracker_works_the_run_is_whole(folder, tmp_path, monkeypatch, caplog):
    """Unreachable servers, a wrong key, stores and a home that cannot be written."""
    blocked = tmp_path / "file"
    blocked.write_text("")  # as a folder, it can be neither made nor written, even by root
    monkeypatch.setenv("HOME", str(blocked / "home"))
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    settings = {"MODE": "online", "API_KEY": "wrong", "BASE_URL": "http://127.0.0.1:9"}
    for name, value in settings.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.setattr("trackio.utils.TRACKIO_DIR", blocked / "trackio")
    overrides = (
        f"logger.tensorboard.save_dir={blocked}/tensorboard",
        "logger.mlflow.tracking_uri=http://127.0.0.1:9",
        f"logger.trackio.store={blocked}/trackio",
        f"paths.datasets={folder}/data",
        "trainer.max_epochs=1",
    )
    start = time.monotonic()
    with caplog.at_level(logging.INFO):
        metrics = train(tiny_run(tmp_path, EVERY, *overrides))
    wandb.teardown()
    assert time.monotonic() - start < 120
    run = tmp_path / "run"
    assert RunResult.load(run / "result.json").metrics == metrics
    (table,) = run.glob("metrics/*/metrics.csv")
    assert SCORE in table.read_text()
    told = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    for title in ("W&B goes on offline", "TensorBoard: ", "MLflow: ", "Trackio: "):
        assert len([text for text in told if text.startswith(title)]) == 1, title


@pytest.mark.slow
def test_where_the_trackers_disks_are_full_the_run_is_whole(tmp_path):
    """Each tracker writes to a disk of 64 kB, in a namespace where such can be mounted."""
    if subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    disks = [tmp_path / "run" / "wandb", *(tmp_path / name for name in TRACKERS[1:])]
    lines = [f"mkdir -p {disk} && mount -t tmpfs -o size=64k none {disk}" for disk in disks]
    words = [
        *TINY_SYNTHETIC,
        EVERY,
        f"logger.tensorboard.save_dir={tmp_path}/tensorboard",
        f"logger.mlflow.store={tmp_path}/mlflow",
        f"logger.trackio.store={tmp_path}/trackio",
        f"paths.datasets={tmp_path}/data",
        f"paths.run_dir={tmp_path}/run",
    ]
    program = shlex.join([sys.executable, "-m", "devias", "train", *words])
    ended = subprocess.run(
        ["unshare", "-rm", "bash", "-ec", "\n".join([*lines, f"exec {program}"])],
        env={**os.environ, "WANDB_MODE": "offline"}, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "No space left on device" in ended.stdout + ended.stderr
    assert "harmonic_mean" in RunResult.load(tmp_path / "run" / "result.json").metrics
    (table,) = (tmp_path / "run").glob("metrics/*/metrics.csv")
    assert SCORE in table.read_text()


@pytest.mark.parametrize("name", TRACKERS)
def test_every_option_composes_with_csv_first(name, tmp_path):
    config = compose("experiment=synthetic", f"logger={name}", f"paths.run_dir={tmp_path}/run")
    assert [*config.logger] == ["csv", name]
    csv, tracker = build_trainer(config).loggers
    assert isinstance(tracker, Tracker)
    assert csv.log_dir == str(tmp_path / "run" / "metrics" / "version_0")
    assert not (tmp_path / "run").exists()  # nothing begins before the run does


def test_options_are_put_together_in_a_list():
    assert [*compose("experiment=synthetic", EVERY).logger] == ["csv", *TRACKERS]


def test_a_missing_package_ends_the_run_before_it_begins(monkeypatch, tmp_path):
    from devias.errors import ConfigError

    monkeypatch.setattr("devias.reporting.loggers.tracker.importlib.util.find_spec", lambda _: None)
    config = compose("experiment=synthetic", "logger=mlflow", f"paths.run_dir={tmp_path}")
    with pytest.raises(ConfigError, match=r"^logger=mlflow needs the package mlflow: pip install"):
        build_trainer(config)


def test_nothing_of_trackio_was_written_elsewhere(folder):
    from trackio.sqlite_storage import SQLiteStorage

    assert SQLiteStorage.get_project_db_path("devias").is_relative_to(folder / "trackio")
