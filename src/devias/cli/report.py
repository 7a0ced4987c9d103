"""The table and the comparison figure of all runs below a folder.

    devias report runs/demo

Prints a table for each protocol (mean ± standard deviation where a model ran with several seeds)
and writes `table.md`, `table.csv` and `scene_bias.png` into the folder. A run's row shows the
result of its training; what `devias evaluate` did with other settings stands in rows of its own,
called by these settings. An evaluation without any repeats its run's row and is not shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from devias.cli.command import command


def folder_as_override(words: Sequence[str]) -> list[str]:
    """`FOLDER` as `runs=FOLDER`."""
    return [
        f"runs={word}" if word[:1] != "-" and ("=" not in word or Path(word).exists()) else word
        for word in words
    ]


@command("report", rewrite=folder_as_override)
def main(config: DictConfig) -> None:
    """Report on the folder."""
    report(Path(config.runs))


def report(folder: Path) -> None:
    """Print the table of all results below `folder` and write table and figure into it.

    Raises:
        ResultError: there is no result, or one that cannot be taken.
    """
    from devias.files import write_text
    from devias.reporting.plots.charts import SCENE_BIAS, scene_bias_figure
    from devias.reporting.plots.style import save_figure
    from devias.reporting.results import load_results
    from devias.reporting.tables import results_tables

    results = load_results(folder)
    tables = results_tables(results)
    for table in tables:
        table.print()
    write_text(folder / "table.md", "\n".join(table.to_markdown() for table in tables))
    write_text(folder / "table.csv", "\n".join(table.to_csv() for table in tables))
    if any(result.metrics.keys() >= SCENE_BIAS for result in results):
        save_figure(scene_bias_figure(results), folder / "scene_bias.png")
    figures = sorted(path for path in folder.rglob("*.png") if "wandb" not in path.parts)
    print("Everything is in", folder)
    for path in figures:
        print("  ", path.relative_to(folder))


if __name__ == "__main__":
    main()
