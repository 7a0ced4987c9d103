"""The report of several runs as one HTML file: tables, curves, figures and environment.

It holds its styles, its few lines of script and all pictures, and asks the network for nothing.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from devias.files import write_text
from devias.reporting import comparison, mistakes
from devias.reporting.comparison import Comparison
from devias.reporting.differences import config_differences
from devias.reporting.mistakes import confident_mistakes
from devias.reporting.plots.classes import class_accuracy, class_figure
from devias.reporting.plots.curves import curves_figure, read_curves
from devias.reporting.predictions import PREDICTIONS_FILE, load_predictions
from devias.reporting.results import RunResult
from devias.reporting.tables import ResultsTable

CURVES = {"val/harmonic_mean": "H.M. on validation", "loss/total": "Loss"}
"""Metrics that are drawn over training."""
MISTAKES = 8
"""Of each run that are listed."""


@dataclass(frozen=True)
class Picture:
    """An image within the page."""

    title: str
    """Also read out in its place."""
    source: str
    """`data:` address with the image itself."""


@dataclass(frozen=True)
class PlainTable:
    """Text in rows and columns."""

    heading: str
    """Of the section; tables that follow each other share it."""
    caption: str
    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int
    """The first columns, that are text; the others are numbers."""


def write_page(
    path: Path,
    results: Mapping[Path, RunResult],
    tables: Sequence[tuple[str, ResultsTable]],
    comparisons: Sequence[Comparison] = (),
) -> None:
    """Write the page atomically.

    Args:
        path: of the file.
        results: of runs and evaluations, by their files.
        tables: with a heading each.
        comparisons: of rows on the same videos.
    """
    environment = Environment(
        loader=PackageLoader("devias.reporting", "html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    folder = path.parent
    page = environment.get_template("page.html.j2").render(
        title=folder.absolute().name,
        tables=tables,
        plain_tables=_plain_tables(results, comparisons),
        curves=learning_curves(results),
        classes=class_pictures(results),
        summary=[image_of(file, folder) for file in sorted(folder.glob("*.png"))],
        runs=[_run(file, result) for file, result in results.items()],
    )
    write_text(path, page)


def _plain_tables(
    results: Mapping[Path, RunResult], comparisons: Sequence[Comparison]
) -> list[PlainTable]:
    """Comparisons on the same videos, differences of settings, and each run's surest mistakes."""
    tables = [
        PlainTable("On the same videos", c.title, comparison.TITLES, c.rows(), names=2)
        for c in comparisons
    ]
    runs = {f"{r.row}, seed {r.seed}": f.parent for f, r in results.items() if not r.evaluation}
    if rows := config_differences(runs):
        titles = ["Setting", *runs]
        tables.append(PlainTable("Settings that differ", "", titles, rows, names=len(titles)))
    for name, folder in runs.items():
        if (folder / PREDICTIONS_FILE).exists():
            found = confident_mistakes(*load_predictions(folder / PREDICTIONS_FILE), count=MISTAKES)
            rows = [mistake.row for mistake in found]
            titles = [*mistakes.TITLES]
            tables.append(PlainTable("The surest mistakes", name, titles, rows, len(titles) - 2))
    return tables


def learning_curves(results: Mapping[Path, RunResult]) -> list[Picture]:
    """A picture for each of `CURVES` that some run has."""
    found: dict[str, dict[str, list[Any]]] = {metric: {} for metric in CURVES}
    for file, result in results.items():
        if result.evaluation is None:
            for metric, curve in read_curves(file.parent, [*CURVES]).items():
                found[metric].setdefault(result.row, []).append(curve)
    return [
        Picture(CURVES[metric], _drawn(curves_figure(curves, CURVES[metric])))
        for metric, curves in found.items()
        if curves
    ]


def class_pictures(results: Mapping[Path, RunResult]) -> list[Picture]:
    """A picture for each run whose sets show the same actions seen and unseen."""
    pictures = []
    for file, result in results.items():
        predictions = file.parent / PREDICTIONS_FILE
        if result.evaluation is None and predictions.exists():
            title = f"{result.row}, seed {result.seed}"
            if accuracy := class_accuracy(*load_predictions(predictions)):
                pictures.append(Picture(title, _drawn(class_figure(accuracy, title))))
    return pictures


def _run(file: Path, result: RunResult) -> dict[str, Any]:
    """What the page tells of one run."""
    figures = sorted(file.parent.glob("figures/*.png")) + sorted(file.parent.glob("errors_*.png"))
    facts = {
        "Experiment": result.experiment,
        "Data": result.data,
        "Seed": result.seed,
        "Command": result.command,
        "Commit": result.commit or "unknown",
        "Run": result.run_id,
        "Time": ", ".join(f"{phase} {seconds:.0f} s" for phase, seconds in result.seconds.items()),
        "Hardware": ", ".join(f"{key} {value}" for key, value in result.hardware.items()),
        "Notes": " ".join(result.notes),
    }
    return {
        "name": result.row,
        "seed": result.seed,
        "facts": {key: value for key, value in facts.items() if value != ""},
        "pictures": [image_of(figure, file.parent) for figure in figures],
    }


def image_of(file: Path, folder: Path) -> Picture:
    """A PNG file, called by its place in a folder."""
    content = base64.b64encode(file.read_bytes()).decode()
    name = file.relative_to(folder).with_suffix("").as_posix().removeprefix("figures/")
    return Picture(name.replace("_", " "), f"data:image/png;base64,{content}")


def _drawn(figure: Figure) -> str:
    """A figure as SVG; an image of its own, so that names in it do not meet those of others."""
    drawing = io.BytesIO()
    figure.savefig(drawing, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(drawing.getvalue()).decode()}"
