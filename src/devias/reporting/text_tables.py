"""Tables as text: Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence


def markdown_table(titles: Sequence[str], rows: Iterable[Sequence[str]], names: int) -> str:
    """A Markdown table whose first columns, so many as `names`, are text and the rest numbers."""
    rule = [":--"] * names + ["--:"] * (len(titles) - names)
    cells = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in (titles, rule, *cells))


def csv_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The rows below their titles, separated by commas."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(titles)
    writer.writerows(rows)
    return text.getvalue()
