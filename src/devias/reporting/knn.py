"""The table of k-NN probes."""

from __future__ import annotations

from collections.abc import Mapping

from devias.evaluation.knn import PROBES, Row, Vote
from devias.reporting.cells import MISSING


def knn_table(rows: Mapping[str, Row], vote: Vote) -> str:
    """Rows by name as a Markdown table of accuracies in per cent with 95 % intervals."""
    lines = [["", *PROBES], [":--", *["--:"] * len(PROBES)]]
    for name, row in rows.items():
        cells = [MISSING] * len(PROBES)
        for place, probe in enumerate(PROBES):
            if probe in row:
                share = row[probe][vote]
                low, high = (100 * end for end in share.interval)
                cells[place] = f"{100 * share.accuracy:.1f} ({low:.1f}–{high:.1f})"
        lines.append([name, *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
