"""The workspace and the report of a W&B project, built of what runs log there.

Both are built without a server; only saving them needs one.
"""

from __future__ import annotations

import os
from typing import Any

import wandb
from wandb_workspaces import expr
from wandb_workspaces import workspaces as ws
from wandb_workspaces.reports import v2 as wr

from devias.errors import DeviasError
from devias.reporting.loggers.patient import NoAnswerError, PatientCaller

STEP = "trainer/global_step"
PATIENCE = 60.0
"""Seconds that the server may take."""

HEADLINE = {
    "Harmonic mean": ("harmonic_mean",),
    "Action, top 1": ("seen/action_top1", "unseen/action_top1"),
    "Scene, top 1": ("seen/scene_top1", "unseen/scene_top1"),
    "Scene, top 5": ("seen/scene_top5", "unseen/scene_top5"),
}
"""Bar charts of results by title."""

DISENTANGLEMENT = {
    "Answers that follow the scene (lower is better)": (
        "unseen/scene_bias",
        "unseen/wrong_pair_seen",
        "unseen/wrong_pair_frequent",
    ),
    "Seen minus unseen": ("gap/action_top1", "gap/scene_top1"),
    "Both roles on one slot": ("seen/slot_collision", "unseen/slot_collision"),
    "Masks, IoU": ("seen/mask_iou", "unseen/mask_iou"),
}

COLUMNS = (
    "harmonic_mean",
    "seen/action_top1",
    "unseen/action_top1",
    "seen/scene_top1",
    "unseen/scene_top1",
    "unseen/scene_bias",
)
"""Results in the table of runs."""

ACCURACY_CURVES = {
    "Validation: harmonic mean": ("val/harmonic_mean",),
    "Validation: action, top 1": ("val_seen/action_top1", "val_unseen/action_top1"),
    "Validation: scene, top 1": ("val_seen/scene_top1", "val_unseen/scene_top1"),
}
"""Curves of the synthetic benchmark's validation; others have some of them."""

DISENTANGLEMENT_CURVES = {
    "Validation: scene bias": ("val_unseen/scene_bias",),
    "Validation: both roles on one slot": ("val_seen/slot_collision", "val_unseen/slot_collision"),
}

FIGURES = ("figures/clips", "figures/answers_test_unseen")

TERMS = {"Loss terms": "loss/.*", "Weights of the terms": "weight/.*", "Learning rates": "lr-.*"}
"""Regular expressions of what is drawn by title."""

SYSTEM = {
    "GPU, %": r"system/gpu\.\d+\.gpu$",
    "GPU memory, %": r"system/gpu\.\d+\.memoryAllocated$",
    "Processor, %": r"system/cpu$",
    "Memory, %": r"system/memory_percent$",
}

WITHOUT = "output=FILE.json writes the specification without a server"

Panels = list[Any]


class DashboardError(DeviasError, RuntimeError):
    """The server cannot be reached, or refuses; says why."""


def sections() -> dict[str, Panels]:
    """The panels by the title of their section."""
    return {
        "Accuracy": [*_bars(HEADLINE), *_curves(ACCURACY_CURVES)],
        "Disentanglement": [
            *_bars(DISENTANGLEMENT),
            *_curves(DISENTANGLEMENT_CURVES),
            wr.MediaBrowser(title="Clips and answers", media_keys=[*FIGURES], num_columns=2),
        ],
        "Loss terms": _matching(TERMS, STEP),
        "System": _matching(SYSTEM, "RelativeTime(Process)"),
    }


def _bars(results: dict[str, tuple[str, ...]]) -> Panels:
    return [
        wr.BarPlot(
            title=title,
            metrics=[wr.SummaryMetric(f"result/{name}") for name in names],
            groupby="Group",
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
        )
        for title, names in results.items()
    ]


def _curves(curves: dict[str, tuple[str, ...]]) -> Panels:
    return [wr.LinePlot(title=title, x=STEP, y=[*names]) for title, names in curves.items()]


def _matching(patterns: dict[str, str], x: str) -> Panels:
    return [
        wr.LinePlot(title=title, x=x, metric_regex=pattern) for title, pattern in patterns.items()
    ]


def build_workspace(entity: str, project: str, name: str, runs: str | None = None) -> ws.Workspace:
    """The project's workspace: sections of panels beside the table of runs, by group.

    Args:
        entity: the user or team.
        project: of W&B.
        name: of the workspace.
        runs: what the names of the runs contain; `None`: all runs.
    """
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            ws.Section(name=title, panels=panels, is_open=title != "System")
            for title, panels in sections().items()
        ],
        runset_settings=ws.RunsetSettings(
            query=runs or "",
            groupby=[expr.Metric("Group")],
            order=[expr.Ordering(expr.Summary(f"result/{COLUMNS[0]}"), ascending=False)],
            pinned_columns=[f"summary:result/{name}" for name in COLUMNS],
        ),
    )


def build_report(entity: str, project: str, name: str, runs: str | None = None) -> wr.Report:
    """A report with the same sections, and the table of runs with what they differ in.

    Args:
        entity: the user or team.
        project: of W&B.
        name: its title.
        runs: as in `build_workspace`.
    """
    blocks: list[Any] = [wr.TableOfContents()]
    for title, panels in {**sections(), "Runs": [wr.RunComparer(diff_only="split")]}.items():
        # Of its own project: another one is looked up at the server.
        runset = wr.Runset(
            query=runs or "",
            groupby=["Group"],
            order=[wr.OrderBy(wr.SummaryMetric(f"result/{COLUMNS[0]}"), ascending=False)],
            pinned_columns=["run:displayName", *(f"summary:result/{c}" for c in COLUMNS)],
        )
        hidden = title != "Runs"
        blocks += [
            wr.H1(title),
            wr.PanelGrid(runsets=[runset], panels=panels, hide_run_sets=hidden),
        ]
    return wr.Report(entity=entity, project=project, title=name, blocks=blocks, width="fluid")


def specification(workspace: ws.Workspace, report: wr.Report) -> dict[str, Any]:
    """Both as W&B's server would be sent them, of plain values."""
    return {
        name: thing._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
        for name, thing in (("workspace", workspace), ("report", report))
    }


def save(entity: str | None, project: str, name: str, runs: str | None = None) -> list[str]:
    """Save both as new ones to the server → their addresses.

    Args:
        entity: `None`: the one that the key belongs to.
        project: as in `build_workspace`.
        name: of both.
        runs: as in `build_workspace`.

    Raises:
        DashboardError: there is no key, the server does not answer or refuses.
    """
    os.environ["WANDB_SILENT"] = "true"  # a silent client does not ask for a login either

    def save_both() -> list[str]:
        owner = entity or str(wandb.Api().default_entity)
        workspace = build_workspace(owner, project, name, runs)
        report = build_report(owner, project, name, runs)
        workspace.save()
        report.save()
        return [workspace.url, report.url]

    caller = PatientCaller("dashboard")
    try:
        return caller.call(save_both, PATIENCE)
    except NoAnswerError as error:
        raise DashboardError(f"W&B's server gives {error}; {WITHOUT}") from None
    except Exception as error:  # whatever its client raises
        text = " ".join(str(error).split()).rstrip(".")
        raise DashboardError(f"saving to W&B failed: {text}; {WITHOUT}") from error
    finally:
        caller.end()
