"""How the commands start and end."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig

from devias import cli
from devias.cli import COMMANDS
from devias.cli.command import FULL_ERROR, command, command_line, sweep_launcher
from devias.config.compose import finalize_config
from devias.errors import DeviasError


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Makes a command of a function on a small configuration; runs it in a folder of its own."""
    monkeypatch.delenv(FULL_ERROR, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["/bin/devias", "train"])

    def start(function, *words):
        folders = f"hydra.sweep.dir={tmp_path}", f"hydra.run.dir={tmp_path}"
        command("export")(function)(["checkpoint=a", "output=b", *folders, *words])

    yield start
    logging.getLogger().handlers.clear()


def test_the_commands_are_listed_without_loading_them(tmp_path, capsys):
    cli.main([])
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in COMMANDS)
    probe = "import sys, devias.cli; devias.cli.main(['--help']); print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert out.stdout == f"{listed}False\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_with_examples(name, capsys):
    cli.main([name, "--help"])
    assert f"    devias {name} " in capsys.readouterr().out.replace("masks\n", "masks \n")


def test_an_unknown_command_is_answered_with_the_nearest(capsys):
    with pytest.raises(SystemExit, match=r"no command trian; did you mean train\?"):
        cli.main(["trian"])
    cli.main(["--version"])
    assert capsys.readouterr().out.startswith("devias 0.")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainer.max_epoch=1"], "no key trainer.max_epoch; did you mean trainer.max_epochs?"),
        (["max_epochs=1"], "there is no key max_epochs; did you mean trainer.max_epochs?"),
        (["experiment=ucf10"], "experiment has no option ucf10; did you mean ucf101? there are "),
        (["~loss.action"], "there is no key loss.action; did you mean"),
        (["seed"], "seed is not key=value: missing EQUAL"),
        (["seed=[1"], "seed=[1 is not key=value: "),
        (["seed=1,2"], "Ambiguous value for argument 'seed=1,2'"),
        (["--cfg", "job", "--multirun"], "Only one of --run, --multirun"),
        (["--config-dir", "nowhere"], "nowhere' not found"),
    ],
)
def test_words_that_compose_to_nothing_end_in_one_line(words, message, monkeypatch, tmp_path):
    monkeypatch.delenv(FULL_ERROR, raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        cli.main(["train", *words])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_user_ends_a_command_with_its_message(program, capsys):
    def fails(config):
        raise DeviasError("fetch it from there")

    with pytest.raises(SystemExit) as caught:
        program(fails)
    assert caught.value.code == 1
    output = "".join(capsys.readouterr())
    assert "fetch it from there" in output
    assert "Traceback" not in output
    os.environ[FULL_ERROR] = "1"
    with pytest.raises(DeviasError, match="fetch it"):
        program(fails)


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        (lambda config: Path("/proc/none/x").write_text("x"), "/proc/none/x: No such file"),
        (lambda config: config.mispelt, "mispelt: Key 'mispelt' is not in struct"),
    ],
)
def test_errors_of_files_and_settings_are_told_alone(program, capsys, fail, message):
    with pytest.raises(SystemExit) as caught:
        program(fail)
    assert caught.value.code == 1
    assert message in capsys.readouterr().out


def test_another_error_keeps_its_trace(program):
    with pytest.raises(ZeroDivisionError):
        program(lambda config: 1 / 0)


@pytest.mark.parametrize("error", [DeviasError, ZeroDivisionError])
def test_a_failed_job_leaves_the_others_of_a_sweep(program, capsys, error):
    seen = []

    def job(config):
        seen.append((config.num_scenes, command_line().split("num_scenes=")[1].split()[0]))
        assert os.environ[FULL_ERROR] == "0"  # what the user has set, for processes started here
        if config.num_scenes == 2:
            raise error("diverged")

    with pytest.raises((SystemExit, ZeroDivisionError)) as caught:
        program(job, "--multirun", "num_scenes=1,2,3")
    assert seen == [(1, "1"), (2, "2"), (3, "3")]
    output = capsys.readouterr().out
    assert ("Traceback" in output) == (error is ZeroDivisionError)
    assert "diverged" in output
    assert "diverged" in str(caught.value)


def test_a_termination_ends_a_sweep(program):
    seen = []

    def job(config):
        seen.append(HydraConfig.get().job.num)
        raise SystemExit(143)

    with pytest.raises(SystemExit) as caught:
        program(job, "--multirun", "num_scenes=1,2")
    assert (caught.value.code, seen) == (143, [0])


def test_the_command_that_is_stored_repeats_the_program(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/opt/bin/devias", "train", "data.root=/a b"])
    assert command_line() == "devias train 'data.root=/a b'"
    monkeypatch.setattr(sys, "argv", ["/x/devias/train.py", "seed=1"])
    assert command_line() == "python -m devias.train seed=1"


def test_the_modules_of_before_are_the_commands(tmp_path):
    for module in ("train", "evaluate", "export", "pseudo", "report", "mask_quality"):
        help_text = subprocess.run(
            [sys.executable, "-m", f"devias.{module}", "--help"],
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert help_text.stdout


def test_jobs_of_a_sweep_lie_where_their_own_words_say(tmp_path, monkeypatch):
    """Each may have other words, and is told as a call of its own."""
    seen = []

    @command("train")
    def train(config):
        finalize_config(config)
        seen.append((config.paths.run_dir, config.names.model, command_line()))
        if config.seed == 2:
            raise DeviasError("diverged")

    monkeypatch.setattr(sys, "argv", ["/bin/devias", "tables", "run"])
    jobs = [["seed=1", "names.model=x", f"paths.run_dir={tmp_path / 'own'}"], ["seed=2"], []]
    words = [f"hydra.sweep.dir={tmp_path / 'sweep'}", "experiment=synthetic"]
    with sweep_launcher(train, "train", words) as launcher:
        ends = launcher.launch(jobs, 4)
    folders = [tmp_path / "own", tmp_path / "sweep" / "5", tmp_path / "sweep" / "6"]
    assert [folder for folder, _, _ in seen] == [str(folder) for folder in folders]
    assert [model for _, model, _ in seen] == ["x", "devias", "devias"]
    assert seen[0][2] == f"devias train seed=1 names.model=x paths.run_dir={folders[0]}"
    assert [end.status.name for end in ends] == ["COMPLETED", "FAILED", "COMPLETED"]
    with pytest.raises(DeviasError, match="diverged"):
        _ = ends[1].return_value
    assert sys.argv == ["/bin/devias", "tables", "run"]
