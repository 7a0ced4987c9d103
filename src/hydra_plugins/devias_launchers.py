"""Launchers of sweeps, at the one place where Hydra takes plugins from.

Hydra loads this file whenever one of its programs starts, so the work is done elsewhere.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn, configure_log
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from devias.sweeps.jobs import Job


class _Launcher(Launcher):
    """What launchers share: jobs are commands, and a job that fails leaves the others alone."""

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
        """Run all jobs and wait for them."""
        from devias.sweeps.jobs import jobs_of, results_of

        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        jobs = jobs_of(
            self.hydra_context, self.config, job_overrides, initial_job_idx, self.full_error
        )
        return results_of(jobs, self.run(jobs))

    @abstractmethod
    def run(self, jobs: Sequence[Job]) -> list[str | None]:
        """Of each job why it failed, or `None`."""


class LocalLauncher(_Launcher):
    """`cluster=local`; for the arguments see `devias.sweeps.local.launch`."""

    def __init__(self, n_jobs: int | None, devices: int) -> None:
        self.n_jobs, self.devices = n_jobs, devices

    def run(self, jobs: Sequence[Job]) -> list[str | None]:
        """As processes of this machine."""
        from devias.sweeps.local import launch

        return launch(jobs, self.n_jobs, self.devices)
