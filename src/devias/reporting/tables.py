"""The paper's result table: in the terminal, as Markdown and as CSV.

`devias.reporting.table_formats` has LaTeX and HTML.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import fmean, stdev

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from devias.reporting.results import RunResult, group_runs
from devias.reporting.text_tables import csv_table, markdown_table

MISSING = "–"
CROSSED = ("A-S", "S-A")
"""What a slot tells of the other slot's label: the less the better."""
LABEL_WIDTH = 10
"""The least width of a label that is wrapped, in characters."""


@dataclass(frozen=True)
class Column:
    """One metric as a column."""

    title: str
    metric: str
    higher_is_better: bool = True


def headline_columns(scene_topk: int = 1) -> tuple[Column, ...]:
    """Action and scene on seen and unseen combinations, H.M. and scene bias."""
    scene = "Scene" if scene_topk == 1 else f"Scene top-{scene_topk}"
    return (
        Column("Action seen", "seen/action_top1"),
        Column("Action unseen", "unseen/action_top1"),
        Column(f"{scene} seen", f"seen/scene_top{scene_topk}"),
        Column(f"{scene} unseen", f"unseen/scene_top{scene_topk}"),
        Column("H.M.", "harmonic_mean"),
        Column("Scene bias", "unseen/scene_bias", higher_is_better=False),
    )


def composition_columns(scene_topk: int = 1) -> tuple[Column, ...]:
    """How far answers follow the scene: all the lower the better."""
    names = {
        "Action gap": "gap/action_top1",
        "Scene gap": f"gap/scene_top{scene_topk}",
        "Scene bias": "unseen/scene_bias",
        "Errors: seen pair": "unseen/wrong_pair_seen",
        "Errors: frequent": "unseen/wrong_pair_frequent",
        "Slot collision": "unseen/slot_collision",
    }
    return tuple(Column(name, metric, higher_is_better=False) for name, metric in names.items())


def column_of(metric: str, title: str | None = None) -> Column:
    """The column of any metric, called as in the tables above or, unknown to them, as itself."""
    for topk in (1, 5):
        for column in (*headline_columns(topk), *composition_columns(topk)):
            if column.metric == metric:
                return replace(column, title=title or column.title)
    return Column(title or metric, metric, higher_is_better=metric not in CROSSED)


@dataclass(frozen=True)
class Cell:
    """Mean and sample standard deviation over seeds, as fractions."""

    mean: float
    std: float | None = None
    """`None` with one seed."""
    best: bool = False
    """Whether no other row of the column is better."""
    second: bool = False
    """Whether only the best are better; told where a table asks for it."""
    interval: tuple[float, float] | None = None
    """Of the one seed's number, by the choice of videos."""

    @classmethod
    def of(cls, metric: str, runs: Sequence[RunResult]) -> Cell | None:
        """The cell of what one metric is in several runs; `None` if some lack it."""
        if not all(metric in run.metrics for run in runs):
            return None
        values = [run.metrics[metric] for run in runs]
        if len(runs) > 1:
            return cls(fmean(values), stdev(values))
        interval = runs[0].intervals.get(metric)
        return cls(values[0], interval=(interval[0], interval[1]) if interval else None)

    def __str__(self) -> str:
        """In per cent with one decimal: `81.3 ± 0.4`."""
        spread = "" if self.std is None else f" ± {100 * self.std:.1f}"
        return f"{100 * self.mean:.1f}{spread}".replace("-", "−")

    @property
    def range(self) -> str:
        """The interval in per cent, `78.9–83.5`; empty where there is none."""
        if self.interval is None:
            return ""
        return "–".join(f"{100 * bound:.1f}".replace("-", "−") for bound in self.interval)


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
class CellStyle:
    """How a format writes a cell; `{}` stands for what is marked."""

    best: str
    second: str
    interval: str
    """Goes behind the number."""
    paper: str = " [{}]"
    number: Callable[[str], str] = str
    """Writes a number's signs."""

    def write(self, cell: Cell | None, paper: float | None = None) -> str:
        """A cell, and beside it the paper's number in per cent."""
        text = MISSING
        if cell is not None:
            text = self.number(str(cell))
            if cell.best or cell.second:
                text = (self.best if cell.best else self.second).format(text)
            if cell.range:
                text += self.interval.format(cell.range)
        return text if paper is None else text + self.paper.format(self.number(per_cent(paper)))


TERMINAL = CellStyle("[bold green]{}[/]", "[underline]{}[/]", "\n{}", "\n\\[{}]")
MARKDOWN = CellStyle("**{}**", "<u>{}</u>", " ({})")


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


def mark_best(
    rows: list[list[Cell | None]], columns: Sequence[Column], seconds: bool = False
) -> list[list[Cell | None]]:
    """Mark the best cells of each column by what is shown, so that equal figures are equal.

    Args:
        rows: of one table.
        columns: say what is better.
        seconds: mark those that come next as well.
    """
    if len(rows) < 2:
        return rows
    marked = [[*row] for row in rows]
    for place, column in enumerate(columns):
        shown = {round(cell.mean, 3) for row in rows if (cell := row[place])}
        ranked = [*sorted(shown, reverse=column.higher_is_better), None, None]
        for row in marked:
            if cell := row[place]:
                value = round(cell.mean, 3)
                second = seconds and value == ranked[1]
                row[place] = replace(cell, best=value == ranked[0], second=second)
    return marked


def per_cent(value: float, minus: str = "−") -> str:
    """A number in per cent with one decimal."""
    return f"{value:.1f}".replace("-", minus)


def _values(cell: Cell | None) -> list[float | None]:
    """Mean, deviation and bounds."""
    if cell is None:
        return [None] * 4
    return [cell.mean, cell.std, *(cell.interval or (None, None))]


def arrow(column: Column) -> str:
    """Which way is better."""
    return "↑" if column.higher_is_better else "↓"
