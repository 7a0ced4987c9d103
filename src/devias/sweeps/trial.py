"""A trial of a search as its own run sees it: what it reports, and when it is given up."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L

from devias.errors import ConfigError
from devias.files import write_text
from devias.sweeps.space import Value
from devias.training.ranks import end_with_parent

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

TRIAL_FILE = "trial.json"
PRUNED_AFTER = "pruned_after"
"""Of a trial that was given up: the epochs it has behind it."""


@dataclass(frozen=True)
class TrialFile:
    """What a trial's folder says of it."""

    number: int
    state: str
    """`running`, `complete`, `pruned` or `failed`."""
    parameters: dict[str, Value]
    metric: str
    direction: str
    value: float | None = None
    """The metric's best value over the epochs."""
    note: str = ""
    """Why it failed, or after which epoch it was pruned."""
    study: str = ""
    storage: str = ""
    pruner: dict[str, Any] = field(default_factory=dict)
    """As `devias.sweeps.study.PrunerSettings`."""

    def save(self, folder: Path) -> None:
        """Write it into the trial's folder."""
        write_text(folder / TRIAL_FILE, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> TrialFile:
        """Read it from there."""
        return cls(**json.loads((folder / TRIAL_FILE).read_text(encoding="utf-8")))


class ReportTrial(L.Callback):
    """Reports the metric at the end of every epoch with validation; stops what is not promising.

    The run ends with the program that searches: another call of that takes it up again.

    Args:
        folder: of the trial's run, in which `trial.json` says what it is part of.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._validated = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Find the trial; where nothing is trained, nothing is reported."""
        if stage != "fit" or not trainer.is_global_zero:
            return
        end_with_parent()
        self.file = TrialFile.load(self.folder)
        self._trial = open_trial(self.file)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The metric has a new value."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report, and stop on all ranks or none.

        Raises:
            ConfigError: the metric is not logged; names those that are.
        """
        if not self._validated:
            return
        self._validated = False
        stop = trainer.is_global_zero and self._report(trainer)
        if trainer.strategy.broadcast(stop):
            trainer.should_stop = True

    def _report(self, trainer: L.Trainer) -> bool:
        metric, epochs = self.file.metric, trainer.current_epoch + 1
        if metric not in trainer.callback_metrics:
            known = ", ".join(sorted(trainer.callback_metrics))
            raise ConfigError(f"metric={metric} is not logged by validation; there are {known}")
        value = float(trainer.callback_metrics[metric])
        known_steps = self._trial.study.get_trials(deepcopy=False)[self.file.number]
        if epochs not in known_steps.intermediate_values:  # else a repeated epoch, and the same
            self._trial.report(value, epochs)
        if not self._trial.should_prune():
            return False
        log.info("trial %d is pruned after %d epochs", self.file.number, epochs)
        self._trial.set_user_attr(PRUNED_AFTER, epochs)
        return True


def open_trial(file: TrialFile) -> optuna.Trial:
    """The trial of a folder in the storage of its search."""
    import optuna

    from devias.sweeps.study import PrunerSettings, open_study

    pruner = PrunerSettings(**file.pruner)
    study = open_study(file.storage, file.study, file.direction, pruner)
    return optuna.Trial(study, study.get_trials(deepcopy=False)[file.number]._trial_id)


def best_value(values: dict[int, float], direction: str) -> float | None:
    """The best of the values that are numbers; `None` where there is none."""
    numbers = [value for value in values.values() if math.isfinite(value)]
    if not numbers:
        return None
    return max(numbers) if direction == "maximize" else min(numbers)
