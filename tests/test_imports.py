"""Which room imports which."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def test_rooms_import_only_from_floors_below(monkeypatch, capsys):
    cli = pytest.importorskip("importlinter.cli")
    monkeypatch.chdir(REPOSITORY)
    assert cli.lint_imports(no_cache=True) == cli.EXIT_STATUS_SUCCESS, capsys.readouterr().out
