import csv
import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from devias.reporting.columns import Column, composition_columns, headline_columns
from devias.reporting.results import RunResult
from devias.reporting.tables import (
    results_table,
    results_tables,
)


def run(model, seed, experiment="synthetic", **metrics):
    named = {name.replace("__", "/"): value for name, value in metrics.items()}
    return RunResult(experiment, model, "synthetic", seed, None, named)


RUNS = [
    run("two_token", 0, seen__action_top1=0.96, unseen__action_top1=0.30, unseen__scene_bias=0.4),
    run("devias", 0, seen__action_top1=0.95, unseen__action_top1=0.52, unseen__scene_bias=0.1),
    run("two_token", 1, seen__action_top1=0.92, unseen__action_top1=0.34, unseen__scene_bias=0.44),
    run("devias", 1, seen__action_top1=0.95, unseen__action_top1=0.60, unseen__scene_bias=0.2),
]


def markdown_cells(table):
    lines = [line for line in table.to_markdown().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_markdown_by_hand():
    title, rule, two_token, devias = markdown_cells(results_table(RUNS))
    assert title == ["Model", "Action seen ↑", "Action unseen ↑", "Scene bias ↓"]
    assert rule == [":--", "--:", "--:", "--:"]
    # Sample standard deviations: |0.96 - 0.92| / √2 = 0.0283, 0.08 / √2 = 0.0566, 0.1 / √2.
    assert two_token == ["two_token", "94.0 ± 2.8", "32.0 ± 2.8", "42.0 ± 2.8"]
    assert devias == ["devias", "**95.0 ± 0.0**", "**56.0 ± 5.7**", "**15.0 ± 7.1**"]


def test_one_seed_has_no_spread_and_one_row_no_best():
    *_, row = markdown_cells(results_table(RUNS[:1]))
    assert row == ["two_token", "96.0", "30.0", "40.0"]
    assert "one seed" in results_table(RUNS[:1]).to_markdown()


def with_intervals(**metrics):
    result = run("a", 0, **metrics)
    result.intervals = {m: [v - 0.063, v + 0.0649] for m, v in result.metrics.items()}
    return result


def test_one_seed_shows_the_interval_of_its_numbers():
    one = with_intervals(seen__action_top1=0.93, harmonic_mean=0.4)
    *_, row = markdown_cells(results_table([one]))
    assert row == ["a", "93.0 (86.7–99.5)", "40.0 (33.7–46.5)"]
    assert "95 % intervals over videos" in results_table([one]).to_markdown()
    (row,) = csv.DictReader(io.StringIO(results_table([one]).to_csv()))
    assert (row["H.M."], row["H.M. from"], row["H.M. to"]) == ("40.0", "33.7", "46.5")
    other = replace(one, seed=1)
    *_, row = markdown_cells(results_table([one, other]))
    assert row == ["a", "93.0 ± 0.0", "40.0 ± 0.0"]


def test_intervals_fit_into_80_characters():
    metrics = {column.metric.replace("/", "__"): 0.94 for column in headline_columns()}
    lines = printed(results_table([with_intervals(**metrics)]), 80).splitlines()
    assert max(map(len, lines)) <= 80
    (line,) = (line for line in lines if "–" in line)
    assert line.split() == ["87.7–100.5"] * 6


def test_a_set_that_speaks_against_a_model_is_a_column_the_lower_the_better():
    runs = [run(name, 0, scufo__action_top1=value) for name, value in (("a", 0.3), ("b", 0.1))]
    for result in runs:
        result.lower_is_better = ["scufo/action_top1"]
    title, _, *rows = markdown_cells(results_table(runs))
    assert title == ["Model", "Scufo action ↓"]
    assert [row[1] for row in rows] == ["30.0", "**10.0**"]


def test_the_composition_table_has_what_follows_from_the_scene():
    metrics = {"unseen__wrong_pair_seen": 0.4, "gap__action_top1": -0.05}
    (table,) = results_tables([run("a", 0, **metrics)], composition_columns)
    assert markdown_cells(table)[0] == ["Model", "Action gap ↓", "Errors: seen pair ↓"]
    assert markdown_cells(table)[-1] == ["a", "−5.0", "40.0"]


def test_videos_that_were_left_out_are_a_remark():
    one = run("a", 0, harmonic_mean=0.4)
    one.skipped = {"seen": ["x.mp4 is broken", "y.mp4 is broken"]}
    one.evaluation = {"checkpoint": "best.ckpt", "changes": ["data.stride=2"]}
    remark = "a [data.stride=2]: unreadable videos of seen that are left out: 2."
    assert remark in results_table([one]).to_markdown()
    assert "a [data.stride=2]:" in printed(results_table([one]), 100)


def test_what_looks_equal_is_equally_good():
    runs = [run("a", 0, harmonic_mean=0.50001), run("b", 0, harmonic_mean=0.50002)]
    assert [row[1] for row in markdown_cells(results_table(runs))[2:]] == ["**50.0**"] * 2


def test_csv_separates_mean_and_spread():
    rows = list(csv.DictReader(io.StringIO(results_table(RUNS).to_csv())))
    assert rows[1]["Model"] == "devias"
    assert rows[1]["Seeds"] == "2"
    assert (rows[1]["Action unseen"], rows[1]["± Action unseen"]) == ("56.0", "5.7")


def test_missing_metric_is_a_dash_and_an_empty_field():
    table = results_table([*RUNS[:2], run("other", 0, harmonic_mean=0.5)])
    assert markdown_cells(table)[-1] == ["other", "–", "–", "**50.0**", "–"]
    assert table.to_csv().splitlines()[-1] == "other,1,,,,,50.0,,,"


def test_row_with_a_metric_in_some_seeds_only_shows_no_mean():
    table = results_table([*RUNS, run("devias", 2, seen__action_top1=0.95)])
    assert markdown_cells(table)[-1] == ["devias", "**95.0 ± 0.0**", "–", "–"]
    assert "2 to 3 seeds" in table.to_markdown()


def test_experiments_are_named_where_they_differ():
    table = results_table([run("a", 0, harmonic_mean=0.5), run("a", 0, "long", harmonic_mean=0.6)])
    title, _, *rows = markdown_cells(table)
    assert title[:2] == ["Experiment", "Model"]
    assert [row[:2] for row in rows] == [["synthetic", "a"], ["long", "a"]]


def test_pipe_in_a_name_does_not_break_markdown():
    assert r"| a\|b |" in results_table([run("a|b", 0, harmonic_mean=0.5)]).to_markdown()


def test_terminal_table_fits_80_characters():
    metrics = {column.metric: 0.813 for column in headline_columns()}
    runs = [RunResult("e", "two_token", "d", seed, None, metrics) for seed in (0, 1)]
    console = Console(width=80, file=io.StringIO())
    results_table(runs).print(console)
    (row,) = (line for line in console.file.getvalue().splitlines() if "two_token" in line)
    assert row.count("81.3 ± 0.0") == 6


def printed(table, width):
    console = Console(width=width, file=io.StringIO())
    table.print(console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [1, 30, 80, 300])
@pytest.mark.parametrize("name", ["devias " + "backbone.embed_dim=24 " * 9, "x" * 200, "d"])
@pytest.mark.parametrize("columns", [1, 6, 15])
def test_no_number_is_ever_cut(width, name, columns):
    shown = [Column(f"Metric number {i}", f"m{i}") for i in range(columns)]
    metrics = {column.metric: 0.5 + 0.01 * i for i, column in enumerate(shown)}
    runs = [RunResult("e", name, "d", seed, None, metrics) for seed in (0, 1)]
    text = printed(results_table(runs, shown), width)
    (line,) = (line for line in text.splitlines() if "±" in line and "Per cent" not in line)
    assert re.findall(r"[0-9.]+ ± [0-9.]+", line) == [f"{50 + i}.0 ± 0.0" for i in range(columns)]
    assert line.startswith(name.strip()[:1])
    assert "".join(text.split()).count("…") == 0


def test_a_long_name_is_wrapped_within_80_characters():
    metrics = {"seen/action_top1": 0.8, "seen/scene_top1": 0.5}
    name = "action_vit augment=none masks=none loss=action global_batch=2 backbone.depth=2 seed=3"
    text = printed(results_table([RunResult("e", name, "d", 0, None, metrics)]), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "80.0" in text
    assert "50.0" in text
    assert "seed=3" in text


def test_brackets_in_a_name_are_no_terminal_markup():
    console = Console(width=80, file=io.StringIO())
    results_table([run("devias[k=3]", 0, harmonic_mean=0.5)]).print(console)
    assert "devias[k=3]" in console.file.getvalue()


def test_scene_column_follows_the_protocol():
    titles = [column.title for column in headline_columns(scene_topk=5)]
    assert titles[2:4] == ["Scene top-5 seen", "Scene top-5 unseen"]
    assert headline_columns(5)[2] == Column("Scene top-5 seen", "seen/scene_top5")


def test_no_results_are_refused():
    with pytest.raises(ValueError, match="at least one result"):
        results_table([])
