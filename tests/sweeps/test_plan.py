import json
import subprocess
import sys
from dataclasses import replace

import pytest

from declared import FILES, plan_of, result_for, table_of
from devias.config import compose
from devias.reporting.results import ResultError
from devias.sweeps.plan import FAILURE_FILE, State, plan
from devias.sweeps.specification import Row, TableError, read_table
from devias.training.run_folder import LOCK_FILE
from helpers import TINY_SYNTHETIC, run_parts, save_untrained

HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "a")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def test_a_run_s_words_are_what_its_hash_is_of(tmp_path):
    rows = {"One's, token": "model=one_token", "DEVIAS": "model=devias"}
    table = table_of(tmp_path, rows=rows, base="experiment=synthetic", seeds=[0, 3])
    planned = plan(table, [f"paths.runs={tmp_path / 'all runs'}"])
    assert [run.name for run in planned.runs] == [
        "One's, token, seed 0", "One's, token, seed 3", "DEVIAS, seed 0", "DEVIAS, seed 3",
    ]  # fmt: skip
    assert len({run.folder for run in planned.runs}) == 4
    run = planned.runs[1]
    config = compose(*run.words)
    assert config.names.run_id == run.run_id
    assert config.names.model == "One's, token"
    assert config.paths.run_dir == str(run.folder)
    assert (config.seed, config.ckpt_path) == (3, "auto")
    assert run.folder.parent == tmp_path / "all runs" / "tables" / "mini"
    assert run.folder.name == f"One-s-token-{run.run_id}-s3"
    assert planned.protocols["DEVIAS"] == ("synthetic", 1)


def test_a_method_that_stands_in_several_groups_is_run_once(tmp_path):
    rows = {
        "DEVIAS": {"overrides": "model=devias", "group": "a"},
        "K = 2": {"overrides": "model.slot_attention.num_slots=2", "group": "b"},
    }
    table = table_of(tmp_path, rows=rows, base="experiment=synthetic", separate_groups=True)
    planned = plan(table)
    (run,) = planned.runs
    assert planned.of_rows == {"DEVIAS": [run], "K = 2": [run]}
    message = "rows 'DEVIAS' and 'K = 2' are the same method"
    with pytest.raises(TableError, match=message):
        plan(replace(table, separate_groups=False))


def test_a_row_that_is_called_otherwise_later_keeps_its_run(tmp_path):
    base, runs = "experiment=synthetic", [f"paths.runs={tmp_path}"]
    (run,) = plan(table_of(tmp_path, rows={"Old": "model=devias"}, base=base), runs).runs
    run.folder.mkdir(parents=True)
    (later,) = plan(table_of(tmp_path, rows={"New": "model=devias"}, base=base), runs).runs
    assert (later.label, later.folder) == ("New", run.folder)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("model=devia", "row 'a': model has no option devia; did you mean devias?"),
        ("optim.bse_lr=1", "row 'a': there is no key optim.bse_lr; did you mean optim.base_lr?"),
    ],
)
def test_a_row_that_cannot_be_composed_is_named(tmp_path, row, message):
    with pytest.raises(TableError, match=message):
        plan(table_of(tmp_path, rows={"a": row}))


def test_rows_of_different_protocols_make_no_table(tmp_path):
    rows = {"a": "model=devias", "b": "model=devias data.stride=3 protocol.name=mine"}
    with pytest.raises(TableError, match="row 'b' is tested by 'mine', others by 'synthetic'"):
        plan(table_of(tmp_path, rows=rows))


def test_how_a_run_stands_is_told_from_its_folder(tmp_path):
    (run,) = plan_of(tmp_path, ["a"]).runs
    assert run.state() is State.MISSING
    run.folder.mkdir()
    (run.folder / LOCK_FILE).touch()
    assert run.state() is State.MISSING  # as a run leaves it that was killed
    run.record_failure("out of memory")
    assert (run.state(), run.failure()) == (State.FAILED, "out of memory")
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.folder / LOCK_FILE)], stdout=subprocess.PIPE
    )
    try:
        assert other.stdout.readline() == b"held\n"
        assert run.state() is State.RUNNING
    finally:
        other.kill()
        other.wait()
    assert run.state() is State.FAILED
    run.forget_failure()
    assert run.state() is State.MISSING
    result_for(run, run_id="another").save(run.folder / "result.json")
    assert run.state() is State.MISSING
    result_for(run).save(run.folder / "result.json")
    assert run.state() is State.FINISHED
    (run.folder / "result.json").write_text("{")
    with pytest.raises(ResultError, match=str(run.folder)):
        run.state()


def test_another_method_s_failure_or_a_broken_record_is_not_taken_for_this_one_s(tmp_path):
    (run,) = plan_of(tmp_path, ["a"]).runs
    replace(run, run_id="other").record_failure("x")
    assert run.failure() is None
    (run.folder / FAILURE_FILE).write_text(json.dumps([1]))
    assert run.failure() == "its record of a failure cannot be read"


def composed(path, rows):
    planned = plan(replace(read_table(path), rows=tuple(rows)))
    assert len(planned.of_rows) == len(rows)
    return planned


def fresh_rows():
    """Of each shipped table the first row, and those that no table before has in the same words."""
    seen, found = set(), []
    for path in FILES:
        rows = read_table(path).rows
        new = [row for place, row in enumerate(rows) if not place or row.overrides not in seen]
        seen |= {row.overrides for row in rows}
        found.append(pytest.param(path, new, id=path.stem))
    return found


@pytest.mark.parametrize(("path", "rows"), fresh_rows())
def test_shipped_rows_compose(path, rows):
    planned = composed(path, rows)
    assert all(isinstance(row, Row) for row in rows)
    # Every column is a metric of the row's protocol.
    topk = {f"scene_top{k}" for _, k in planned.protocols.values()}
    shown = {c.metric.split("/")[1] for c in planned.table.columns if "scene_top" in c.metric}
    assert shown <= topk


TINY = (
    "backbone.embed_dim=24",
    "backbone.depth=2",
    "backbone.num_heads=2",
    "backbone.weights=null",
)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Overrides for what the user has to fetch."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("given")
    config = transformers.SegformerConfig(
        depths=[1] * 4, hidden_sizes=[8] * 4, decoder_hidden_size=8, num_labels=19
    )
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    save_untrained(compose(*TINY_SYNTHETIC, f"paths.datasets={folder}"), folder / "best.ckpt")
    return {"masks=segformer": f"masks.model={folder}", "transfer": folder / "best.ckpt"}


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_row_composes_and_builds_its_model_and_data(path, given):
    table = read_table(path)
    composed(path, table.rows)
    for row in table.rows:
        words = [*table.base, *row.overrides, *TINY, "scene_teacher=none"]
        if "masks=segformer" in row.overrides:
            words.append(given["masks=segformer"])
        if path.stem == "table5":
            words.append(f"model.source={given['transfer']}")
        module, data = run_parts(compose(*words))
        assert module.losses
        assert data.train
