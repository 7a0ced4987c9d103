"""`devias search`: what is refused before anything starts, and what a search leaves."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devias.cli import search
from devias.cli.search import as_settings, composed
from devias.config import config_dir
from devias.sweeps.space import read_space
from helpers import TINY_SYNTHETIC, write_text

SPACES = sorted(path.stem for path in Path(config_dir(), "hparams_search").glob("*.yaml"))
SMALL = f"""
base: {list(TINY_SYNTHETIC)}
parameters:
  optim.base_lr: {{ float: [1e-3, 1e-1], log: true }}
  recipe.prob_aug: {{ choice: [0.0, 1.0] }}
"""


@pytest.fixture
def space(tmp_path):
    return write_text(tmp_path / "small.yaml", SMALL)


def refused(capfd, *words):
    with pytest.raises(SystemExit) as caught:
        search.main([*words])
    assert caught.value.code == 1
    (line,) = capfd.readouterr().out.splitlines()
    return line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sampler=cma"], "sampler must be one of tpe, random, grid, not 'cma'"),
        (["pruner=mean"], "pruner must be one of median, hyperband, none"),
        (["direction=up"], "direction must be one of maximize, minimize"),
        (["trials=-1"], "trials must be a whole number, 0 or more, not -1"),
        (["trials=many"], "trials must be a whole number"),
        (["sampler=grid"], "a grid needs a step, or choices, for optim.base_lr"),
        (["optim.base_lrr=1"], "there is no key optim.base_lrr; did you mean optim.base_lr?"),
        (["model=devia"], "model has no option devia; did you mean devias?"),
        (["+recipe.mixing=1"], "unknown configuration key 'recipe.mixing'"),
        (["name=a/b"], "name=a/b must be a plain name"),
        (["backbone.weights=gone.pth"], "1 thing is missing for this run"),
    ],
)
def test_what_is_wrong_is_one_sentence_before_anything_starts(tmp_path, space, capfd, words, said):
    given = [f"space={space}", f"paths.runs={tmp_path}/runs", *words]
    with pytest.raises(SystemExit) as caught:
        search.main(given)
    assert caught.value.code == 1
    assert said in capfd.readouterr().out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ("optim.lr: { float: [0, 1] }", "there is no key optim.lr"),
        ("model: { choice: [devias, devia] }", "model has no option devia"),
    ],
)
def test_a_space_that_makes_no_run_is_refused(tmp_path, capfd, parameter, said):
    space = write_text(tmp_path / "wrong.yaml", SMALL + f"  {parameter}\n")
    assert said in refused(capfd, f"space={space}", f"paths.runs={tmp_path}/runs")
    assert not (tmp_path / "runs").exists()


def test_without_optuna_it_says_what_to_install(space, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "devias.sweeps.study", raising=False)
    assert "pip install 'devias[search]'" in refused(capfd, f"space={space}")


def test_words_about_training_are_handed_on():
    words = as_settings(["space=x", "seed=3", "--cfg", "job", "+a.b='c d'", "~loss.x", "trials=2"])
    assert words == [
        *("space=x", "--cfg", "job", "trials=2"),
        r"overrides=['seed=3','+a.b=\'c d\'','~loss.x']",
    ]


@pytest.mark.parametrize("name", SPACES)
def test_every_shipped_space_composes_with_its_experiment(name, monkeypatch):
    monkeypatch.setattr("devias.training.preflight.preflight", lambda config: None)
    config = composed(read_space(name), ["paths.datasets=gone"])
    assert config.names.experiment in read_space(name).base[0]
    assert config.test is False


def test_the_documented_space_composes(tmp_path):
    page = Path(config_dir(), "README.md").read_text()
    (text,) = re.findall(r"```yaml\n(base: .*?)```", page, re.DOTALL)
    space = read_space(str(write_text(tmp_path / "documented.yaml", text)))
    config = composed(space, [f"paths.datasets={tmp_path}"])
    assert (config.trainer.max_epochs, config.model.slot_attention.num_slots) == (3, 2)


@pytest.mark.slow
def test_a_search_that_is_killed_with_its_run_ends_as_if_it_had_not_been(tmp_path, space):
    words = [
        *("search", f"space={space}", "trials=3", "trainer.max_epochs=3"),
        *(f"paths.datasets={tmp_path}/data", f"paths.runs={tmp_path}/runs"),
        "callbacks.last.every_n_steps=1",
    ]

    def start():
        with (tmp_path / "out").open("a") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "devias", *words], stdout=out, stderr=out
            )

    folder = tmp_path / "runs" / "search" / "small"
    worker = start()
    while not (folder / "trial-1" / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.05)
        assert worker.poll() is None
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    workers = [start(), start()]
    assert [worker.wait() for worker in workers] == [0, 0]
    text = (folder / "trials.md").read_text()
    assert "3 complete" in text
    assert "    devias train experiment=synthetic" in text
    assert (folder / "search.png").exists()
    assert len((folder / "trials.csv").read_text().splitlines()) == 4
    output = (folder / "trial-1" / "output.log").read_text()
    assert "Restor" in output  # from the checkpoint
