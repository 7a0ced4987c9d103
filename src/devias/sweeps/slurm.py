"""The jobs of a sweep on a Slurm cluster, submitted with submitit."""

from __future__ import annotations

import getpass
import logging
import os
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devias.errors import ConfigError
from devias.sweeps.jobs import Job, in_words, last_error
from devias.training.ranks import PAUSE_FILE

log = logging.getLogger(__name__)

ACTIVE = {
    "COMPLETING", "CONFIGURING", "PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESIZING",
    "RESV_DEL_HOLD", "RUNNING", "SIGNALING", "SPECIAL_EXIT", "STAGE_OUT", "STOPPED", "SUSPENDED",
}  # fmt: skip
"""States of a job that may still come to an end of its own."""

BEFORE_PYTHON = (138, 140)
"""Exit codes of a process that SIGUSR1 or SIGUSR2 ended before it could take them."""


@dataclass(frozen=True)
class SlurmSettings:
    """What a job asks Slurm for; `None` leaves it to the cluster's defaults."""

    nodes: int = 1
    tasks_per_node: int = 1
    """Ranks on a node: one a GPU."""
    gpus_per_node: int | None = None
    cpus_per_task: int | None = None
    mem_gb: float | None = None
    """Of a node."""
    minutes: int = 1440
    """Time limit of one start; a job that needs longer is requeued."""
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    array_parallelism: int | None = None
    """Jobs of the sweep that run at once."""
    pause_before: int = 120
    """Seconds before the time limit at which a job is asked to save and is requeued."""
    max_requeues: int = 100
    """Times that a job is requeued after a pause."""
    setup: list[str] = field(default_factory=list)
    """Lines of shell before the program starts, as `module load cuda`."""
    srun_args: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    """Further options of sbatch by their names, as `{reservation: deadline}`."""
    wait: bool = True
    """Wait for the jobs and tell how they ended; else submit and return."""
    poll: float = 10.0
    """Seconds between two looks at the queue."""


def launch(jobs: Sequence[Job], settings: SlurmSettings, folder: Path) -> list[str | None] | None:
    """Submit all jobs, as an array where there are several, and wait if that is wanted.

    A job that stops for a pause is requeued by its script, and goes on in the same folder. Ctrl-C
    ends the waiting, not the jobs.

    Args:
        jobs: of a sweep.
        settings: of every job.
        folder: for scripts and their output; all nodes see it.

    Returns:
        Of each job why it failed, or `None`; `None` where none was waited for.

    Raises:
        ConfigError: submitit or Slurm is not here, or Slurm refuses the settings.
    """
    ids = submit(jobs, settings, folder)
    for job, number in zip(jobs, ids, strict=True):
        log.info("job %d is %s: %s → %s", job.number, number, job.label, job.folder)
    if not settings.wait:
        return None
    try:
        return Watch(dict(zip(ids, jobs, strict=True)), folder).wait(settings.poll)
    except KeyboardInterrupt:
        jobs_ = " ".join(dict.fromkeys(number.partition("_")[0] for number in ids))
        log.info("the jobs go on; `scancel %s` would end them", jobs_)
        raise SystemExit(130) from None


def submit(jobs: Sequence[Job], settings: SlurmSettings, folder: Path) -> list[str]:
    """Hand the jobs to Slurm → their numbers, as `17` or `17_0`.

    Raises:
        ConfigError: as `launch`.
    """
    try:
        from submitit.core.utils import FailedJobError, FailedSubmissionError
        from submitit.slurm.slurm import SlurmExecutor
    except ImportError:
        raise ConfigError("cluster=slurm needs submitit: pip install 'devias[slurm]'") from None
    try:
        executor = SlurmExecutor(folder)
    except RuntimeError:
        raise ConfigError(
            "cluster=slurm needs the commands of Slurm, and srun is not on this machine; "
            "cluster=local runs the jobs here"
        ) from None
    for job in jobs:
        job.folder.mkdir(parents=True, exist_ok=True)
    try:
        executor.update_parameters(**sbatch_options(settings, folder))
        with executor.batch():
            submitted = [executor.submit(Start.of(job)) for job in jobs]
    except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError, ValueError) as e:
        raise ConfigError(f"Slurm refuses the jobs: {' '.join(str(e).split())}") from e
    return [job.job_id for job in submitted]


def sbatch_options(settings: SlurmSettings, folder: Path) -> dict[str, Any]:
    """The options as submitit names them; those that are `None` are left out."""
    mem = settings.mem_gb
    options = {
        "job_name": "devias",
        "nodes": settings.nodes,
        "ntasks_per_node": settings.tasks_per_node,
        "gpus_per_node": settings.gpus_per_node,
        "cpus_per_task": settings.cpus_per_task,
        "mem": mem and f"{round(mem * 1024)}MB",
        "time": settings.minutes,
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "constraint": settings.constraint,
        "array_parallelism": settings.array_parallelism,
        "signal_delay_s": settings.pause_before,
        "stderr_to_stdout": True,
        "setup": [*_setup(folder), *settings.setup],
        "teardown": _teardown(settings),
        # A rank that died must not leave the others waiting for it.
        "srun_args": ["--kill-on-bad-exit=1", *settings.srun_args],
        "additional_parameters": {"requeue": True, **settings.parameters},
    }
    return {name: value for name, value in options.items() if value is not None}


def _setup(folder: Path) -> list[str]:
    """Lines before the program's start."""
    return [
        'id="${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"',
        f'note={shlex.quote(str(folder))}/"$id"',
        f'export {PAUSE_FILE}="$note.pause"',
        f'rm -f "${PAUSE_FILE}"',
        # srun does not take it from sbatch since Slurm 22.05.
        'export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"',
        'export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$SRUN_CPUS_PER_TASK}"',
        # Two jobs may share a node; below the ports that systems give out by themselves.
        'export MASTER_PORT="$((10000 + SLURM_JOB_ID % 20000))"',
    ]


def _teardown(settings: SlurmSettings) -> list[str]:
    """Lines after the program's end: note its exit code, requeue it after a pause."""
    early = " || ".join(f'[ "$code" = {code} ]' for code in BEFORE_PYTHON)
    return [
        "code=$?",
        'echo "$code" > "$note.exit"',
        f'if [ -e "${PAUSE_FILE}" ] || {early}; then',
        f'  if [ "${{SLURM_RESTART_COUNT:-0}}" -lt {settings.max_requeues} ]; then',
        '    scontrol requeue "$SLURM_JOB_ID"; fi; fi',
        'exit "$code"',
    ]


@dataclass(frozen=True)
class Start:
    """What every task of a job does: become the command, so that signals and exit code are its."""

    command: tuple[str, ...]
    environment: dict[str, str]
    output: str

    @classmethod
    def of(cls, job: Job) -> Start:
        """Of a job."""
        return cls(job.command, job.environment, str(job.output))

    def __call__(self) -> None:
        """Become the command; the first rank prints to the file in the job's folder."""
        os.environ |= self.environment
        if os.environ.get("SLURM_PROCID", "0") == "0":
            output = os.open(self.output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            for stream in (1, 2):
                os.dup2(output, stream)
        os.execv(self.command[0], self.command)


class Watch:
    """Looks after jobs until all have ended, with no need of Slurm's accounting.

    Args:
        jobs: by their numbers.
        folder: as that of `launch`.
    """

    def __init__(self, jobs: Mapping[str, Job], folder: Path) -> None:
        self.jobs, self.folder = jobs, folder
        self.states = dict.fromkeys(jobs, "PENDING")
        self.errors: dict[str, str | None] = {}
        self._missed = dict.fromkeys(jobs, 0)
        self._start = time.monotonic()

    def wait(self, poll: float) -> list[str | None]:
        """Of each job why it failed, or `None`; looks every `poll` seconds."""
        while True:
            if (states := queue()) is not None:
                self.look(states)
            if len(self.errors) == len(self.jobs):
                return [self.errors[number] for number in self.jobs]
            time.sleep(poll)

    def look(self, states: Mapping[str, str]) -> None:
        """Take the states of the queue, and tell what has changed."""
        for number, job in self.jobs.items():
            if number in self.errors:
                continue
            state = states.get(number)
            self._missed[number] = 0 if state else self._missed[number] + 1
            if state in ACTIVE and state != self.states[number]:
                log.info("job %d (%s) is %s", job.number, number, state)
            self.states[number] = state or self.states[number]
            # Slurm forgets ended jobs after minutes; one look may come between two states.
            if (state and state not in ACTIVE) or self._missed[number] > 2:
                self._ended(number, state)

    def _ended(self, number: str, state: str | None) -> None:
        job = self.jobs[number]
        error = self.errors[number] = self._error(number, state)
        log.info(
            "job %d (%s) %s; %d of %d ended in %s",
            job.number,
            number,
            f"failed: {error}" if error else "done",
            len(self.errors),
            len(self.jobs),
            in_words(time.monotonic() - self._start),
        )

    def _error(self, number: str, state: str | None) -> str | None:
        """Why a job failed; `None` if it did not."""
        exit_file = self.folder / f"{number}.exit"
        code = exit_file.read_text().strip() if exit_file.exists() else None
        if state == "COMPLETED" or (state is None and code == "0"):
            return None
        ended = state or ("gone from the queue" if code is None else "FAILED")
        if code not in (None, "0"):
            ended += f", exit code {code}"
        return f"{last_error(self._printed(number))} ({ended})"

    def _printed(self, number: str) -> str:
        """The ends of what the job's script and ranks have printed, rank 0 last."""
        files = [*sorted(self.folder.glob(f"{number}_*_log.out")), self.jobs[number].output]
        return "\n".join(_tail(path) for path in files if path.exists())


def queue() -> dict[str, str] | None:
    """The states of the user's jobs, those that have just ended included; `None`: no answer."""
    command = ["squeue", "--array", "--noheader", "--states=all", "--format=%i|%T"]
    asked = subprocess.run(
        [*command, f"--user={getpass.getuser()}"], capture_output=True, text=True, check=False
    )
    if asked.returncode:
        log.warning("squeue: %s", asked.stderr.strip())
        return None
    return dict(line.split("|") for line in asked.stdout.split())


def _tail(path: Path, size: int = 1 << 16) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode(errors="replace")
