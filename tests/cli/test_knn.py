"""`devias knn`: features made once, a table and a file."""

import json

import pytest

from devias import cli
from devias.cli.command import FULL_ERROR
from devias.evaluation.knn import PROBES
from helpers import save_untrained, tiny_run


@pytest.fixture(scope="module")
def checkpoint(root):
    path = root / "run" / "checkpoints" / "best.ckpt"
    save_untrained(tiny_run(root), path)
    return path


def test_features_are_made_once_for_all_calls(root, checkpoint, capsys):
    for model in ("action_vit", "scene_vit"):
        config = tiny_run(root, f"paths.run_dir={root / model}", f"model={model}")
        save_untrained(config, root / model / "best.ckpt")
    upper = ",".join(str(root / model / "best.ckpt") for model in ("action_vit", "scene_vit"))
    cli.main(["knn", f"checkpoint={checkpoint}", "k=3", f"upper=[{upper}]"])
    assert "| upper bound |" in capsys.readouterr().out
    folder = root / "run" / "knn" / "synthetic-test_seen-k3"
    content = json.loads((folder / "knn.json").read_text())
    assert (content["bank"], content["query"], content["k"]) == ("train", "test_seen", 3)
    assert set(content["rows"]["model"]) == set(content["rows"]["random"]) == set(PROBES)
    assert set(content["rows"]["upper bound"]) == {"A-A", "S-S"}
    share = content["rows"]["model"]["A-A"]["weighted"]
    assert share["videos"] == 5
    assert 0 <= share["low"] <= share["accuracy"] <= share["high"] <= 1
    assert "plain vote" in (folder / "table.md").read_text()

    assert (root / "action_vit" / "features").is_dir()
    cache = root / "run" / "features"
    made = {path: path.stat().st_mtime_ns for path in cache.rglob("*.parquet")}
    assert len(made) == 2
    cli.main(["knn", f"checkpoint={checkpoint}", "k=5", "query=test_unseen"])
    again = {path: path.stat().st_mtime_ns for path in cache.rglob("*.parquet")}
    assert made.items() < again.items()
    assert len(again) == 3
    assert (root / "run" / "knn" / "synthetic-test_unseen-k5" / "knn.json").exists()


def test_too_many_neighbors_are_refused(checkpoint, capsys, monkeypatch):
    monkeypatch.delenv(FULL_ERROR, raising=False)
    for words, message in ((["k=0"], "must be above 0"), (["k=99"], "k=99 neighbors can't be")):
        with pytest.raises(SystemExit):
            cli.main(["knn", f"checkpoint={checkpoint}", *words])
        assert message in capsys.readouterr().out
