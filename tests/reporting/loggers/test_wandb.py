import json
import logging
import time

import pytest
import wandb
from omegaconf import OmegaConf
from PIL import Image

from devias.reporting.loggers.wandb import wandb_logger, wandb_mode
from devias.reporting.mistakes import TITLES
from devias.reporting.results import RunResult
from offline_wandb import read_offline_runs, records

NOWHERE = "http://127.0.0.1:9"  # nothing listens there
KEY = "0123456789" * 4


@pytest.fixture(autouse=True)
def _clean(monkeypatch, tmp_path):
    """No settings, keys or runs of the person who tests, and none left behind."""
    # Set first, so that what the logger sets is taken back, too.
    for name in ("API_KEY", "MODE", "SILENT", "INIT_TIMEOUT", "FINISH_TIMEOUT", "BASE_URL"):
        monkeypatch.setenv(f"WANDB_{name}", "")
        monkeypatch.delenv(f"WANDB_{name}")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.mark.parametrize(
    ("mode", "key", "expected"),
    [
        (None, None, "offline"),
        (None, "", "offline"),
        (None, KEY, "online"),
        ("offline", KEY, "offline"),
        ("dryrun", KEY, "offline"),
        ("online", None, "online"),
        ("disabled", KEY, "disabled"),
    ],
)
def test_the_mode_follows_the_environment(monkeypatch, mode, key, expected):
    for name, value in (("WANDB_MODE", mode), ("WANDB_API_KEY", key)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert wandb_mode() == expected


def only_records(run_dir):
    """Those of the folder's only run."""
    wandb.teardown()
    (path,) = (run_dir / "wandb").glob("offline-run-*/*.wandb")
    return [*records(path)]


@pytest.fixture
def folder(offline_run):
    return offline_run


def test_a_run_has_name_group_tags_and_an_id_that_its_folder_keeps(folder):
    (offline,) = read_offline_runs(folder)
    run = offline.run
    assert (run.project, run.display_name) == ("devias", "synthetic-devias-seed0")
    assert run.run_group == "synthetic-devias"
    assert run.job_type == "train"
    assert run.run_id == (folder / ".wandb_id").read_text()
    assert [*run.tags] == ["synthetic", RunResult.load(folder / "result.json").run_id]


def test_a_run_holds_losses_weights_rates_metrics_and_the_configuration(folder):
    (offline,) = read_offline_runs(folder)
    config = OmegaConf.load(folder / "config.yaml")
    expected = {f"loss/{name}" for name in (*config.loss, "total")}
    expected |= {f"weight/{name}" for name in config.loss}
    expected |= {"lr-AdamW/pg1", "val/harmonic_mean", "val_unseen/scene_bias"}
    expected |= {"test_unseen/slot_collision", "test_unseen/wrong_pair_seen"}
    assert expected <= offline.history.keys()
    assert offline.history["weight/mask_prediction"] == 1.0
    metrics = RunResult.load(folder / "result.json").metrics
    for name in ("test_seen/action_top1", "test_unseen/scene_top1"):
        assert offline.history[name] == pytest.approx(metrics[name])  # in single precision
    assert offline.config["data"]["num_actions"] == 8
    assert offline.config["model"]["head"]["num_actions"] == 8  # resolved


def test_the_summary_has_the_result_with_its_intervals(folder):
    result = RunResult.load(folder / "result.json")
    (offline,) = read_offline_runs(folder)
    for name, value in result.metrics.items():
        assert offline.summary[f"result/{name}"] == value
    low, high = result.intervals["harmonic_mean"]
    found = [offline.summary[f"{end}/harmonic_mean"] for end in ("low", "high")]
    assert found == [low, high]


def test_figures_are_images_and_mistakes_tables(folder):
    (files,) = (folder / "wandb").glob("offline-run-*/files")
    pictures = sorted(path.name for path in files.rglob("*.png"))
    assert [name.partition("_")[0] for name in pictures] == ["answers", "clips"]
    for path in files.rglob("*.png"):
        with Image.open(path) as picture:
            picture.verify()
    tables = {path.name.partition("_")[0]: path for path in files.rglob("*.table.json")}
    assert tables.keys() == {"action", "scene"}
    table = json.loads(tables["scene"].read_text())
    assert table["columns"] == [*TITLES]
    assert 0 < len(table["data"]) <= 50


def test_checkpoint_and_result_are_artifacts_where_wanted(folder):
    (offline,) = read_offline_runs(folder)
    kinds = dict(offline.artifacts)
    assert kinds["checkpoint"] == ["best.ckpt"]
    assert sorted(kinds["result"]) == ["predictions.parquet", "result.json"]


def test_an_evaluation_is_a_run_of_its_own_in_the_same_group(folder):
    (training,) = read_offline_runs(folder)
    (offline,) = read_offline_runs(folder / "evaluations" / "1")
    assert offline.run.job_type == "evaluate"
    assert offline.run.run_group == training.run.run_group
    assert offline.run.run_id != training.run.run_id
    assert offline.config["evaluation"]["changes"] == ["protocol.num_crops=1"]
    assert offline.config["protocol"]["num_crops"] == 1
    assert "result/harmonic_mean" in offline.summary


@pytest.mark.parametrize("key", [KEY, "too-short", None], ids=["no network", "bad key", "no key"])
def test_where_there_is_no_way_in_the_run_goes_on_offline(tmp_path, monkeypatch, caplog, key):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", NOWHERE)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked for a login"))
    logger = wandb_logger("devias", "name", str(tmp_path / "run"))
    start = time.monotonic()
    with caplog.at_level(logging.WARNING):
        logger.log_metrics({"loss/total": 2.0}, step=1)
    logger.finalize("success")
    logger.close()
    assert time.monotonic() - start < 45  # W&B itself would go on trying for 90 seconds
    assert "W&B goes on offline" in caplog.text
    assert wandb.setup().settings.finish_timeout == 120  # nor is there an endless wait at the end
    kinds = [kind for kind, _ in only_records(tmp_path / "run")]
    assert {"history", "exit"} <= set(kinds)


def test_disabled_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    logger = wandb_logger("devias", "name", str(tmp_path / "run"))
    logger.log_metrics({"loss/total": 2.0}, step=1)
    logger.log_hyperparams({"seed": 1})
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    logger.log_image("figures/x", [str(tmp_path / "x.png")])
    logger.close()
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize(("status", "code"), [("success", 0), ("failed", 1)])
def test_the_run_ends_as_the_trainer_did(tmp_path, status, code):
    logger = wandb_logger("devias", "name", str(tmp_path))
    logger.log_metrics({"x": 1.0}, step=0)
    logger.finalize(status)
    logger.finalize("success")  # of the test after the training
    logger.close()
    logger.close()
    (ends,) = [record.exit for kind, record in only_records(tmp_path) if kind == "exit"]
    assert ends.exit_code == code


def test_a_run_that_never_logged_has_nothing_to_close(tmp_path):
    wandb_logger("devias", "name", str(tmp_path)).close()
    assert not list(tmp_path.iterdir())
