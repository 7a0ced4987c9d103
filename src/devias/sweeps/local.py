"""The jobs of a sweep as processes of this machine, several at once."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from devias.errors import ConfigError
from devias.sweeps.jobs import Job, in_words, last_error
from devias.training.ranks import PARENT

log = logging.getLogger(__name__)

GRACE = 60.0
"""Seconds that a job has to write its last checkpoint when the sweep is ended."""


@dataclass(frozen=True)
class LocalSettings:
    """How the jobs share this machine."""

    n_jobs: int | None = None
    """How many run at once; `None`: as many as there are GPUs for, else one."""
    devices: int = 1
    """GPUs of a job; jobs share them where there are too few."""


@dataclass
class _Running:
    """A job that has started."""

    job: Job
    process: subprocess.Popen[bytes]
    slot: int
    start: float
    offset: int
    """Where its part of the file of its output begins."""

    def error(self) -> str | None:
        """Why it failed; `None` if it did not."""
        code = self.process.returncode
        if code == 0:
            return None
        with self.job.output.open("rb") as file:
            file.seek(self.offset)
            line = last_error(file.read().decode(errors="replace"))
        ended = f"{signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"{line} ({ended})"


def launch(jobs: Sequence[Job], settings: LocalSettings) -> list[str | None]:
    """Run all jobs and wait → of each why it failed, or `None`.

    A job that fails leaves the others alone. Ctrl-C or SIGTERM ends all, after they have written
    their checkpoints; jobs end with this process however it ends.

    Args:
        jobs: in the order in which they start.
        settings: how they share the machine.

    Raises:
        ConfigError: a number is too small.
    """
    slots = slots_of(settings, len(jobs))
    log.info("%d jobs, %d at once", len(jobs), min(len(slots), len(jobs)))
    errors: dict[int, str | None] = {}
    seconds: list[float] = []

    def ended(one: _Running) -> None:
        error = errors[one.job.number] = one.error()
        seconds.append(time.monotonic() - one.start)
        left = sum(seconds) / len(seconds) * (len(jobs) - len(errors)) / len(slots)
        log.info(
            "job %d %s after %s%s; %d of %d ended%s",
            one.job.number,
            "failed" if error else "done",
            in_words(seconds[-1]),
            f": {error}" if error else "",
            len(errors),
            len(jobs),
            f", about {in_words(left)} left" if left else "",
        )

    _run_all(jobs, slots, ended)
    return [errors[job.number] for job in jobs]


def slots_of(settings: LocalSettings, jobs: int) -> list[dict[str, str]]:
    """For each job that may run at once, its share of the machine as environment variables.

    Raises:
        ConfigError: a number is too small.
    """
    count = count_slots(settings.n_jobs, settings.devices)
    processes = min(count, jobs) * settings.devices
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    threads = str(max(1, cores // max(1, processes)))
    own = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads)}
    return [own | _gpus(slot, settings.devices) for slot in range(count)]


def count_slots(n_jobs: int | None, devices: int) -> int:
    """How many jobs run at once.

    Raises:
        ConfigError: a number is too small.
    """
    for name, value in (("n_jobs", n_jobs), ("devices", devices)):
        if value is not None and value < 1:
            raise ConfigError(f"cluster.{name}={value} must be at least 1")
    return n_jobs or max(1, len(visible_gpus()) // devices)


def visible_gpus() -> list[str]:
    """The GPUs that jobs may use, as `CUDA_VISIBLE_DEVICES` names them."""
    if (given := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in given.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def _gpus(slot: int, devices: int) -> dict[str, str]:
    """The GPUs of a slot's jobs; jobs share them where there are too few."""
    gpus = visible_gpus()
    if not gpus:
        return {}
    mine = [gpus[(slot * devices + k) % len(gpus)] for k in range(min(devices, len(gpus)))]
    return {"CUDA_VISIBLE_DEVICES": ",".join(mine)}


def _run_all(
    jobs: Sequence[Job], slots: Sequence[Mapping[str, str]], ended: Callable[[_Running], None]
) -> None:
    waiting, free, running = deque(jobs), deque(range(len(slots))), list[_Running]()
    with _ends_on_signals(running):
        while waiting or running:
            while waiting and free:
                slot = free.popleft()
                running.append(_start(waiting.popleft(), slot, slots[slot]))
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                free.append(one.slot)
                ended(one)
            time.sleep(0.05)


def _start(job: Job, slot: int, resources: Mapping[str, str]) -> _Running:
    job.folder.mkdir(parents=True, exist_ok=True)
    log.info("job %d starts: %s → %s", job.number, job.label, job.folder)
    with job.output.open("ab") as output:
        begin = output.tell()  # before the job can print
        process = subprocess.Popen(
            job.command,
            env={**os.environ, **resources, **job.environment, PARENT: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which ends the jobs
        )
        return _Running(job, process, slot, time.monotonic(), begin)


@contextmanager
def _ends_on_signals(running: Sequence[_Running]) -> Iterator[None]:
    """End all jobs if this process is interrupted, terminated or fails."""

    def terminate(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt:
        _end(running)
        raise SystemExit(128 + signal.SIGINT) from None
    except BaseException:
        _end(running)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(running: Sequence[_Running]) -> None:
    """Ask the jobs to stop; kill what is left of them after a while, or at a second Ctrl-C."""
    if not running:
        return
    log.info("ending %d jobs; the same command would continue them", len(running))
    for one in running:
        one.process.terminate()
    until = time.monotonic() + GRACE
    with suppress(subprocess.TimeoutExpired, KeyboardInterrupt, SystemExit):
        for one in running:
            one.process.wait(max(0.0, until - time.monotonic()))
    for one in running:
        with suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.wait()
