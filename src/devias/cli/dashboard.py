"""A workspace and a report for the runs of a W&B project.

    devias dashboard entity=me project=devias
    devias dashboard project=devias runs=ucf101-
    devias dashboard output=dashboard.json

Sections: accuracy, disentanglement, loss terms and weights, system; beside them the table of runs,
those of one method in one group. Saving needs a key (`wandb login`) and the server, which has to
hold runs already, uploaded or synced (`wandb sync`); each call saves a new workspace and a new
report, and prints their addresses. `output=FILE.json` needs neither: it writes what would be sent.
"""

from __future__ import annotations

import json
from pathlib import Path

from omegaconf import DictConfig

from devias.cli.command import command


@command("dashboard")
def main(config: DictConfig) -> None:
    """Save it, or write what would be saved."""
    make_dashboard(config)


def make_dashboard(config: DictConfig) -> None:
    """Do what `conf/dashboard.yaml` describes.

    Raises:
        ConfigError: the package is missing.
        DashboardError: there is no key, the server does not answer or refuses.
    """
    from devias.files import write_text
    from devias.reporting.loggers.tracker import need

    need("wandb_workspaces", "devias dashboard")
    from devias.reporting.wandb_workspace import (
        build_report,
        build_workspace,
        save,
        specification,
    )

    words = (config.project, config.name, config.runs)
    if config.output is None:
        for address in save(config.entity, *words):
            print(address)
        return
    owner = config.entity or ""
    built = specification(build_workspace(owner, *words), build_report(owner, *words))
    write_text(Path(config.output), json.dumps(built, indent=1) + "\n")
    print(f"The specification is in {config.output}")


if __name__ == "__main__":
    main()
