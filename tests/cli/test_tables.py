"""`devias tables`: from a file to a table."""

import csv
import json
import re
import signal
import subprocess
import sys
import time

import pytest
import yaml
from PIL import Image

from declared import until
from devias import cli
from devias.cli.command import FULL_ERROR
from devias.cli.tables import as_settings
from devias.reporting.results import RunResult
from helpers import TINY_SYNTHETIC

COLUMNS = ["seen/action_top1", "unseen/action_top1", "seen/scene_top1"]


def test_words_are_settings_or_overrides_of_training():
    words = ["run", "x/t.yaml", "rows=[x,'y z']", "seeds=0", "model=devias", "~loss.x", "+a='b c'"]
    overrides = r"overrides=['model=devias','~loss.x','+a=\'b c\'']"
    assert as_settings(words) == [
        "action=run", "file=x/t.yaml", "rows=[x,'y z']", "seeds=0", overrides,
    ]  # fmt: skip
    assert as_settings(["show", "a b.yaml", "-c", "job"])[1:] == ["file=a b.yaml", "-c", "job"]


@pytest.fixture
def mini(tmp_path, monkeypatch):
    """A table of two models at tiny sizes; calls the command on it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(FULL_ERROR, raising=False)
    rows = {"Action": "model=action_vit", "Scene": "model=scene_vit"}
    write_table(tmp_path, rows)
    return lambda *words: cli.main(["tables", *words, f"paths.datasets={tmp_path / 'data'}"])


def write_table(folder, rows, **more):
    base = [*TINY_SYNTHETIC, "trainer.max_epochs=1", "callbacks.figures=null"]
    content = {"title": "Mini", "columns": COLUMNS, "base": base, "rows": rows} | more
    (folder / "mini.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def test_a_table_is_run_and_shown_and_what_failed_is_told(mini, tmp_path, capsys):
    broken = "model=devias weights=/nowhere.ckpt"
    write_table(tmp_path, {"Action": "model=action_vit", "Bad": broken, "Scene": "model=scene_vit"})
    with pytest.raises(SystemExit, match="1 of 3 runs failed; retry_failed=true tries again"):
        mini("run", "mini.yaml")
    output = capsys.readouterr().out
    assert "2 of 3 runs finished, 1 failed" in output
    assert re.search(r"Bad, seed 0 failed: .*/nowhere\.ckpt", output)
    folder = tmp_path / "runs" / "tables" / "mini"
    files = {path.parent.name.split("-")[0]: path for path in folder.glob("*/result.json")}
    assert files.keys() == {"Action", "Scene"}
    times = {path: path.stat().st_mtime_ns for path in files.values()}
    result = RunResult.load(files["Scene"])
    assert (result.model, result.seed) == ("Scene", 0)
    assert f"paths.run_dir={files['Scene'].parent}" in result.command

    with pytest.raises(SystemExit):
        mini("run", "mini.yaml", "rows=[Bad,Scene]")
    assert "Launching" not in capsys.readouterr().out
    assert times == {path: path.stat().st_mtime_ns for path in files.values()}

    mini("show", "mini.yaml", "output=[t/t.csv,t/t.tex,t/t.html,t/t.md,t/t.png]")
    with (tmp_path / "t" / "t.csv").open() as file:
        rows = {row["Row"]: row for row in csv.DictReader(file)}
    assert [rows[name]["Seeds"] for name in ("Action", "Bad", "Scene")] == ["1", "0", "1"]
    shown = f"{100 * result.metrics['seen/scene_top1']:.1f}"
    assert rows["Scene"]["Scene seen"] == shown
    assert r"\toprule" in (tmp_path / "t" / "t.tex").read_text()
    assert "<h1>Mini</h1>" in (tmp_path / "t" / "t.html").read_text()
    assert f"**{shown}**" in (tmp_path / "t" / "t.md").read_text()
    assert Image.open(tmp_path / "t" / "t.png").width > 300
    capsys.readouterr()
    mini("show", "mini.yaml", "format=markdown", "rows=Scene")
    assert f"| Scene | 1/1 | – | – | {shown} |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "none.yaml"], "none.yaml: No such file"),
        (["run"], "say what to do with which file: devias tables run|show FILE"),
        (["walk", "mini.yaml"], "action must be one of run, show, not 'walk'"),
        (["show", "mini.yaml", "format=word"], "format must be one of terminal, markdown"),
        (["show", "mini.yaml", "output=t.doc"], "or the output a chart, not 'doc'"),
        (["show", "mini.yaml", "rows=Scenes"], "has no row 'Scenes'; did you mean Scene?"),
        (["show", "mini.yaml", "model.x=1"], "row 'Action': there is no key model.x"),
        (["run", "mini.yaml", "cluster.x=1"], "there is no key cluster"),
    ],
)
def test_what_is_asked_wrongly_is_told_in_a_sentence(mini, capsys, words, message):
    with pytest.raises(SystemExit) as caught:
        mini(*words)
    assert message in capsys.readouterr().out + str(caught.value)


@pytest.mark.slow
def test_a_table_of_neighbors_is_measured_after_training(mini, tmp_path, capsys):
    more = {"measure": "knn", "columns": ["A-A", "S-S", "A-S", "S-A"]}
    write_table(tmp_path, {"Both": "model=two_token"}, **more)
    mini("run", "mini.yaml")
    (probe,) = (tmp_path / "runs").rglob("knn.json")
    told = json.loads(probe.read_text())["rows"]["model"]["A-A"]["weighted"]["accuracy"]
    mini("show", "mini.yaml", "format=markdown")
    assert f"| Both | 1/1 | {100 * told:.1f} |" in capsys.readouterr().out


@pytest.mark.slow
def test_two_at_once_and_one_of_them_killed_make_one_table(mini, tmp_path):
    """As processes of their own, by SIGKILL, with real training."""
    rows = {"Action": "model=action_vit", "Scene": "model=scene_vit", "Both": "model=two_token"}
    write_table(tmp_path, rows, seeds=[0, 1])
    program = [sys.executable, "-m", "devias", "tables", "run", "mini.yaml"]
    program.append(f"paths.datasets={tmp_path / 'data'}")
    folder = tmp_path / "runs" / "tables" / "mini"

    def start(name):
        output = (tmp_path / name).open("w")
        return subprocess.Popen(program, stdout=output, stderr=subprocess.STDOUT)

    first, second = start("first.log"), start("second.log")
    until(lambda: len(list(folder.glob("*/result.json"))) >= 2, 180)
    first.send_signal(signal.SIGKILL)
    first.wait()
    time.sleep(0.5)
    third = start("third.log")
    assert (second.wait(300), third.wait(300)) == (0, 0)
    results = sorted(folder.glob("*/result.json"))
    assert len(results) == 6
    for path in results:
        ends = (path.parent / "train.log").read_text().count("`Trainer.fit` stopped")
        assert ends in (1, 2)  # two where the kill came between training and result
    assert "6 of 6 runs finished" in (tmp_path / "third.log").read_text()
    assert len(list(folder.iterdir())) == 6
