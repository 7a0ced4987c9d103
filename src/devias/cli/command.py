"""What all commands share: how their words reach Hydra, and how they end."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from devias.cli import completion
from devias.config import config_dir
from devias.config.compose import own_hydra, register_resolvers
from devias.config.messages import explain, explain_words
from devias.config.overrides import is_override, normalize_overrides
from devias.sweeps.jobs import AT_LAUNCH, FULL_ERROR, JobFailedError

log = logging.getLogger(__name__)

PROGRAMS = ("devias", "__main__")
"""What starts a command by its name: the console script and `python -m devias`."""


def command(
    config_name: str, rewrite: Callable[[Sequence[str]], Sequence[str]] = list
) -> Callable[[Callable[[DictConfig], object]], Callable[..., None]]:
    """Make a function of the composed configuration a program on Hydra.

    An error that its user can mend ends it with the message alone and code 1, any other with a
    trace; `HYDRA_FULL_ERROR=1` shows the trace of all. In a sweep the other jobs still run. The
    text of the function's module is the program's `--help`.

    Args:
        config_name: the file in `conf/`.
        rewrite: turns words of the command line that are not Hydra's into those that are.
    """

    def decorate(function: Callable[[DictConfig], object]) -> Callable[..., None]:
        @functools.wraps(function)
        def main(words: Sequence[str] | None = None) -> None:
            words = sys.argv[1:] if words is None else words
            if {"-h", "--help"} & set(words):
                print(inspect.getdoc(inspect.getmodule(function)))
                return
            if not words or words[0] not in completion.FLAGS:
                words = normalize_overrides(rewrite(words))
            # Flags first: argparse takes no positional words on both sides of one.
            _run(_Job(function), config_name, sorted(words, key=is_override))

        return main

    return decorate


def folder_as(key: str) -> Callable[[Sequence[str]], list[str]]:
    """For `command`: takes `FOLDER` on the command line as `key=FOLDER`."""

    def rewrite(words: Sequence[str]) -> list[str]:
        return [
            f"{key}={word}"
            if word[:1] != "-" and ("=" not in word or Path(word).exists())
            else word
            for word in words
        ]

    return rewrite


def command_line() -> str:
    """The command line that repeats this program, or this job of a sweep, elsewhere."""
    program = Path(sys.argv[0]).stem
    words = ["devias"] if program in PROGRAMS else ["python", "-m", f"devias.{program}"]
    added = shlex.split(os.environ.get(AT_LAUNCH, ""))
    return shlex.join([*words, *(word for word in sys.argv[1:] if word not in added)])


@contextmanager
def sweep_launcher(
    program: Callable[..., None], config_name: str, words: Sequence[str]
) -> Iterator[Launcher]:
    """What `devias <config_name> --multirun <words>` would start its jobs with.

    For sweeps whose jobs have lists of words of their own; within the context this process looks as
    if it had been called with that command line.

    Args:
        program: the command, as `command` made it.
        config_name: its configuration and name.
        words: those that choose the launcher are heeded; jobs are given theirs at each launch.

    Raises:
        hydra.errors.HydraException: no configuration can be composed of the words.
    """
    register_resolvers()
    full_error = os.environ.get(FULL_ERROR, "0")
    argv = [sys.argv[0], config_name, "--multirun", *words]
    with own_hydra(), _process(argv, full_error):
        job = _Job(inspect.unwrap(program))
        with hydra.initialize_config_dir(config_dir(), job_name=config_name, version_base="1.3"):
            composer = GlobalHydra.instance().hydra
            assert composer is not None
            config = composer.compose_config(
                config_name, [*words, "hydra.mode=MULTIRUN"], run_mode=RunMode.MULTIRUN
            )
            HydraConfig.instance().set_config(config)
            context = HydraContext(composer.config_loader, Callbacks(config))
            yield Plugins.instance().instantiate_launcher(
                hydra_context=context, task_function=job, config=config
            )


class _Job:
    """A command's function as Hydra calls it: once, or for every job of a sweep."""

    def __init__(self, function: Callable[[DictConfig], object]) -> None:
        functools.update_wrapper(self, function)  # its module names Hydra's log file
        self.function = function
        self.argv = sys.argv
        self.full_error = os.environ.get(FULL_ERROR, "0")
        self.started = False

    def __call__(self, config: DictConfig) -> Any:
        self.started = True
        in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
        argv = self.argv
        if in_sweep:  # what starts other ranks, or is stored as the command, is this job alone
            name = argv[1:2] if Path(argv[0]).stem in PROGRAMS else []
            argv = [argv[0], *name, *HydraConfig.get().overrides.task]
        with _process(argv, self.full_error):
            try:
                return self.function(config)
            except Exception as error:
                message = explain(error) if self.full_error == "0" else None
                if message is None:
                    if in_sweep:  # Hydra shows only the first trace, and that at the end
                        log.exception("this job failed")
                    raise
                log.error("%s", message)
                if in_sweep:
                    raise JobFailedError(message) from error
                sys.exit(1)


def _run(job: _Job, config_name: str, words: list[str]) -> None:
    """Compose the configuration and do the job or jobs."""
    register_resolvers()
    program = hydra.main(version_base="1.3", config_path=config_dir(), config_name=config_name)(job)
    try:
        with _process([sys.argv[0], *words], "1"):  # Hydra shall raise its errors, not print them
            program()
    except JobFailedError as error:
        sys.exit(f"The sweep is over; not all jobs came to an end: {error}")
    except Exception as error:
        if job.started or job.full_error != "0":
            raise
        # Before a job starts, its words alone can be wrong.
        sys.exit(explain_words(error, config_name, words))


@contextmanager
def _process(argv: list[str], full_error: str) -> Iterator[None]:
    """What this process was called with, for a while."""
    before = sys.argv, os.environ.get(FULL_ERROR, "0")
    sys.argv, os.environ[FULL_ERROR] = argv, full_error
    try:
        yield
    finally:
        sys.argv, os.environ[FULL_ERROR] = before
