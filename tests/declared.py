"""Declared tables in tests, and jobs that take no time to train."""

import multiprocessing
import os
import time
from pathlib import Path

import yaml
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from devias.config import config_dir
from devias.reporting.results import RunResult, result_of
from devias.sweeps.plan import Plan, PlannedRun
from devias.sweeps.specification import read_table
from devias.training.run_folder import claimed_folder

FILES = sorted((Path(config_dir()).parent / "experiments").glob("*.yaml"))
"""The tables that are shipped."""

JOURNAL = "journal"
"""File that jobs write a line to when they start and when they end."""

fork = multiprocessing.get_context("fork")
"""Processes that need no imports."""


def table_of(folder, **content):
    """A table's file, read."""
    path = folder / "mini.yaml"
    content = {"title": "Mini", "columns": ["harmonic_mean"]} | content
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return read_table(path)


def plan_of(folder, labels, seeds=(0,)):
    """The plan of a table without anything being composed."""
    table = table_of(folder, rows=dict.fromkeys(labels, "model=devias"), seeds=list(seeds))
    of_rows = {
        label: [
            PlannedRun(label, seed, ("model=devias",), f"{i:08}", folder / f"{label}-s{seed}")
            for seed in seeds
        ]
        for i, label in enumerate(labels)
    }
    runs = [run for several in of_rows.values() for run in several]
    return Plan(table, folder, runs, of_rows, dict.fromkeys(labels, ("synthetic", 1)))


def result_for(run, **changes):
    """What a run would leave."""
    made = {"seconds": {"fit": 60.0}, "command": f"devias train seed={run.seed} {run.label}"}
    metrics = changes.pop("metrics", {"harmonic_mean": 0.5})
    given = {"run_id": run.run_id, "protocol": "synthetic"} | made | changes
    return RunResult("e", run.label, "d", run.seed, "c" * 40, metrics, **given)


def fake_job(run, seconds=0.0):
    """As `devias train … ckpt_path=auto`: claim, leave alone what is done, else work and end."""
    with claimed_folder(OmegaConf.create({"paths": {"run_dir": str(run.folder)}})) as folder:
        if result_of(folder, run.run_id, run.seed):
            return
        note(run, "start")
        time.sleep(seconds)
        if "bad" in run.label:
            raise ArithmeticError("first line\nthe loss diverged")
        note(run, "end")
        result_for(run).save(folder / "result.json")


def note(run, word):
    """Add a line to the journal beside the runs, whole whoever else does."""
    with (run.folder.parent / JOURNAL).open("a") as file:
        file.write(f"{word} {run.label} {run.seed}\n")


def noted(folder, word):
    """The runs of which a word stands in the journal."""
    lines = (folder / JOURNAL).read_text().splitlines() if (folder / JOURNAL).exists() else []
    return [line.removeprefix(f"{word} ") for line in lines if line.startswith(f"{word} ")]


def fake_launcher(plan, seconds=0.0, calls=None):
    """`Launcher.launch` for fake jobs, one after the other in this process."""
    of_words = {tuple(run.words): run for run in plan.runs}

    def launch(jobs, first):
        if calls is not None:
            calls.append(len(jobs))
        ends = []
        for words in jobs:
            end = JobReturn(status=JobStatus.COMPLETED)
            try:
                end.return_value = fake_job(of_words[tuple(words)], seconds)
            except Exception as error:
                end.status, end.return_value = JobStatus.FAILED, error
            ends.append(end)
        return ends

    return launch


def forked(function, *arguments):
    """A process that runs a function, and can be killed."""
    process = fork.Process(target=_quietly, args=(function, *arguments))
    process.start()
    return process


def _quietly(function, *arguments):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    function(*arguments)


def until(holds, seconds=20.0):
    """Wait for what another process does."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it has not come"
        time.sleep(0.01)
