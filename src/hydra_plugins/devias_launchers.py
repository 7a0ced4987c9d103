"""Launchers of sweeps, at the one place where Hydra takes plugins from.

Hydra loads this file whenever one of its programs starts, so the work is done elsewhere.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, configure_log
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from devias.sweeps.jobs import Job


class _Launcher(Launcher):
    """What launchers share: jobs are commands, and one that fails leaves the others alone."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what the jobs are made from."""
        self.hydra_context, self.config = hydra_context, config
        # Hydra's own, while it runs a command, is another.
        self.full_error = getattr(task_function, "full_error", "0")

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run all jobs; nothing is returned of jobs that were not waited for."""
        from devias.sweeps.jobs import jobs_of, results_of

        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        jobs = jobs_of(
            self.hydra_context, self.config, job_overrides, initial_job_idx, self.full_error
        )
        errors = self.run(jobs)
        return [] if errors is None else results_of(jobs, errors)

    @abstractmethod
    def run(self, jobs: Sequence[Job]) -> list[str | None] | None:
        """Of each job why it failed, or `None`; `None` of jobs that were not waited for."""


class LocalLauncher(_Launcher):
    """`cluster=local`: processes of this machine."""

    def run(self, jobs: Sequence[Job]) -> list[str | None]:
        """See `devias.sweeps.local.launch`."""
        from devias.sweeps.jobs import settings_of
        from devias.sweeps.local import LocalSettings, launch

        return launch(jobs, settings_of(LocalSettings, self.settings))


class SlurmLauncher(_Launcher):
    """`cluster=slurm`: jobs of a Slurm cluster."""

    def run(self, jobs: Sequence[Job]) -> list[str | None] | None:
        """See `devias.sweeps.slurm.launch`."""
        from devias.sweeps.jobs import settings_of
        from devias.sweeps.slurm import SlurmSettings, launch

        folder = Path(self.config.hydra.sweep.dir).absolute() / "slurm"
        return launch(jobs, settings_of(SlurmSettings, self.settings), folder)
