"""For tables of nearest neighbors: `devias knn` on each finished run that lacks it."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

from devias.config.overrides import as_value
from devias.sweeps.jobs import last_error
from devias.sweeps.plan import Plan, PlannedRun
from devias.training.run_folder import RunFolderError, locked

log = logging.getLogger(__name__)

PROBE_FILE = Path("knn", "table", "knn.json")
"""Below a run's folder: what `devias knn` told of its slots."""
CHECKPOINTS = ("best.ckpt", "last.ckpt")


def probe_neighbors(plan: Plan) -> dict[PlannedRun, str]:
    """Probe on this machine, run after run → the last line of what went wrong, by run.

    Runs that another process is at are left to it.
    """
    failed = {}
    for run in plan.runs:
        if not run.result() or (run.folder / PROBE_FILE).exists():
            continue
        try:
            with locked(run.folder):
                error = _probe(run)
        except RunFolderError:
            log.info("%s: another process is at it", run.name)
            continue
        if error:
            failed[run] = error
    return failed


def _probe(run: PlannedRun) -> str | None:
    log.info("%s: looking its videos up among those of training", run.name)
    folder = run.folder / "checkpoints"
    checkpoint = next((folder / n for n in CHECKPOINTS if (folder / n).exists()), folder)
    words = [
        f"checkpoint={as_value(str(checkpoint))}",
        f"output_dir={as_value(str((run.folder / PROBE_FILE).parent))}",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "devias", "knn", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode == 0:
        return None
    return f"devias knn: {last_error(done.stdout)}"
