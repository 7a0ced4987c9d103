"""Runs that are sent to a server, now or later."""

import json
import logging
import os
import subprocess
import sys
import time

import pytest
import wandb

from devias import cli
from devias.reporting.loggers.wandb import wandb_logger
from wandb_server import wandb_server

KEY = "0123456789" * 4


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A stand-in for the server, to which there is a key."""
    for name in ("MODE", "SILENT", "INIT_TIMEOUT", "FINISH_TIMEOUT", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", "")
        monkeypatch.delenv(f"WANDB_{name}")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    wandb.teardown()
    with wandb_server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        yield server
        wandb.teardown()


def log_run(run_dir, *steps):
    """What one process does for a run."""
    logger = wandb_logger("devias", "name", str(run_dir), group="group")
    for step in steps:
        logger.log_metrics({"loss/total": 1.0 / (1 + step)}, step)
    logger.close()


def steps_of(server, run_dir):
    rows = server.rows[(run_dir / ".wandb_id").read_text()]
    rows = [json.loads(rows[place]) for place in sorted(rows)]
    return [row["trainer/global_step"] for row in rows if "trainer/global_step" in row]


def test_a_continued_run_goes_on_at_the_server(server, tmp_path):
    for steps in ((1, 2), (3, 4)):
        log_run(tmp_path, *steps)
    assert len(server.rows) == 1
    assert steps_of(server, tmp_path) == [1, 2, 3, 4]
    named = [(v["name"], v["groupName"]) for v in server.begun if v.get("groupName")]
    assert {*named} == {((tmp_path / ".wandb_id").read_text(), "group")}


@pytest.mark.slow  # W&B's own process may take a minute to give up
@pytest.mark.parametrize("mode", ["refuses", "hangs"])
def test_a_server_that_takes_no_run_delays_it_for_as_long_as_was_said(
    server, tmp_path, monkeypatch, caplog, mode
):
    server.mode = mode
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "2")
    start = time.monotonic()
    with caplog.at_level(logging.WARNING):
        log_run(tmp_path, 1)
    assert time.monotonic() - start < 45
    assert "W&B goes on offline" in caplog.text
    assert [*(tmp_path / "wandb").glob("offline-run-*/*.wandb")]


@pytest.mark.slow
def test_a_server_that_goes_away_does_not_hold_the_run(server, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "2")
    logger = wandb_logger("devias", "name", str(tmp_path))
    logger.log_metrics({"loss/total": 1.0}, 1)
    server.mode = "hangs"
    start = time.monotonic()
    logger.log_metrics({"loss/total": 1.0}, 2)
    logger.close()
    assert time.monotonic() - start < 45


@pytest.mark.slow
def test_sync_puts_the_folders_of_a_run_together(server, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    for steps in ((1, 2), (3, 4)):
        log_run(tmp_path, *steps)
        time.sleep(1.1)  # folders are named by the second
    wandb.teardown()
    assert not server.rows
    program = "import sys; from wandb.cli.cli import cli; sys.exit(cli())"
    environment = {**os.environ, "WANDB_MODE": "online"}
    subprocess.run(
        [sys.executable, "-c", program, "sync", "--yes"],
        cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert steps_of(server, tmp_path) == [1, 2, 3, 4]


def test_the_dashboard_is_saved(server, capsys):
    cli.main(["dashboard", "project=devias", "name=Title"])
    workspace, report = server.views
    assert (workspace["entityName"], workspace["displayName"]) == ("me", "Title")
    assert "result/harmonic_mean" in workspace["spec"]
    assert (report["type"], report["displayName"]) == ("runs", "Title")
    addresses = capsys.readouterr().out.split()
    assert [address.partition("/me/devias")[1] for address in addresses] == ["/me/devias"] * 2
