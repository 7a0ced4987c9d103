"""The table and the comparison figure of all runs below a folder.

    python -m devias.report runs/demo

Prints the table (mean ± standard deviation where a model ran with several seeds) and writes
`table.md`, `table.csv` and `scene_bias.png` into the folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from devias.files import write_text
from devias.reporting.plots.charts import scene_bias_figure
from devias.reporting.plots.style import save_figure
from devias.reporting.results import load_results
from devias.reporting.tables import results_table


def main() -> None:
    """Read the folder named on the command line and report."""
    parser = argparse.ArgumentParser(description="Table and figure of all runs below a folder.")
    parser.add_argument("folder", type=Path, help="a folder with result.json files below it")
    report(parser.parse_args().folder)


def report(folder: Path) -> None:
    """Print the table of all results below `folder` and write table and figure into it."""
    results = load_results(folder)
    table = results_table(results)
    table.print()
    write_text(folder / "table.md", table.to_markdown())
    write_text(folder / "table.csv", table.to_csv())
    save_figure(scene_bias_figure(results), folder / "scene_bias.png")
    figures = sorted(path for path in folder.rglob("*.png") if "wandb" not in path.parts)
    print("Everything is in", folder)
    for path in figures:
        print("  ", path.relative_to(folder))


if __name__ == "__main__":
    main()
