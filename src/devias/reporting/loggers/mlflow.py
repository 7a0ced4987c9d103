"""MLflow: a database that all runs share, or a server."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import MLFlowLogger

from devias.files import write_text
from devias.reporting.loggers.tracker import Tracker, id_file, need, read_id
from devias.reporting.text_tables import csv_table

LOCAL = "sqlite:///"


def mlflow_logger(
    experiment: str,
    name: str,
    save_dir: str,
    store: str,
    tags: Mapping[str, Any] | None = None,
    tracking_uri: str | None = None,
    mistakes: int = 0,
    files: bool = False,
) -> Tracker:
    """A logger that writes to `store/mlflow.db`, or to the server that `tracking_uri` names.

    A request to a server may take 10 seconds and is repeated once; `MLFLOW_HTTP_REQUEST_TIMEOUT`
    and `MLFLOW_HTTP_REQUEST_MAX_RETRIES` say otherwise.

    Args:
        experiment: of MLflow; made where there is none.
        name: of the run.
        save_dir: the run's folder, which keeps the run's id.
        store: the folder of the database and of files.
        tags: of the run; those that are `None` are left out.
        tracking_uri: `None`: what `MLFLOW_TRACKING_URI` says, else the database.
        mistakes: see `Tracker`.
        files: see `Tracker`.

    Raises:
        ConfigError: a package is missing.
    """
    for package in ("mlflow", "sqlalchemy", "alembic"):
        need(package, "logger=mlflow")
    tags = {key: str(value) for key, value in (tags or {}).items() if value is not None}
    begin = partial(_begin, experiment, name, save_dir, store, tags, tracking_uri)
    return Tracker("MLflow", begin, mistakes, files)


def _begin(
    experiment: str,
    name: str,
    save_dir: str,
    store: str,
    tags: dict[str, str],
    tracking_uri: str | None,
) -> MLflowRun:
    import mlflow  # its import says how loud it is

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    for noisy in (mlflow.__name__, "alembic", MLFlowLogger.__module__):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    folder = Path(store).absolute()
    local = f"{LOCAL}{folder}/mlflow.db"
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or local
    make = partial(
        MLflowRun,
        experiment_name=experiment,
        run_name=name,
        tracking_uri=uri,
        tags=tags,
        artifact_location=(folder / "mlflow").as_uri() if uri == local else None,
    )
    with _alone(folder) if uri == local else nullcontext():
        return _begin_or_continue(make, id_file(save_dir, "mlflow"))


def _begin_or_continue(make: Callable[..., MLflowRun], path: Path) -> MLflowRun:
    """The run whose id the file keeps, where the store has it; else a new one."""
    from mlflow.exceptions import MlflowException

    known = read_id(path)
    run = make(run_id=known)
    try:
        _ = run.experiment
    except MlflowException as error:
        if known is None or error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        run = make()
    assert run.run_id is not None
    write_text(path, run.run_id)
    run.experiment.update_run(run.run_id, status="RUNNING")
    for key, value in (run.tags or {}).items():
        run.experiment.set_tag(run.run_id, key, value)
    return run


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold other runs off while tables and experiment may have to be made."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "mlflow.lock").open("a") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


class MLflowRun(MLFlowLogger):
    """Lightning's logger with pictures, tables and files."""

    def log_hyperparams(self, params: Any) -> None:
        """Those that the run does not have yet: MLflow lets no value change."""
        logged = self.experiment.get_run(self.run_id).data.params
        known = {key.partition("/")[0] for key in logged}
        super().log_hyperparams({k: v for k, v in params.items() if k not in known})

    def log_image(self, key: str, images: list[str]) -> None:
        """As files of the run, in a folder of the key's first part."""
        for path in images:
            self.experiment.log_artifact(self.run_id, path, key.rpartition("/")[0])

    def log_table(self, key: str, columns: list[str], data: list[list[Any]]) -> None:
        """As a CSV file of the run."""
        self.experiment.log_text(self.run_id, csv_table(columns, data), f"{key}.csv")

    def log_summary(self, values: Mapping[str, float]) -> None:
        """As metrics."""
        self.log_metrics(values)

    def log_files(self, kind: str, paths: list[str]) -> None:
        """As files of the run, in a folder of their kind."""
        for path in paths:
            self.experiment.log_artifact(self.run_id, path, kind)

    def finish(self, failed: bool) -> None:
        """Say how the run ended."""
        self.finalize("failed" if failed else "success")
