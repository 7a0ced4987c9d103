"""The data set on disk: drawn in parallel, complete or not there at all, and built once."""

from __future__ import annotations

import fcntl
import json
import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from devias.data.datasets.synthetic.annotations import write_annotations
from devias.data.datasets.synthetic.plan import FAMILIES, ClipPlan, SyntheticSettings, plan_split
from devias.data.datasets.synthetic.render import draw_clip, write_clip
from devias.errors import DeviasError
from devias.structures import UNKNOWN

MANIFEST = "manifest.json"
CHUNK = 8
"""Clips a worker takes at a time."""

log = logging.getLogger(__name__)


def build(root: Path | str, settings: SyntheticSettings, workers: int | None = None) -> Path:
    """Draw the data set into a folder of its own below `root`, unless it is there → that folder.

    The folder appears complete or not at all: it is drawn under a hidden temporary name and
    renamed. A second process that asks for the same data waits for the first. What a killed run
    left behind is removed by the next.

    Args:
        root: where the data set's folder is made.
        settings: what to draw.
        workers: processes; by default one for every CPU this process may use.

    Raises:
        DeviasError: the folder exists but its manifest does not match: somebody changed it.
    """
    root = Path(root).expanduser()
    folder = root / settings.folder_name
    if not _is_complete(folder, settings):
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / f".{folder.name}.lock"):
            if not _is_complete(folder, settings):  # another run may have built it meanwhile
                _build(folder, settings, workers)
    return folder


def _is_complete(folder: Path, settings: SyntheticSettings) -> bool:
    """Whether the folder holds this data set; a folder that holds something else is an error."""
    if not folder.exists():
        return False
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        manifest = None
    if manifest != settings.manifest():
        raise DeviasError(
            f"{folder} is not the data set its name says: {MANIFEST} is missing, unreadable or "
            "of other settings. Delete the folder and run again."
        )
    return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file.

    The system frees it when this process and the workers it forked have ended, however they end.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("Waiting for another run that draws the same data (%s)", path)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(folder: Path, settings: SyntheticSettings, workers: int | None) -> None:
    """Draw everything beside `folder`, then rename; the caller holds the lock."""
    partial = folder.with_name(f".{folder.name}.partial")
    if partial.exists():  # a run was killed
        shutil.rmtree(partial)
    partial.mkdir()
    try:
        plans = {split: plan_split(settings, split) for split in settings.clips}
        write_annotations(partial, settings, plans)
        clips = [plan for split in plans.values() for plan in split]
        for name in sorted({plan.name.split("/")[0] for plan in clips}):
            (partial / "videos" / name).mkdir(parents=True)
            (partial / "masks" / name).mkdir(parents=True)
        _draw_all(partial, settings.family, clips, workers)
        text = json.dumps(settings.manifest(), indent=2)
        (partial / MANIFEST).write_text(text + "\n", encoding="utf-8")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _draw_all(folder: Path, family: str, clips: list[ClipPlan], workers: int | None) -> None:
    """Draw the clips in worker processes, with a progress bar."""
    workers = workers or _usable_cpus()
    log.info("Drawing %d %s clips into %s", len(clips), family, folder.parent)
    chunks = [clips[i : i + CHUNK] for i in range(0, len(clips), CHUNK)]
    # Forked workers start at once, and they run NumPy and the encoder only.
    fork = multiprocessing.get_context("fork")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with ProcessPoolExecutor(workers, fork, _start_worker, (os.getpid(),)) as pool:
        tasks = [pool.submit(_draw, folder, family, chunk) for chunk in chunks]
        try:
            with Progress(*columns, TimeRemainingColumn()) as progress:
                bar = progress.add_task(f"Drawing the {family} clips", total=len(clips))
                for task in tasks:
                    progress.advance(bar, task.result())
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _usable_cpus() -> int:
    """CPUs this process may run on; all of the machine's where the system cannot tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start_worker(parent: int) -> None:
    """Leave interrupts to the parent, and end when it does: a killed run must free its lock."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _draw(folder: Path, family: str, clips: list[ClipPlan]) -> int:
    """Draw and write some clips → how many."""
    motions = list(FAMILIES[family].actions.values())
    scenes = list(FAMILIES[family].scenes.values())
    for plan in clips:
        motion = None if plan.action == UNKNOWN else motions[plan.action]
        clip = draw_clip(plan.seed, motion, scenes[plan.scene])
        video, masks = folder / f"videos/{plan.name}.mp4", folder / f"masks/{plan.name}.png"
        write_clip(clip, video, masks)
    return len(clips)
