"""Weights & Biases that never asks for a login and never keeps a run waiting."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import wandb
from lightning.pytorch.loggers import WandbLogger

from devias.reporting.loggers.tracker import Tracker, id_file, kept_id, shortened

log = logging.getLogger(__name__)

SYNONYMS = {"dryrun": "offline", "run": "online"}
"""Older names that `WANDB_MODE` may hold."""

DATA_DIR = "WANDB_DATA_DIR"


def wandb_mode() -> str:
    """What `WANDB_MODE` says; else `online` where an API key is set, `offline` where none is."""
    mode = os.environ.get("WANDB_MODE")
    if mode:
        return SYNONYMS.get(mode, mode)
    return "online" if os.environ.get("WANDB_API_KEY") else "offline"


def wandb_logger(
    project: str,
    name: str,
    save_dir: str,
    entity: str | None = None,
    group: str | None = None,
    tags: Sequence[str | None] = (),
    train: bool = True,
    mistakes: int = 0,
    files: bool = False,
) -> Tracker:
    """A logger that uploads where a key is set and otherwise writes below `save_dir`.

    Offline runs can be uploaded later with `wandb sync`. Waiting for the network ends after 20
    seconds at the start and two minutes at the end; `WANDB_INIT_TIMEOUT` and
    `WANDB_FINISH_TIMEOUT` say otherwise.

    Args:
        project: of W&B.
        name: of the run.
        save_dir: the run's folder, which also keeps the run's id.
        entity: the user or team; `None`: W&B's default.
        group: what runs of one method have in common.
        tags: to filter runs by; those that are `None` are left out.
        train: whether the run trains, or only evaluates.
        mistakes: see `Tracker`.
        files: see `Tracker`.
    """
    settings = {
        "project": project,
        "name": shortened(name, 128),
        "entity": entity,
        "group": group and shortened(group, 128),
        "tags": [shortened(tag, 64) for tag in dict.fromkeys(tags) if tag],
        "job_type": "train" if train else "evaluate",
    }
    return Tracker("W&B", partial(_begin, save_dir, settings), mistakes, files)


def _begin(save_dir: str, settings: dict[str, Any]) -> FallbackWandbLogger:
    Path(save_dir).mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_SILENT"] = "true"  # a silent client does not ask for a login either
    os.environ.setdefault("WANDB_INIT_TIMEOUT", "20")
    os.environ.setdefault("WANDB_FINISH_TIMEOUT", "120")
    mode = wandb_mode()
    run_id = None if mode == "disabled" else kept_id(id_file(save_dir, "wandb"))
    return FallbackWandbLogger(save_dir=save_dir, mode=mode, id=run_id, **settings)


class FallbackWandbLogger(WandbLogger):
    """Lightning's logger; where the server cannot be reached, it goes on offline."""

    data_dir: ClassVar[str | None] = None
    """What `WANDB_DATA_DIR` was set to here, for the latest run of this process."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._wandb_init.pop("anonymous", None)  # Lightning passes it on, W&B warns of it
        # Copies of tables would lie in the home, though an offline run cannot be uploaded without.
        if os.environ.get(DATA_DIR) in (None, FallbackWandbLogger.data_dir):
            FallbackWandbLogger.data_dir = str(Path(settings["save_dir"]) / "wandb" / "data")
            os.environ[DATA_DIR] = FallbackWandbLogger.data_dir

    @property
    def experiment(self) -> Any:
        """The W&B run, started on first use."""
        try:
            return super().experiment
        except wandb.Error as error:  # no network, a wrong key, or none
            log.warning(
                "W&B goes on offline (upload later with `wandb sync`): %s",
                str(error).partition("\n")[0],
            )
            self._wandb_init["mode"] = "offline"
            wandb.teardown()  # it still holds the run's id, which the run takes along
            return super().experiment

    def log_summary(self, values: Mapping[str, float]) -> None:
        """Into the run's summary, which is what W&B's table of runs shows."""
        self.experiment.summary.update(dict(values))

    def log_files(self, kind: str, paths: list[str]) -> None:
        """An artifact. The files are not copied: they stay where they are until they are sent."""
        artifact = wandb.Artifact(f"{kind}-{self.experiment.id}", type=kind)
        for path in paths:
            artifact.add_file(path, policy="immutable", skip_cache=True)
        self.experiment.log_artifact(artifact)

    def finish(self, failed: bool) -> None:
        """End the run and wait until all is written, or sent."""
        self.experiment.finish(exit_code=int(failed))
