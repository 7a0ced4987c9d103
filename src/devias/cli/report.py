"""Tables and the comparison figure of all runs below a folder.

    devias report runs/demo
    devias report runs/demo against=two_token

Prints a table for each protocol (mean ± standard deviation where a model ran with several seeds,
else the 95 % interval over videos), a second one of how far answers follow the scene, and how the
best row, or the one `against` names, compares with each other on the same videos: how many only one
of the two answers rightly, the exact McNemar test's p, and what is between them in H.M. Writes
`table`, `composition` and `comparison`, each as `.md` and `.csv`, and `scene_bias.png` into the
folder; and all of it, with learning curves and the runs' figures, as one page, `report.html`.

A run's row shows the result of its training; what `devias evaluate` did with other settings stands
in rows of its own, called by these settings. An evaluation without any repeats its run's row and is
not shown.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from omegaconf import DictConfig

from devias.cli.command import command, folder_as


@command("report", rewrite=folder_as("runs"))
def main(config: DictConfig) -> None:
    """Report on the folder."""
    report(Path(config.runs), config.against)


def report(folder: Path, against: str | None = None) -> None:
    """Print the tables of all results below `folder` and write tables and figure into it.

    Args:
        folder: of the runs.
        against: the row to compare with all others; see `compare_runs`.

    Raises:
        ConfigError: no row is called so.
        ResultError: there is no result, or one that cannot be taken.
    """
    from devias.files import write_text
    from devias.reporting import comparison
    from devias.reporting.columns import composition_columns
    from devias.reporting.html.page import write_page
    from devias.reporting.html.runs import reported_runs
    from devias.reporting.plots.charts import SCENE_BIAS, scene_bias_figure
    from devias.reporting.plots.style import save_figure
    from devias.reporting.predictions import load_predictions
    from devias.reporting.results import find_results, is_tracked_copy
    from devias.reporting.tables import results_tables

    found = find_results(folder)
    results = [*found.values()]
    load = cache(load_predictions)  # a file is asked for by every comparison and by the page
    compared = comparison.compare_runs(found, load, against)
    composition = [t for t in results_tables(results, composition_columns) if t.columns]
    headline = results_tables(results)
    for name, tables in (("table", headline), ("composition", composition)):
        for table in tables:
            table.print()
        write_text(folder / f"{name}.md", "\n".join(table.to_markdown() for table in tables))
        write_text(folder / f"{name}.csv", "\n".join(table.to_csv() for table in tables))
    comparison.print_comparisons(compared)
    write_text(folder / "comparison.md", comparison.comparisons_to_markdown(compared))
    write_text(folder / "comparison.csv", comparison.comparisons_to_csv(compared))
    if any(result.metrics.keys() >= SCENE_BIAS for result in results):
        save_figure(scene_bias_figure(results), folder / "scene_bias.png")
    headed = [("Results", table) for table in headline]
    headed += [("How far answers follow the scene", table) for table in composition]
    write_page(folder / "report.html", reported_runs(found, load), headed, compared)
    figures = sorted(p for p in folder.rglob("*.png") if not is_tracked_copy(p, folder))
    print("Everything is in", folder)
    for path in figures:
        print("  ", path.relative_to(folder))


if __name__ == "__main__":
    main()
