import json
import time

import pytest

from devias import cli

NOWHERE = "http://127.0.0.1:9"  # nothing listens there


@pytest.fixture(autouse=True)
def _without_a_key(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("API_KEY", "MODE", "SILENT", "BASE_URL"):
        monkeypatch.setenv(f"WANDB_{name}", "")
        monkeypatch.delenv(f"WANDB_{name}")


def test_the_specification_is_written_without_key_or_server(tmp_path, capsys):
    path = tmp_path / "new" / "dashboard.json"
    cli.main(["dashboard", "entity=me", "project=mine", "name=Title", f"output={path}"])
    assert str(path) in capsys.readouterr().out
    written = json.loads(path.read_text())
    assert written["workspace"]["project"] == "mine"
    assert written["report"]["displayName"] == "Title"


def test_without_a_key_nothing_is_saved_and_one_sentence_says_so(capsys, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked for a login"))
    with pytest.raises(SystemExit) as end:
        cli.main(["dashboard"])
    assert end.value.code == 1
    assert capsys.readouterr().out == (
        "saving to W&B failed: No API key configured. Use `wandb login` to log in; "
        "output=FILE.json writes the specification without a server\n"
    )


def test_without_a_network_the_command_ends(capsys, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", NOWHERE)
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setattr("devias.reporting.wandb_workspace.PATIENCE", 2.0)
    start = time.monotonic()
    with pytest.raises(SystemExit):
        cli.main(["dashboard", "entity=me"])
    assert time.monotonic() - start < 20
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("output=FILE.json writes the specification without a server")


def test_a_missing_package_is_told(capsys, monkeypatch):
    find = "devias.reporting.loggers.tracker.importlib.util.find_spec"
    monkeypatch.setattr(find, lambda _: None)
    with pytest.raises(SystemExit):
        cli.main(["dashboard"])
    assert capsys.readouterr().out == (
        "devias dashboard needs the package wandb_workspaces: pip install 'devias[trackers]'\n"
    )
