"""`cluster=`: what it sets, and a sweep through the whole program."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import hydra
import pytest
from hydra.core.plugins import Plugins

from devias.cli import main
from devias.config import compose, config_dir
from devias.errors import ConfigError
from devias.sweeps.jobs import settings_of
from devias.sweeps.local import LocalSettings
from devias.sweeps.slurm import SlurmSettings
from devias.training.run import build_trainer
from helpers import tiny_run, write_text

CLUSTERS = sorted(path.stem for path in (Path(config_dir()) / "cluster").glob("*.yaml"))


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_every_cluster_has_a_launcher_with_the_settings_below_cluster(cluster):
    with hydra.initialize_config_dir(config_dir(), version_base="1.3"):
        words = ["experiment=synthetic", f"cluster={cluster}"]
        config = hydra.compose("train", words, return_hydra_config=True)
        launcher = Plugins.instance()._instantiate(config.hydra.launcher)
    kind = {"local": LocalSettings, "slurm": SlurmSettings}[cluster]
    settings = settings_of(kind, launcher.settings)
    assert {f.name for f in fields(kind)} == set(config.cluster)  # each is a key
    assert settings == kind()
    with pytest.raises(ConfigError, match=r"cluster\.setings is no setting; "):
        settings_of(kind, {"setings": 1})


def test_the_local_trainer_takes_what_a_job_is_given(tmp_path):
    config = tiny_run(tmp_path, "cluster=local")
    assert build_trainer(config).world_size == 1
    assert tiny_run(tmp_path, "cluster=local", "cluster.devices=2").trainer.devices == 2
    assert compose("experiment=synthetic").get("cluster") is None


def test_a_cluster_of_one_s_own_builds_on_a_shipped_one(tmp_path):
    """As in `experiments/clusters.md`."""
    page = (Path(config_dir()).parent / "experiments" / "clusters.md").read_text()
    text = page.partition("```yaml\n")[2].partition("```")[0]
    write_text(tmp_path / "conf" / "cluster" / "mine.yaml", text)
    config = compose(
        "experiment=synthetic", "cluster=mine", f"hydra.searchpath=[file://{tmp_path}/conf]"
    )
    assert (config.cluster.partition, config.cluster.minutes) == ("gpu", 1440)
    assert config.trainer.devices == 8


def test_a_misspelt_setting_is_refused():
    words = ["cluster=local", "cluster.n_job=2"]
    with pytest.raises(SystemExit, match=r"no key cluster\.n_job; did you mean cluster\.n_jobs\?"):
        main(["train", *words])


def test_a_sweep_of_processes_tells_of_the_one_that_failed(tmp_path):
    words = [
        "cluster=local", "cluster.n_jobs=2", "experiment=synthetic,ucf101", "check=true",
        f"hydra.sweep.dir={tmp_path}/sweep", f"paths.datasets={tmp_path}",
    ]  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-m", "devias", "train", "--multirun", *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "1 of 2 jobs failed\nexperiment=ucf101: " in ended.stderr
    assert "missing for this run" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "nothing is missing" in (tmp_path / "sweep/0/output.log").read_text()
