"""The report of several runs as one HTML file: tables, curves, figures and environment.

It holds its styles, its few lines of script and all pictures, and asks the network for nothing.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from devias.files import write_text
from devias.reporting import comparison, mistakes
from devias.reporting.by_scene import AnswersByScene, answers_by_scene
from devias.reporting.comparison import Comparison
from devias.reporting.differences import config_differences
from devias.reporting.html import template
from devias.reporting.html.runs import ReportedRun
from devias.reporting.mistakes import confident_mistakes
from devias.reporting.plots.charts import confusion_figure
from devias.reporting.plots.classes import class_accuracy, class_figure
from devias.reporting.plots.curves import curves_figure, read_curves
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
    of_run: bool = False
    """The title is a run's name."""


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
    runs: Sequence[ReportedRun],
    tables: Sequence[tuple[str, ResultsTable]],
    comparisons: Sequence[Comparison] = (),
) -> None:
    """Write the page atomically.

    Args:
        path: of the file.
        runs: and evaluations of them.
        tables: with a heading each.
        comparisons: of rows on the same videos.
    """
    folder = path.parent
    own = [run for run in runs if not run.is_evaluation]
    page = template("page.html.j2").render(
        title=folder.absolute().name,
        tables=tables,
        plain_tables=_plain_tables(own, comparisons),
        galleries={
            "Learning curves": learning_curves(own),
            "Actions, seen and unseen": class_pictures(own),
            "Answers by scene": scene_pictures(own),
            "Figures": [image_of(file, folder) for file in sorted(folder.glob("*.png"))],
        },
        runs=[_details(run) for run in runs],
    )
    write_text(path, page)


def _plain_tables(
    runs: Sequence[ReportedRun], comparisons: Sequence[Comparison]
) -> list[PlainTable]:
    """Comparisons on the same videos, differences of settings, and each run's surest mistakes."""
    tables = [
        PlainTable("On the same videos", c.title, comparison.TITLES, c.rows(), names=2)
        for c in comparisons
    ]
    folders = {run.name: run.folder for run in runs}
    if rows := config_differences(folders):
        titles = ["Setting", *folders]
        tables.append(PlainTable("Settings that differ", "", titles, rows, names=len(titles)))
    for run in runs:
        if run.answers:
            rows = [mistake.row for mistake in confident_mistakes(*run.answers, count=MISTAKES)]
            titles = [*mistakes.TITLES]
            caption = run.name
            tables.append(PlainTable("The surest mistakes", caption, titles, rows, len(titles) - 2))
    return tables


def learning_curves(runs: Sequence[ReportedRun]) -> list[Picture]:
    """A picture for each of `CURVES` that some run has."""
    found: dict[str, dict[str, list[Any]]] = {metric: {} for metric in CURVES}
    for run in runs:
        for metric, curve in read_curves(run.folder, [*CURVES]).items():
            found[metric].setdefault(run.row, []).append(curve)
    return [
        Picture(CURVES[metric], _drawn(curves_figure(curves, CURVES[metric])))
        for metric, curves in found.items()
        if curves
    ]


def class_pictures(runs: Sequence[ReportedRun]) -> list[Picture]:
    """A picture for each run whose sets show the same actions seen and unseen."""
    return [
        Picture(run.name, _drawn(class_figure(accuracy)), of_run=True)
        for run in runs
        if run.answers and (accuracy := class_accuracy(*run.answers))
    ]


def scene_pictures(runs: Sequence[ReportedRun]) -> list[Picture]:
    """What each run answers in each scene, on combinations that training does not show."""
    return [
        Picture(run.name, _drawn(_scene_figure(found)), of_run=True)
        for run in runs
        if run.answers and (found := answers_by_scene(*run.answers))
    ]


def _scene_figure(found: AnswersByScene) -> Figure:
    return confusion_figure(
        found.counts, found.actions, "", row_names=found.scenes, row_title="scene",
        marks=found.usual, mark_label="the scene's usual action",
    )  # fmt: skip


def _details(run: ReportedRun) -> dict[str, Any]:
    """What the page tells of one run."""
    result = run.result
    figures = [path for glob in ("figures/*.png", "errors_*.png") for path in run.folder.glob(glob)]
    if run.answers:  # the page draws these itself
        figures = [path for path in figures if not path.stem.startswith("answers_")]
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
        "name": run.name,
        "facts": {key: value for key, value in facts.items() if value != ""},
        "pictures": [image_of(figure, run.folder) for figure in sorted(figures)],
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
