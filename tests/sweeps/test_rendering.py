import csv
import io
import json
import re
from dataclasses import replace

import pytest
from rich.console import Console

from declared import plan_of, result_for, table_of
from devias.reporting.plots.bars import bars_figure
from devias.reporting.table_formats import html_tables, latex_escape, latex_tables
from devias.sweeps.rendering import PROBE_FILE, render
from devias.sweeps.specification import TableError

NAMES = ("seen/action_top1", "unseen/action_top1", "harmonic_mean")
VALUES = {  # row → seed → the three metrics
    "50 % & co": [(0.9, 0.1, 0.18), (0.94, 0.14, 0.22)],
    "Two_Token": [(0.8, 0.3, 0.4), (0.8, 0.3, 0.44)],
    "DEVIAS": [(0.7, 0.5, 0.6)],
}


@pytest.fixture
def plan(tmp_path):
    """Two seeds each, but one of DEVIAS, and a row that has none."""
    planned = plan_of(tmp_path, [*VALUES, "Later"], seeds=(0, 1))
    for label, seeds in VALUES.items():
        for run, values in zip(planned.of_rows[label], seeds, strict=False):
            intervals = {n: [v - 0.05, v + 0.05] for n, v in zip(NAMES, values, strict=True)}
            made = result_for(run, metrics=dict(zip(NAMES, values, strict=True)))
            run.folder.mkdir()
            replace(made, intervals=intervals).save(run.folder / "result.json")
    rows = {label: {"overrides": "model=devias", "group": "tokens"} for label in planned.of_rows}
    rows["DEVIAS"] = {"overrides": "x=1", "paper": {"harmonic_mean": 61.2}, "note": "one seed yet"}
    rows["Later"] = {"overrides": "x=2", "paper": {"harmonic_mean": 7}}
    columns = [*NAMES]
    return replace(planned, table=table_of(tmp_path, rows=rows, columns=columns, seeds=[0, 1]))


def test_markdown_by_hand(plan):
    (table,) = render(plan)
    lines = table.to_markdown().splitlines()
    assert lines[:10] == [
        "### Mini",
        "",
        "| Row | n | Action seen ↑ | Action unseen ↑ | H.M. ↑ |",
        "| :-- | :-- | --: | --: | --: |",
        "| *tokens* |  |  |  |  |",
        "| 50 % & co | 2/2 | **92.0 ± 2.8** | 12.0 ± 2.8 | 20.0 ± 2.8 |",
        "| Two_Token | 2/2 | <u>80.0 ± 0.0</u> | <u>30.0 ± 0.0</u> | <u>42.0 ± 2.8</u> |",
        "| DEVIAS | 1/2 | 70.0 | **50.0** | **60.0** [61.2] |",
        "| Later | 0/2 | – | – | – [7.0] |",
        "",
    ]
    assert lines[10] == (
        "Protocol synthetic; per cent; mean ± standard deviation over 1 to 2 seeds; the paper's in "
        "square brackets."
    )
    assert "- DEVIAS: DEVIAS seed=0 (commit cccccccccccc)" in lines
    assert "- 50 % & co: 50 % & co seed=0|1 (commit cccccccccccc)" in lines
    assert "- Later: no result." in lines
    assert "- DEVIAS: one seed yet" in lines
    assert lines[12] == "- Rows are made by `devias train` and what stands here:"


def test_intervals_are_shown_on_request(plan):
    (table,) = render(plan, intervals=True)
    text = table.to_markdown()
    assert "| 92.0 ± 2.8" not in text
    assert "**92.0 ± 2.8** (87.0–97.0)" in text
    assert "**60.0** (55.0–65.0) [61.2]" in text
    assert "95 % intervals over videos" in text


def test_latex_by_hand(plan):
    lines = latex_tables(render(plan)).splitlines()
    start = lines.index(r"\toprule")
    assert lines[start - 3 : start] == [
        r"\centering", r"\caption{Mini}", r"\begin{tabular}{llrrr}",
    ]  # fmt: skip
    assert lines[start + 1 : start + 10] == [
        r"Row & n & Action seen $\uparrow$ & Action unseen $\uparrow$ & H.M. $\uparrow$ \\",
        r"\midrule",
        r"\multicolumn{5}{l}{\textit{tokens}} \\",
        r"50 \% \& co & 2/2 & \textbf{92.0 $\pm$ 2.8} & 12.0 $\pm$ 2.8 & 20.0 $\pm$ 2.8 \\",
        r"Two\_Token & 2/2 & \underline{80.0 $\pm$ 0.0} & \underline{30.0 $\pm$ 0.0} & "
        r"\underline{42.0 $\pm$ 2.8} \\",
        r"DEVIAS & 1/2 & 70.0 & \textbf{50.0} & \textbf{60.0} {\scriptsize{[}61.2{]}} \\",
        r"Later & 0/2 & -- & -- & -- {\scriptsize{[}7.0{]}} \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert latex_escape("a_b {c} ~\\^") == (
        r"a\_b \{c\} \textasciitilde{}\textbackslash{}\textasciicircum{}"
    )
    with_intervals = latex_tables(render(plan, intervals=True))
    assert r"\textbf{60.0} {\scriptsize(55.0--65.0)} {\scriptsize{[}61.2{]}}" in with_intervals


def test_html_by_hand(plan):
    page = html_tables(render(plan), "Mini")
    cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", page)
    assert cells[5] == "tokens"
    assert cells[6:11] == [
        "50 % &amp; co", "2/2", "<strong>92.0 ± 2.8</strong>", "12.0 ± 2.8", "20.0 ± 2.8",
    ]  # fmt: skip
    assert cells[11:16][-1] == "<u>42.0 ± 2.8</u>"
    assert cells[-1] == '– <small class="paper">[7.0]</small>'
    assert "http" not in page
    evil = replace(plan.table, title="<script>")
    assert "<script>" not in html_tables(render(replace(plan, table=evil)), "<script>")


def test_csv_has_all_numbers_apart(plan):
    (table,) = render(plan, intervals=True)
    first, _, devias, later = csv.DictReader(io.StringIO(table.to_csv()))
    assert (first["Action seen"], first["± Action seen"]) == ("92.0", "2.8")
    assert (first["Action seen from"], first["Action seen to"]) == ("87.0", "97.0")
    assert (devias["Seeds"], devias["n"], devias["H.M., paper"]) == ("1", "1/2", "61.2")
    assert devias["Commit"] == "c" * 40
    assert devias["Command"] == "devias train seed=0 DEVIAS"
    assert (first["Group"], devias["Group"]) == ("tokens", "")
    assert (later["H.M."], later["H.M., paper"], later["Command"]) == ("", "7.0", "")


def test_the_terminal_shows_what_is_missing_within_80_characters(plan):
    console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system="standard")
    (table,) = render(plan)
    table.print(console)
    text = console.file.getvalue()
    assert "\x1b[1;32m92.0 ± 2.8" in text
    assert "\x1b[4m80.0 ± 0.0" in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    assert max(map(len, plain)) <= 80
    place = next(i for i, line in enumerate(plain) if line.startswith("Later"))
    assert plain[place].split() == ["Later", "0/2", "–", "–", "–"]
    assert plain[place + 1].split() == ["[7.0]"]


def test_groups_that_are_compared_apart_are_tables_of_their_own(plan):
    tables = render(replace(plan, table=replace(plan.table, separate_groups=True)))
    assert [table.title for table in tables] == ["Mini: tokens", "Mini"]
    assert "**92.0 ± 2.8**" in tables[0].to_markdown()
    assert "**70.0**" in tables[1].to_markdown()
    assert "tokens*" not in tables[0].to_markdown()


def test_protocols_are_not_mixed(plan):
    run = plan.of_rows["DEVIAS"][0]
    result_for(run, protocol="other").save(run.folder / "result.json")
    message = rf"{run.folder}/result.json is of the protocol 'other', the row 'DEVIAS' of 'synth"
    with pytest.raises(TableError, match=message):
        render(plan)


def test_results_of_other_settings_are_told_and_left_out(plan):
    run = plan.of_rows["Later"][0]
    result_for(run, run_id="another").save(run.folder / "result.json")
    (table,) = render(plan)
    assert any(remark.startswith("Left out are 1 results of other") for remark in table.remarks)
    assert "| Later | 0/2 | – |" in table.to_markdown()


def test_a_table_of_neighbors_has_the_numbers_of_devias_knn(plan, tmp_path):
    shares = {"A-A": 0.8, "A-S": 0.2}
    knn = {p: {"weighted": {"accuracy": v, "low": v, "high": 1.0}} for p, v in shares.items()}
    run = plan.of_rows["DEVIAS"][0]
    (run.folder / PROBE_FILE).parent.mkdir(parents=True)
    (run.folder / PROBE_FILE).write_text(json.dumps({"rows": {"model": knn}}))
    rows = dict.fromkeys(plan.of_rows, "x=1")
    table = table_of(tmp_path, rows=rows, columns=[*shares], measure="knn", seeds=[0, 1])
    (table,) = render(replace(plan, table=table))
    text = table.to_markdown()
    assert "| A-A ↑ | A-S ↓ |" in text
    assert "| DEVIAS | 1/2 | **80.0** | **20.0** |" in text
    assert "| 50 % & co | 0/2 | – | – |" in text
    (run.folder / PROBE_FILE).write_text("[]")
    with pytest.raises(TableError, match="is not what `devias knn` writes"):
        render(replace(plan, table=table_of(tmp_path, rows=rows, measure="knn")))


def test_bars_show_every_row_in_every_column(plan):
    figure = bars_figure(render(plan), "Mini")
    assert len(figure.axes) == 3
    widths = [[round(bar.get_width(), 3) for bar in axes.patches] for axes in figure.axes]
    assert widths == [[0.92, 0.8, 0.7], [0.12, 0.3, 0.5], [0.2, 0.42, 0.6]]
    names = [text.get_text() for text in figure.texts]
    assert names == ["Mini", "tokens", "50 % & co", "Two_Token", "DEVIAS", "Later"]
    diamonds = [line.get_xdata()[0] for line in figure.axes[2].lines if line.get_marker() == "D"]
    assert diamonds == [0.612, 0.07]
    with pytest.raises(ValueError, match="bars need tables with the same columns"):
        bars_figure([], "none")
