import json
import logging
import struct
import time

import pytest
import wandb
from PIL import Image
from wandb.proto.wandb_internal_pb2 import Record

from devias.cli.train import train
from devias.reporting.loggers import wandb_logger, wandb_mode
from helpers import tiny_run

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


BLOCK = 2**15
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(run_dir):
    """What an offline run wrote, by kind: LevelDB's log format after a header of 7 bytes."""
    wandb.teardown()  # the last of it is written when the service ends
    (path,) = (run_dir / "wandb").glob("offline-run-*/*.wandb")
    data, place, message = path.read_bytes(), 7, b""
    while place < len(data):
        if BLOCK - place % BLOCK < 7:  # too little for a chunk's header: filled with zeros
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        chunk = data[place + 7 : place + 7 + length]
        message = chunk if kind in (FULL, FIRST) else message + chunk
        place += 7 + length
        if kind in (FULL, LAST):
            record = Record.FromString(message)
            yield record.WhichOneof("record_type"), record


def test_an_offline_run_holds_losses_metrics_figures_and_configuration(tmp_path):
    config = tiny_run(tmp_path, "logger=wandb", "trainer.max_epochs=1")
    metrics = train(config)
    assert wandb.run is None  # the next run of this process starts its own
    run_dir = tmp_path / "run"
    history, settings = {}, {}
    for kind, record in records(run_dir):
        if kind == "history":
            for item in record.history.item:
                name = item.key or "/".join(item.nested_key)
                history[name] = json.loads(item.value_json)
        if kind == "config":
            settings |= {item.key: json.loads(item.value_json) for item in record.config.update}
        if kind == "run":
            settings |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            assert record.run.display_name == "synthetic-devias-seed0"
    assert {f"loss/{name}" for name in (*config.loss, "total")} <= history.keys()
    for name in ("test_seen/action_top1", "test_unseen/scene_top1"):
        assert history[name] == pytest.approx(metrics[name])  # logged in single precision
    assert "val/harmonic_mean" in history
    assert settings["data"]["num_actions"] == settings["model"]["head"]["num_actions"] == 8
    (files,) = (run_dir / "wandb").glob("offline-run-*/files")
    pictures = sorted(path.name for path in files.rglob("*.png"))
    assert [name.partition("_")[0] for name in pictures] == ["answers", "clips"]
    for path in files.rglob("*.png"):
        with Image.open(path) as picture:
            picture.verify()


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
    kinds = [kind for kind, _ in records(tmp_path / "run")]
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
    (ends,) = [record.exit for kind, record in records(tmp_path) if kind == "exit"]
    assert ends.exit_code == code


def test_a_run_that_never_logged_has_nothing_to_close(tmp_path):
    wandb_logger("devias", "name", str(tmp_path)).close()
    assert not list(tmp_path.iterdir())
