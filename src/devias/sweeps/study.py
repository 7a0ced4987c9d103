"""What a search takes of Optuna: storage, samplers and pruners."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from devias.errors import ConfigError, DeviasError
from devias.sweeps.space import Parameter, Space, Value

try:
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage
except ImportError as error:
    raise DeviasError("devias search needs Optuna: pip install 'devias[search]'") from error

optuna.logging.set_verbosity(optuna.logging.WARNING)

SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("median", "hyperband", "none")
DIRECTIONS = ("maximize", "minimize")


@dataclass(frozen=True)
class PrunerSettings:
    """Which trials are given up early."""

    name: str = "median"
    """One of `PRUNERS`."""
    startup_trials: int = 5
    """Whole trials before the median counts."""
    warmup_epochs: int = 1
    """Epochs of a trial in which it is not pruned."""
    max_epochs: int | None = None
    """Of a whole trial."""


def open_study(
    storage: str, name: str, direction: str, pruner: PrunerSettings, create: bool = False
) -> optuna.Study:
    """The study of a search, begun if need be.

    Args:
        storage: URL of a database, or path of a journal file.
        name: of the study.
        direction: one of `DIRECTIONS`.
        pruner: which trials are given up early.
        create: begin it where it is not there.

    Raises:
        ConfigError: the storage cannot be opened.
    """
    where, early = open_storage(storage), make_pruner(pruner)
    if not create:
        return optuna.load_study(study_name=name, storage=where, pruner=early)
    toward = getattr(optuna.study.StudyDirection, direction.upper())
    return optuna.create_study(
        study_name=name, storage=where, pruner=early, direction=toward, load_if_exists=True
    )


def open_storage(storage: str) -> optuna.storages.BaseStorage:
    """Open what several processes may write to.

    Raises:
        ConfigError: it cannot be opened.
    """
    if "://" not in storage:
        Path(storage).parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(storage))
    # Another process may be writing to the one file of a database.
    wait = {"connect_args": {"timeout": 60}} if storage.startswith("sqlite") else None
    try:
        return optuna.storages.RDBStorage(storage, engine_kwargs=wait)
    except Exception as error:  # of SQLAlchemy or of the driver
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"storage={storage} cannot be opened: {reason}") from error


def make_pruner(settings: PrunerSettings) -> optuna.pruners.BasePruner:
    """The pruner of that name."""
    match settings.name:
        case "median":
            # Optuna counts from the step that is given, not from the one behind it.
            first = settings.warmup_epochs + 1
            return optuna.pruners.MedianPruner(settings.startup_trials, first)
        case "hyperband":
            first = max(settings.warmup_epochs, 1)
            return optuna.pruners.HyperbandPruner(first, settings.max_epochs or "auto")
    return optuna.pruners.NopPruner()


def make_sampler(
    name: str, seed: int, startup_trials: int, number: int
) -> optuna.samplers.BaseSampler:
    """The sampler of that name, for the trial of a number.

    What it draws depends on seed, number and the trials before, not on which worker asks, nor on
    how often a search was begun again.
    """
    own = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=own, n_startup_trials=startup_trials)
    return optuna.samplers.RandomSampler(seed=own)  # a grid's trials have their values


def suggest(trial: optuna.Trial, space: Space) -> dict[str, Value]:
    """A trial's values by key: those it has, else new ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where a step does not divide a range
        return {p.key: p.tidy(_suggest(trial, p)) for p in space.parameters}


def _suggest(trial: optuna.Trial, parameter: Parameter) -> Value:
    key, low, high = parameter.key, parameter.low, parameter.high
    match parameter.kind:
        case "choice":
            return trial.suggest_categorical(key, parameter.choices)
        case "int":
            step = int(parameter.step or 1)
            return trial.suggest_int(key, int(low), int(high), step=step, log=parameter.log)
    return trial.suggest_float(key, low, high, step=parameter.step, log=parameter.log)


def importances(study: optuna.Study) -> dict[str, float]:
    """How much of the differences in value each parameter accounts for; empty where unknown."""
    completed = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len({trial.value for trial in completed}) < 4:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.importance.get_param_importances(study)
