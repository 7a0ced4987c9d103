"""The commands that a sweep's jobs are."""

import shlex
import sys

import pytest
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobStatus, setup_globals
from hydra.types import RunMode

from devias.cli.command import command_line
from devias.config import config_dir
from devias.config.compose import register_resolvers
from devias.errors import ConfigError
from devias.sweeps.jobs import AT_LAUNCH, JobFailedError, in_words, jobs_of, last_error, results_of


@pytest.fixture
def sweep(tmp_path):
    """Makes the jobs of a sweep of `devias <command>`; each list of words is a job's."""

    def make(*jobs, common=(), command="train"):
        register_resolvers()
        setup_globals()
        hydra = Hydra.create_main_hydra2("devias", create_config_search_path(config_dir()))
        try:
            words = [f"hydra.sweep.dir={tmp_path}/sweep", *common]
            if command == "train":
                words.append("cluster=local")
            config = hydra.compose_config(command, words, RunMode.MULTIRUN)
            return jobs_of(
                type("Context", (), {"config_loader": hydra.config_loader}),
                config,
                [["cluster=local", *job] for job in jobs],
                3,
            )
        finally:
            GlobalHydra.instance().clear()

    return make


def test_a_job_is_a_command_that_continues_in_a_folder_of_its_own(sweep, tmp_path):
    first, second = sweep(["seed=1", "model=devias"], ["seed=2", "model=devias"])
    folder = tmp_path / "sweep" / "3"
    words = ["cluster=local", "seed=1", "model=devias"]
    assert first.command[:4] == (sys.executable, "-m", "devias", "train")
    assert first.command[4:] == (*words, f"paths.run_dir={folder}", "ckpt_path=auto")
    assert (first.number, first.folder, first.label) == (3, folder, "seed=1")
    assert second.folder == tmp_path / "sweep" / "4"


def test_a_given_folder_stays_and_is_fixed_at_once(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = "paths.run_dir=out/${names.data}-${seed}-${now:%Y-%m-%d_%H-%M-%S-%f}"
    first, second = sweep([own, "seed=1", "ckpt_path=last"], [own, "seed=2", "ckpt_path=last"])
    assert first.folder.parent == tmp_path / "out"
    assert first.folder.name.startswith("synthetic-1-20")
    assert second.folder.name.startswith("synthetic-2-20")
    assert second.label == "seed=2"
    assert first.at_launch == ("cluster=local", f"paths.run_dir={first.folder}")


def test_two_jobs_of_one_folder_are_refused(sweep):
    with pytest.raises(ConfigError, match=r"2 jobs of the sweep would run in /x: leave paths\."):
        sweep(["paths.run_dir=/x", "seed=1"], ["paths.run_dir=/x", "seed=2"])


def test_other_commands_are_refused(sweep):
    with pytest.raises(ConfigError, match=r"launches the jobs of `devias train`"):
        sweep([], command="evaluate", common=["checkpoint=x"])


def test_what_hydra_was_asked_for_goes_along_but_what_is_of_the_sweep(sweep, tmp_path):
    asked = ["hydra.searchpath=[file:///elsewhere]", "hydra.sweep.subdir=x", "hydra.verbose=true"]
    (job,) = sweep([], common=asked)
    hydra = [word for word in job.command if word.startswith("hydra")]
    assert hydra == ["hydra.searchpath=[file:///elsewhere]", "hydra.verbose=true"]
    assert job.folder == tmp_path / "sweep" / "x"


def test_the_command_of_a_result_lacks_what_the_launcher_added(sweep, monkeypatch):
    (job,) = sweep(["seed=1"])
    monkeypatch.setattr(sys, "argv", ["/x/__main__.py", *job.command[3:]])
    monkeypatch.setenv(AT_LAUNCH, job.environment[AT_LAUNCH])
    assert shlex.split(command_line()) == ["devias", "train", "seed=1"]


def test_every_failure_names_all(sweep):
    jobs = sweep(["seed=1"], ["seed=2"], ["seed=3"])
    results = results_of(jobs, [None, "boom", "bang"])
    done, failed, _ = (result.status for result in results)
    assert (done, failed) == (JobStatus.COMPLETED, JobStatus.FAILED)
    assert results[0].return_value is None
    with pytest.raises(JobFailedError, match=r"(?s)2 of 3 jobs.*seed=2: boom \(.*seed=3: bang"):
        _ = results[1].return_value
    assert list(results[1].overrides) == ["cluster=local", "seed=2"]
    assert "hydra" not in results[1].cfg


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "it printed nothing"),
        ("a\n\n  b  \n", "b"),
        ("2026-01-01 10:00:00 ERROR no such file\nTraceback:\nwandb: done\n", "no such file"),
        ("Traceback (most recent):\n  x\nValueError: bad\n[rank0] end\n", "ValueError: bad"),
        ("KeyboardInterrupt\nlater\n", "KeyboardInterrupt"),
    ],
)
def test_the_line_that_says_why(text, line):
    assert last_error(text) == line


def test_durations():
    assert [in_words(s) for s in (0, 61.4, 3600, 36061)] == ["0:00", "1:01", "1:00:00", "10:01:01"]
