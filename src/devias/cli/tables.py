"""The tables that files declare: train what is missing of one, or show it.

    devias tables run experiments/synthetic.yaml
    devias tables run experiments/table2.yaml data.root=/data/ucf101 trainer=gpus
    devias tables run experiments/synthetic.yaml rows='Two-Token*' seeds=[0,1] retry_failed=true
    devias tables show experiments/synthetic.yaml
    devias tables show experiments/synthetic.yaml output='[table.md,table.tex,table.html,table.png]'

`run` starts `devias train` for each row and seed whose result is not there yet, through Hydra's
launcher, in `paths.runs`/tables/<folder>/<row>-<hash>-s<seed>. It may be killed at any moment and
called again, and several may be at one table. A row that fails does not end the others; it is tried
again with `retry_failed=true`.

`show` makes the table of the results that there are: the best of a column bold, the second
underlined, the paper's number in brackets, what is missing left open. Words other than those of
`conf/tables.yaml` are overrides of `devias train` for all rows; `show` takes the same as `run`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from devias.cli import train
from devias.cli.changes import is_own
from devias.cli.command import command, sweep_launcher
from devias.config.overrides import as_value, normalize_overrides, quoted
from devias.errors import ConfigError

if TYPE_CHECKING:
    from devias.reporting.tables import ResultsTable
    from devias.sweeps.plan import Plan

ACTIONS = ("run", "show")
FORMATS = {"md": "markdown", "tex": "latex", "csv": "csv", "html": "html"}
"""What a suffix means."""
CHARTS = ("png", "svg", "pdf")
OWN_KEYS = (
    "action", "file", "format", "intervals", "output", "overrides", "retry_failed", "rows", "seeds",
    "wait",
)  # fmt: skip


def as_settings(words: Sequence[str]) -> list[str]:
    """`run FILE` as `action=run file=FILE`, and words about training as a list of their own."""
    given: list[str] = []
    overrides = []
    names = iter(("action", "file"))
    for before, word in zip(["", *words], words, strict=False):
        if word.startswith("-") or before in ("--cfg", "-c") or is_own(word, OWN_KEYS):
            given.append(word)
        elif ("=" in word or word.startswith("~")) and not Path(word).exists():
            overrides.append(quoted(word))
        else:
            given.append(f"{next(names, 'file')}={as_value(word)}")
    return [*given, f"overrides=[{','.join(overrides)}]"] if overrides else given


@command("tables", rewrite=as_settings)
def main(config: DictConfig) -> None:
    """Run or show."""
    from devias.sweeps.plan import plan
    from devias.sweeps.specification import read_table

    if OmegaConf.is_missing(config, "action") or OmegaConf.is_missing(config, "file"):
        raise ConfigError("say what to do with which file: devias tables run|show FILE")
    if config.action not in ACTIONS:
        raise ConfigError(f"action must be one of {', '.join(ACTIONS)}, not {config.action!r}")
    given = OmegaConf.to_container(config, resolve=False)
    assert isinstance(given, dict)
    table = read_table(config.file).select(given["rows"], given["seeds"])
    planned = plan(table, normalize_overrides(given["overrides"]))
    if config.action == "run":
        run(planned, config.retry_failed, config.wait)
    else:
        show(planned, config.format, given["output"], config.intervals)


def run(planned: Plan, retry_failed: bool = False, wait: bool = True) -> None:
    """Train what is missing, and measure it; code 1 ends the program if anything has failed."""
    from devias.sweeps.neighbors import probe_neighbors
    from devias.sweeps.runner import run_table

    words = [*planned.table.base, *planned.overrides]
    places = [f"hydra.sweep.dir={as_value(str(planned.folder))}", "hydra.sweep.subdir=."]
    with sweep_launcher(train.main, "train", [*words, *places]) as launcher:
        one_by_one = type(launcher).__name__ == "BasicLauncher"
        run_table(
            planned, launcher.launch, one_by_one=one_by_one, retry_failed=retry_failed, wait=wait
        )
    failed = {run: error for run in planned.runs if not run.result() and (error := run.failure())}
    if planned.table.measure == "knn":
        failed |= probe_neighbors(planned)
    for failed_run, error in failed.items():
        print(f"{failed_run.name} failed: {error}\n  {failed_run.folder}")
    if failed:
        sys.exit(f"{len(failed)} of {len(planned.runs)} runs failed; retry_failed=true tries again")


def show(
    planned: Plan,
    form: str | None = None,
    output: str | Sequence[str] | None = None,
    intervals: bool = False,
) -> None:
    """Print the table or write it to files, each in the form that its suffix or `form` names."""
    from devias.files import write_text
    from devias.reporting.plots.bars import bars_figure
    from devias.reporting.plots.style import save_figure
    from devias.sweeps.rendering import render

    tables = render(planned, intervals)
    title = planned.table.title
    if not output:
        print_tables(tables, form or "terminal", title)
        return
    for path in [output] if isinstance(output, str) else output:
        suffix = Path(path).suffix.removeprefix(".")
        if suffix in CHARTS:
            save_figure(bars_figure(tables, title), path)
        else:
            write_text(path, as_text(tables, form or FORMATS.get(suffix, suffix), title))
        print("Written:", path)


def print_tables(tables: Sequence[ResultsTable], form: str, title: str) -> None:
    """To standard output."""
    if form == "terminal":
        for table in tables:
            table.print()
    else:
        print(as_text(tables, form, title), end="")


def as_text(tables: Sequence[ResultsTable], form: str, title: str) -> str:
    """Tables in one of the forms of `FORMATS`.

    Raises:
        ConfigError: there is no such form.
    """
    from devias.reporting.table_formats import html_tables, latex_tables

    match form:
        case "markdown":
            return "\n".join(table.to_markdown() for table in tables)
        case "latex":
            return latex_tables(tables)
        case "csv":
            return "\n".join(table.to_csv() for table in tables)
        case "html":
            return html_tables(tables, title)
    known = ", ".join(["terminal", *FORMATS.values()])
    raise ConfigError(f"format must be one of {known}, or the output a chart, not {form!r}")


if __name__ == "__main__":
    main()
