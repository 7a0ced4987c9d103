import json
import re

import pytest
from wandb_workspaces import workspaces as ws
from wandb_workspaces.reports import v2 as wr
from wandb_workspaces.reports.v2 import internal as report_models
from wandb_workspaces.workspaces import internal as workspace_models

from devias.reporting.wandb_workspace import (
    SYSTEM,
    build_report,
    build_workspace,
    sections,
    specification,
)
from offline_wandb import read_offline_runs

NAMES = ["Accuracy", "Disentanglement", "Loss terms", "System"]


@pytest.fixture(scope="module")
def built():
    words = ("me", "devias", "Title", "ucf101-")
    return specification(build_workspace(*words), build_report(*words))


def values(tree, key):
    """All values of a key, wherever they stand in it; the items of those that are lists."""
    if isinstance(tree, list):
        return [value for part in tree for value in values(part, key)]
    if not isinstance(tree, dict):
        return []
    found = tree.get(key, [])
    return [*(found if isinstance(found, list) else [found]), *values([*tree.values()], key)]


def test_the_workspace_is_valid_and_has_every_section(built):
    view = workspace_models.View.model_validate(built["workspace"])
    workspace = ws.Workspace._from_model(view)
    assert [section.name for section in workspace.sections] == NAMES
    assert all(section.panels for section in workspace.sections)
    assert workspace.runset_settings.query == "ucf101-"
    assert "summary:result/harmonic_mean" in workspace.runset_settings.pinned_columns
    assert [str(key.name) for key in workspace.runset_settings.groupby] == ["Group"]
    assert (
        workspace._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)["spec"]
        == built["workspace"]["spec"]
    )


def test_the_report_is_valid_and_has_the_table_of_runs(built):
    content = json.loads(json.dumps(built["report"]))
    content["spec"] = json.dumps(content["spec"])  # as the server sends it
    report = wr.Report._from_model(report_models.ReportViewspec.model_validate(content))
    titles = [block.text for block in report.blocks if isinstance(block, wr.H1)]
    assert titles == [*NAMES, "Runs"]
    grids = [block for block in report.blocks if isinstance(block, wr.PanelGrid)]
    assert [grid.hide_run_sets for grid in grids] == [True] * 4 + [False]
    assert "summary:result/unseen/scene_bias" in grids[-1].runsets[0].pinned_columns
    assert {grid.runsets[0].query for grid in grids} == {"ucf101-"}


def test_what_is_drawn_is_what_runs_log(built, offline_run):
    (run,) = read_offline_runs(offline_run)
    logged = {*run.history, *(f"summary_metrics.{key}" for key in run.summary)}
    drawn = {*values(built, "metrics"), *values(built, "xAxis")}
    drawn -= {"_step", "_runtime", "_absolute_runtime"}  # W&B's own
    assert "summary_metrics.result/harmonic_mean" in drawn
    assert "trainer/global_step" in drawn
    assert drawn <= logged
    assert {f"{key}/_type" for key in values(built, "mediaKeys")} <= run.history.keys()
    for pattern in {*values(built, "metricRegex")} - {*SYSTEM.values()}:
        assert any(re.match(pattern, key) for key in run.history), pattern


def test_every_panel_has_a_title_and_one_section():
    titles = [panel.title for panels in sections().values() for panel in panels]
    assert len({*titles}) == len(titles) > 15
    assert all(titles)
