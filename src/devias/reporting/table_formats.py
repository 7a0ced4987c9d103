"""Tables for papers and for the web: LaTeX and HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence

from markupsafe import Markup

from devias.reporting.cells import CellStyle
from devias.reporting.columns import Column, arrow
from devias.reporting.html import template
from devias.reporting.tables import ResultsTable

LATEX_SIGNS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "[": "{[}", "]": "{]}",  # after a line's end a bracket would be its option
    "±": r"$\pm$", "−": "$-$", "–": "--", "×": r"$\times$", "↑": r"$\uparrow$",
    "↓": r"$\downarrow$", "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "…": r"\dots{}",
}  # fmt: skip


def latex_escape(text: str) -> str:
    """A text as LaTeX prints it."""
    return "".join(LATEX_SIGNS.get(sign, sign) for sign in text)


LATEX = CellStyle(
    r"\textbf{{{}}}", r"\underline{{{}}}", r" {{\scriptsize({})}}", r" {{\scriptsize{{[}}{}{{]}}}}"
)
HTML = CellStyle(
    "<strong>{}</strong>", "<u>{}</u>", " <small>({})</small>", ' <small class="paper">[{}]</small>'
)


def latex_tables(tables: Sequence[ResultsTable]) -> str:
    r"""Tables with rules of `booktabs`, to be put into a paper by `\input`."""
    return "\n".join(_latex(table) for table in tables)


def _latex(table: ResultsTable) -> str:
    titles = [*table.label_titles, *(f"{c.title} {arrow(c)}" for c in table.columns)]
    alignment = "l" * len(table.label_titles) + "r" * len(table.columns)
    numbers = iter(table.cells(LATEX))
    body: list[str] = []
    for name, rows in table.sections():
        if name:
            body += [r"\midrule"] if body else []
            heading = rf"\textit{{{latex_escape(name)}}}"
            body.append(rf"\multicolumn{{{len(titles)}}}{{l}}{{{heading}}} \\")
        for labels, _, _ in rows:
            cells = [*map(latex_escape, labels), *map(_latex_signs, next(numbers))]
            body.append(" & ".join(cells) + r" \\")
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        *([rf"\caption{{{latex_escape(table.title)}}}"] if table.title else []),
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        " & ".join(map(latex_escape, titles)) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\footnotesize {latex_escape(line)}" for line in table.caption.splitlines()),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_signs(cell: str) -> str:
    """A written cell, whose marks are LaTeX already."""
    return re.sub("[±−–]", lambda sign: LATEX_SIGNS[sign[0]], cell)


def html_tables(tables: Sequence[ResultsTable], title: str) -> str:
    """A page that needs nothing else."""
    shown = [
        {
            "table": table,
            "titles": [_html_title(column) for column in table.columns],
            "sections": _html_sections(table),
        }
        for table in tables
    ]
    return template("table.html.j2").render(title=title, tables=shown)


def _html_title(column: Column) -> Markup:
    better = "higher is better" if column.higher_is_better else "lower is better"
    return Markup('{} <span title="{}">{}</span>').format(column.title, better, arrow(column))


def _html_sections(table: ResultsTable) -> list[tuple[str, list[tuple[list[str], list[Markup]]]]]:
    numbers = iter(table.cells(HTML))  # made of figures alone, and so safe
    return [
        (name, [(labels, [Markup(cell) for cell in next(numbers)]) for labels, _, _ in rows])
        for name, rows in table.sections()
    ]
