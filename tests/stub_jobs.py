"""Jobs of a sweep that are small scripts."""

import sys
from pathlib import Path

from omegaconf import OmegaConf

from devias.sweeps.jobs import Job


def job(folder: Path, number: int, script: str) -> Job:
    """Runs a script of Python in a folder below the given one."""
    config = OmegaConf.create({"hydra": {"overrides": {"task": [f"seed={number}"]}}})
    command = (sys.executable, "-c", script)
    return Job(number, command, (), folder / str(number), config, label=f"seed={number}")
