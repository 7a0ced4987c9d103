"""Trackio: a database that all runs of a project share, with a dashboard on this machine."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from devias.errors import DeviasError
from devias.reporting.loggers.tracker import Tracker, id_file, kept_id, need

FOLDER = "TRACKIO_DIR"


class TrackioError(DeviasError, RuntimeError):
    """What Trackio did not do: it warns of that where others raise."""


def trackio_logger(
    project: str,
    name: str,
    save_dir: str,
    store: str,
    group: str | None = None,
    space_id: str | None = None,
    mistakes: int = 0,
    files: bool = False,
) -> Tracker:
    """A logger that writes below `store`, and to a Space of Hugging Face where one is given.

    Args:
        project: of Trackio.
        name: of the run; its id is put behind it, since Trackio continues runs by their names.
        save_dir: the run's folder, which keeps the run's id.
        store: the folder of all projects; `TRACKIO_DIR` comes first.
        group: what runs of one method have in common.
        space_id: `user/name` of a Space to upload to.
        mistakes: see `Tracker`.
        files: see `Tracker`.

    Raises:
        ConfigError: the package is missing.
    """
    need("trackio", "logger=trackio")
    settings = {"project": project, "group": group, "space_id": space_id}
    return Tracker("Trackio", partial(_begin, name, save_dir, store, settings), mistakes, files)


def _begin(name: str, save_dir: str, store: str, settings: dict[str, Any]) -> TrackioRun:
    folder = Path(os.environ.get(FOLDER) or store).absolute()
    folder.mkdir(parents=True, exist_ok=True)  # Trackio itself does not say that it cannot
    trackio = _import_with(folder)
    run_id = kept_id(id_file(save_dir, "trackio"))
    with contextlib.redirect_stdout(io.StringIO()):  # how to look at a dashboard, for every run
        run = trackio.init(name=f"{name}-{run_id}", resume="allow", embed=False, **settings)
    return TrackioRun(run)


def _import_with(folder: Path) -> Any:
    """The package, which reads where to write when it is imported, and only then."""
    before = os.environ.get(FOLDER)
    os.environ[FOLDER] = str(folder)
    try:
        import trackio
        from trackio.utils import TRACKIO_DIR
    finally:
        del os.environ[FOLDER]
        if before:
            os.environ[FOLDER] = before
    if folder != TRACKIO_DIR:
        raise TrackioError(f"this process writes to {TRACKIO_DIR} already, not to {folder}")
    return trackio


@contextlib.contextmanager
def _raised_warnings() -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    if caught:
        raise TrackioError(str(caught[0].message))


class TrackioRun:
    """What a `Tracker` needs, in Trackio's words."""

    def __init__(self, run: Any) -> None:
        self.experiment = run

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Values at an optimizer step."""
        with _raised_warnings():
            self.experiment.log(dict(metrics), step=step)

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """Into the run's configuration, which goes out with the first values."""
        self.experiment.config.update(params)

    def log_image(self, key: str, images: list[str]) -> None:
        """Under its key; further ones are numbered."""
        from trackio import Image

        numbered = {f"{key}/{number}" if number else key: p for number, p in enumerate(images)}
        self.log_metrics({tag: Image(path) for tag, path in numbered.items()})

    def log_table(self, key: str, columns: list[str], data: list[list[Any]]) -> None:
        """A table of Trackio's."""
        from trackio import Table

        self.log_metrics({key: Table(columns=columns, data=data)})

    def log_summary(self, values: Mapping[str, float]) -> None:
        """As values: Trackio has no others."""
        self.log_metrics(values)

    def log_files(self, kind: str, paths: list[str]) -> None:
        """An artifact of Trackio's."""
        from trackio import Artifact

        artifact = Artifact(f"{kind}-{self.experiment.name}", type=kind)
        for path in paths:
            artifact.add_file(path)
        self.experiment.log_artifact(artifact)

    def finish(self, failed: bool) -> None:
        """Write all there is, and end the run."""
        with contextlib.redirect_stdout(io.StringIO()), _raised_warnings():
            self.experiment.finish()
