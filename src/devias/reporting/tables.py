"""The paper's result table: in the terminal, as Markdown and as CSV.

`devias.reporting.table_formats` has LaTeX and HTML.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from devias.reporting.cells import Cell, CellStyle, mark_best, per_cent
from devias.reporting.columns import Column, arrow, headline_columns
from devias.reporting.results import RunResult, group_runs
from devias.reporting.text_tables import csv_table, markdown_table

LABEL_WIDTH = 10
"""The least width of a label that is wrapped, in characters."""

TERMINAL = CellStyle("[bold green]{}[/]", "[underline]{}[/]", "\n{}", "\n\\[{}]")
MARKDOWN = CellStyle("**{}**", "<u>{}</u>", " ({})")


@dataclass(frozen=True)
class RowSource:
    """What stands beside a row's numbers."""

    group: str = ""
    """The heading that it stands below with its neighbors of the same group."""
    paper: Sequence[float | None] = ()
    """The paper's numbers in per cent, one a column."""
    commits: str = ""
    command: str = ""
    """That repeats its first seed."""


@dataclass(frozen=True)
class ResultsTable:
    """Rows of cells under named columns; all numbers are shown in per cent."""

    label_titles: list[str]
    """The columns that say what a row is: model, and experiment or data if they differ."""
    columns: list[Column]
    rows: list[tuple[list[str], int, list[Cell | None]]]
    """For each row its labels, number of seeds and cells (`None`: no such metric)."""
    protocol: str = ""
    """The name of the protocol that all numbers are of."""
    remarks: Sequence[str] = ()
    """What sets some of the results apart, as evaluation sets that were absent."""
    title: str = ""
    sources: Sequence[RowSource] = ()
    """Where given, one a row."""

    def sections(self) -> list[tuple[str, list[tuple[list[str], list[Cell | None], RowSource]]]]:
        """Neighboring rows of one group, below its name."""
        rows = zip(self.rows, self.sources or [RowSource()] * len(self.rows), strict=True)
        filled = [
            (labels, cells, replace(source, paper=source.paper or [None] * len(cells)))
            for (labels, _, cells), source in rows
        ]
        return [(name, [*part]) for name, part in groupby(filled, lambda row: row[2].group)]

    def cells(self, style: CellStyle, place: int | None = None) -> list[list[str]]:
        """The numbers as a format writes them, row by row; of all columns or of one."""
        return [
            [
                style.write(cell, paper)
                for at, (cell, paper) in enumerate(zip(cells, source.paper, strict=True))
                if place in (None, at)
            ]
            for _, rows in self.sections()
            for _, cells, source in rows
        ]

    def to_rich(self) -> Table:
        """For the terminal; the best of each column is bold.

        Where it is too wide the labels are wrapped, never the numbers.
        """
        table = Table(
            title=escape(self.title) or None,
            title_justify="left",
            box=box.SIMPLE_HEAD,
            show_edge=False,
            padding=0,
            caption=escape(self.caption),
            caption_justify="left",
        )
        for place, title in enumerate(self.label_titles):
            longest = max(len(text) for text in (title, *(row[0][place] for row in self.rows)))
            table.add_column(f"\n{title}", overflow="fold", min_width=min(LABEL_WIDTH, longest))
        plain = replace(TERMINAL, best="{}", second="{}", paper="\n[{}]")
        for place, column in enumerate(self.columns):
            # In two lines, so that a model and six columns of "81.3 ± 0.4" fit 80 characters.
            title = f"{column.title} {arrow(column)}".replace(" ", "\n", 1)
            written = [line for row in self.cells(plain, place) for line in row[0].split("\n")]
            width = max(map(len, [*title.split("\n"), *written]))
            table.add_column(title, justify="right", no_wrap=True, width=width)
        numbers = iter(self.cells(TERMINAL))
        for name, rows in self.sections():
            if name:
                table.add_section()
                table.add_row(f"[italic]{escape(name)}[/]")
            for labels, _, _ in rows:
                table.add_row(*map(escape, labels), *next(numbers))
        return table

    def print(self, console: Console | None = None) -> None:
        """Show the table in the terminal; lines grow longer than it where not even labels fit."""
        console = console or Console()
        table = self.to_rich()
        least = sum((column.width or LABEL_WIDTH) + 1 for column in table.columns) - 1
        if least > console.width:
            table.width = least
        console.print(table, crop=False)

    def to_markdown(self) -> str:
        """As a Markdown table; the best of each column is bold."""
        titles = [f"{column.title} {arrow(column)}" for column in self.columns]
        numbers = iter(self.cells(MARKDOWN))
        lines = []
        for name, rows in self.sections():
            if name:
                lines.append([f"*{name}*", *[""] * (len(self.label_titles) + len(titles) - 1)])
            lines += [[*labels, *next(numbers)] for labels, _, _ in rows]
        head = f"### {self.title}\n\n" if self.title else ""
        titles = [*self.label_titles, *titles]
        table = markdown_table(titles, lines, len(self.label_titles))
        remarks = "".join(f"- {remark}\n" for remark in self.remarks)
        return f"{head}{table}\n{self.summary}\n" + (f"\n{remarks}" if remarks else "")

    def to_csv(self) -> str:
        """As CSV with a mean and a standard deviation column for each metric, empty if missing.

        Where some number has an interval there are columns of its bounds as well, and where rows
        have sources, those.
        """
        kinds = ["{}", "± {}", *(("{} from", "{} to") if self._has_intervals else ())]
        titles = [kind.format(column.title) for column in self.columns for kind in kinds]
        rows = []
        for labels, seeds, cells in self.rows:
            numbers = [
                "" if value is None else per_cent(100 * value, "-")
                for cell in cells
                for value in _values(cell)[: len(kinds)]
            ]
            rows.append([*labels, seeds, *numbers])
        titles = [*self.label_titles, "Seeds", *titles]
        if self.sources:
            titles += [*(f"{column.title}, paper" for column in self.columns)]
            titles += ["Group", "Commit", "Command"]
            for row, (_, _, source) in zip(rows, self._flat(), strict=True):
                row += ["" if n is None else per_cent(n, "-") for n in source.paper]
                row += [source.group, source.commits, source.command]
        return csv_table(titles, rows)

    def _flat(self) -> list[tuple[list[str], list[Cell | None], RowSource]]:
        return [row for _, rows in self.sections() for row in rows]

    @property
    def _has_intervals(self) -> bool:
        return any(cell and cell.interval for _, _, cells in self.rows for cell in cells)

    @property
    def _has_paper(self) -> bool:
        return any(number is not None for source in self.sources for number in source.paper)

    @property
    def caption(self) -> str:
        """The summary, and what sets some results apart."""
        return "\n".join([self.summary, *self.remarks])

    @property
    def summary(self) -> str:
        """The protocol, and what is shown of how many seeds."""
        seeds = sorted({seeds for _, seeds, _ in self.rows if seeds}) or [0]
        counts = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        shown = f"mean ± standard deviation over {counts} seeds"
        if seeds[-1] < 2:
            shown = "one seed" if seeds[-1] else "no result"
        if self._has_intervals:
            shown += "; ranges are 95 % intervals over videos"
        if self._has_paper:
            shown += "; the paper's in square brackets"
        protocol = f"Protocol {self.protocol}; per" if self.protocol else "Per"
        return f"{protocol} cent; {shown}."


def results_tables(
    results: Iterable[RunResult],
    columns: Callable[[int], Sequence[Column]] | None = None,
) -> list[ResultsTable]:
    """A table for each protocol, as the numbers of several cannot be compared.

    Args:
        results: of any protocols.
        columns: other ones than those of the headline, given the protocol's `scene_topk`.

    Raises:
        ResultError: a seed stands twice (see `group_runs`).
    """
    groups: dict[tuple[str, int], list[RunResult]] = {}
    for result in results:
        groups.setdefault((result.protocol, result.scene_topk), []).append(result)
    return [results_table(group, columns and columns(topk)) for (_, topk), group in groups.items()]


def results_table(
    results: Sequence[RunResult], columns: Sequence[Column] | None = None
) -> ResultsTable:
    """Compare models under one protocol: a row for each, with the mean over its seeds.

    Rows stand in the order in which the models first appear. A metric that some seed of a row
    lacks is shown as missing; a column that no row has is left out.

    Args:
        results: of one protocol.
        columns: other ones than those of the protocol's headline.

    Raises:
        ResultError: a seed stands twice (see `group_runs`).
        ValueError: there is no result, or they are of several protocols.
    """
    if not results:
        raise ValueError("a table needs at least one result")
    if len({(result.protocol, result.scene_topk) for result in results}) != 1:
        raise ValueError("a table needs results of one protocol")
    if columns is None:
        columns = [*headline_columns(results[0].scene_topk), *_lower_columns(results)]
    groups = group_runs(results)
    columns = [c for c in columns if any(c.metric in result.metrics for result in results)]
    cells = {
        key: [Cell.of(column.metric, runs) for column in columns] for key, runs in groups.items()
    }
    ranked = mark_best(list(cells.values()), columns)
    # Experiment and data are shown only where they tell rows apart.
    names = ("Experiment", "Data", "Model")
    shown = [i for i in range(3) if i == 2 or len({key[i] for key in groups}) > 1]
    return ResultsTable(
        [names[i] for i in shown],
        columns,
        [
            ([key[i] for i in shown], len(runs), row)
            for (key, runs), row in zip(groups.items(), ranked, strict=True)
        ],
        results[0].protocol,
        remarks(results),
    )


def _lower_columns(results: Sequence[RunResult]) -> list[Column]:
    """The columns of sets such as SCUFO's."""
    metrics = dict.fromkeys(metric for result in results for metric in result.lower_is_better)
    titles = {m: m.replace("_", " ").replace("/", " ").removesuffix(" top1") for m in metrics}
    return [Column(title.capitalize(), m, higher_is_better=False) for m, title in titles.items()]


def remarks(results: Sequence[RunResult]) -> list[str]:
    """Which sets were absent from which results, and what else is particular to one."""
    absent = dict.fromkeys(name for result in results for name in result.absent)
    told = [f"Absent where it was measured: {', '.join(absent)}."] if absent else []
    for r in results:
        told += [
            f"{r.row}: unreadable videos of {name} that are left out: {len(videos)}."
            for name, videos in r.skipped.items()
        ]
    return list(dict.fromkeys([*told, *(f"{r.row}: {n}" for r in results for n in r.notes)]))


def _values(cell: Cell | None) -> list[float | None]:
    """Mean, deviation and bounds."""
    if cell is None:
        return [None] * 4
    return [cell.mean, cell.std, *(cell.interval or (None, None))]
