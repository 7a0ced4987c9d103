"""The jobs of a sweep as commands of their own, and what is told of their ends."""

from __future__ import annotations

import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from devias.config.overrides import OVERRIDE, as_value
from devias.errors import ConfigError, DeviasError, did_you_mean

Settings = TypeVar("Settings")

OUTPUT_FILE = "output.log"
"""What a job prints, in its folder; one that continues adds to it."""

FULL_ERROR = "HYDRA_FULL_ERROR"
"""Environment variable: show the trace of every error."""

AT_LAUNCH = "DEVIAS_AT_LAUNCH"
"""Environment variable: those words of a job's command that say where it runs, not what."""

OF_THE_CLUSTER = re.compile(r"\+*cluster[=.]")

OF_FOLDER = re.compile(r"\+*paths\.run_dir=")

OF_THE_SWEEP = ("hydra.mode", "hydra.sweep", "hydra.sweeper", "hydra.launcher")
"""Settings of Hydra, and what lies below, that a job alone has no use for."""


class JobFailedError(DeviasError):
    """A job of a sweep failed; an exception, so that Hydra goes on with the others.

    Args:
        message: what the sweep ends with, perhaps about all of its jobs.
        own: why this job failed, in one line; empty where the message is about it alone.
    """

    def __init__(self, message: str, own: str = "") -> None:
        super().__init__(message)
        self.own = own


@dataclass(frozen=True)
class Job:
    """One run of a sweep, as `devias train` would be called for it alone."""

    number: int
    """Its place in the sweep, from 0."""
    command: tuple[str, ...]
    """What starts it, and after an interruption continues it."""
    at_launch: tuple[str, ...]
    """Those words of the command that say where it runs, not what."""
    folder: Path
    """Of the run; the same whenever the job is started."""
    config: DictConfig
    """Hydra's part included."""
    full_error: str = "0"
    """Whether its errors are shown with their traces."""
    label: str = ""
    """The overrides that not all jobs of the sweep have, else the folder's name."""

    @property
    def words(self) -> list[str]:
        """Its overrides, without those that were added."""
        return _as_given(self.config.hydra.overrides.task)

    @property
    def output(self) -> Path:
        """The file that takes what it prints."""
        return self.folder / OUTPUT_FILE

    @property
    def environment(self) -> dict[str, str]:
        """What the job shall find in its environment."""
        return {AT_LAUNCH: shlex.join(self.at_launch), FULL_ERROR: self.full_error}

    def result(self, failure: JobFailedError | None) -> JobReturn:
        """What Hydra is told.

        Args:
            failure: what whoever asks for the value of a job that failed is told.
        """
        task = self.config.copy()
        with open_dict(task):
            del task["hydra"]
        made = JobReturn(
            overrides=self.words,
            cfg=task,
            hydra_cfg=OmegaConf.create({"hydra": self.config.hydra}),
            working_dir=str(self.folder),
            task_name=self.config.hydra.job.name,
            status=JobStatus.FAILED if failure else JobStatus.COMPLETED,
        )
        made.return_value = failure
        return made


def jobs_of(
    context: HydraContext,
    config: DictConfig,
    overrides: Sequence[Sequence[str]],
    first: int,
    full_error: str = "0",
) -> list[Job]:
    """The jobs that a sweeper hands to a launcher.

    A job runs in `paths.run_dir` where its overrides name it, else in its part of the sweep's
    folder, and continues there if it has begun. Nothing in its command depends on the time.

    Args:
        context: of Hydra.
        config: of the sweep, Hydra's part included.
        overrides: those of every job.
        first: the number of the first job.
        full_error: the jobs' `HYDRA_FULL_ERROR`.

    Raises:
        ConfigError: the command is not `devias train`, or two jobs have one folder.
    """
    if config.hydra.job.config_name != "train":
        raise ConfigError("cluster= launches the jobs of `devias train`; leave it out here")
    jobs = [_job(context, config, words, first + i) for i, words in enumerate(overrides)]
    counted = Counter(job.folder for job in jobs)
    if (most := counted.most_common(1)) and most[0][1] > 1:
        folder, count = most[0]
        raise ConfigError(
            f"{count} jobs of the sweep would run in {folder}: leave paths.run_dir out, or let it "
            "depend on what is swept"
        )
    shared = set.intersection(*(set(job.words) for job in jobs)) if jobs else set()
    return [
        replace(
            job,
            label=" ".join(w for w in job.words if w not in shared and not OF_FOLDER.match(w))
            or job.folder.name,
            full_error=full_error,
        )
        for job in jobs
    ]


def settings_of(kind: type[Settings], given: Mapping[str, Any]) -> Settings:
    """The settings of a launcher from the keys below `cluster`.

    Raises:
        ConfigError: a key is none of them.
    """
    known = [part.name for part in fields(kind)]  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            near = did_you_mean(name, known) or ";"
            raise ConfigError(f"cluster.{name} is no setting{near} there are {', '.join(known)}")
    return kind(**given)


def results_of(jobs: Sequence[Job], errors: Sequence[str | None]) -> list[JobReturn]:
    """What Hydra is told of the jobs; each failure names all.

    Args:
        jobs: of a sweep.
        errors: of each why it failed, or `None`.
    """
    ends = list(zip(jobs, errors, strict=True))
    failed = [f"{job.label}: {error} ({job.output})" for job, error in ends if error]
    message = f"{len(failed)} of {len(jobs)} jobs failed\n" + "\n".join(failed)
    return [job.result(JobFailedError(message, error) if error else None) for job, error in ends]


def _job(context: HydraContext, config: DictConfig, overrides: Sequence[str], number: int) -> Job:
    made = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(made):
        made.hydra.job.id = made.hydra.job.num = number
    hydra_before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(made)  # for `${hydra:…}`
    try:
        words = _as_given(made.hydra.overrides.task)
        given = {match["key"] for word in words if (match := OVERRIDE.fullmatch(word))}
        if "paths.run_dir" in given:
            folder = Path(made.paths.run_dir)
        else:
            folder = Path(made.hydra.sweep.dir) / str(made.hydra.sweep.subdir)
    finally:
        HydraConfig.instance().cfg = hydra_before
    folder = folder.absolute()
    cluster = tuple(word for word in words if OF_THE_CLUSTER.match(word))
    # A folder whose name holds the time is fixed here: the later of two words counts.
    added = [f"paths.run_dir={as_value(str(folder))}"]
    if "ckpt_path" not in given:
        added.append("ckpt_path=auto")
    return Job(
        number=number,
        command=(sys.executable, "-m", "devias", "train", *_of_hydra(made), *words, *added),
        at_launch=(*cluster, *added),
        folder=folder,
        config=made,
    )


def _of_hydra(config: DictConfig) -> Iterator[str]:
    """Words that say where else configurations lie, and other settings of Hydra."""
    for source in config.hydra.runtime.config_sources:
        if source.provider == "command-line":
            yield from ("--config-dir", source.path)
    for word in _as_given(config.hydra.overrides.hydra):
        key = word.lstrip("+~").partition("=")[0].replace("/", ".")
        if not any(key == part or key.startswith(f"{part}.") for part in OF_THE_SWEEP):
            yield word


def _as_given(words: ListConfig) -> list[str]:
    """Overrides with the interpolations in them."""
    plain: Any = OmegaConf.to_container(words, resolve=False)
    return [str(word) for word in plain]


def last_error(text: str) -> str:
    """The line of a job's output that says best why it ended: an error, else the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in reversed(lines):
        if match := re.match(r"[\d-]+ [\d:]+ (?:ERROR|CRITICAL) (.+)", line):
            return match[1]
        if re.match(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt)\b", line):
            return line
    return lines[-1] if lines else "it printed nothing"


def in_words(seconds: float) -> str:
    """A duration as `0:42` or `3:05:42`."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
