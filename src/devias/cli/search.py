"""Search for better settings, by validation alone: no test set is read.

    devias search space=synthetic trials=20
    devias search space=ucf101 trials=50 pruner=hyperband data.root=/data/ucf101 trainer=gpus
    devias search space=my_space.yaml name=wide sampler=random model=two_token

A space is a file that says which overrides of `devias train` are varied and in what range, as those
of `conf/hparams_search`. Each trial is a run of its own in `paths.runs`/search/<name>/trial-<N>;
its value is the best `metric` of its epochs, and one that is not promising after an epoch ends
early. Words other than those of `conf/search.yaml` are overrides of all trials.

The same command goes on with a search that was stopped or killed, with its trials where they stood;
started several times, perhaps on several machines that share the folder, it shares the trials out
(`CUDA_VISIBLE_DEVICES` gives each its own GPU). A trial that fails does not end the others. At the
end the trials are listed, drawn and written to `trials.md`, `trials.csv` and `search.png`, with the
command that trains the best settings and tests.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from devias.cli.changes import is_own
from devias.cli.command import command
from devias.config.compose import compose
from devias.config.messages import explain_words
from devias.config.overrides import is_override, normalize_overrides, quoted
from devias.errors import ConfigError

if TYPE_CHECKING:
    from devias.sweeps.search import Search, SearchSettings
    from devias.sweeps.space import Space

OWN_KEYS = (
    "direction", "metric", "name", "overrides", "pruner", "restarts", "sampler", "sampler_seed",
    "space", "startup_trials", "storage", "trials", "warmup_epochs",
)  # fmt: skip


def as_settings(words: Sequence[str]) -> list[str]:
    """Words about training as a list of their own."""
    others = [word for word in words if is_override(word) and not is_own(word, OWN_KEYS)]
    own = [word for word in words if word not in others]
    return [*own, f"overrides=[{','.join(map(quoted, others))}]"] if others else own


@command("search", rewrite=as_settings)
def main(config: DictConfig) -> None:
    """Search, and show what was found."""
    settings = settings_of(config)
    from devias.sweeps.search import Search

    search = Search(settings)
    search.run()
    show(search)


def settings_of(config: DictConfig) -> SearchSettings:
    """What `conf/search.yaml` and the command line ask for, looked over before anything starts.

    Raises:
        ConfigError: a setting is wrong, or no run can be composed with the space's overrides.
        MissingError: the runs lack files.
        SpaceError: as `devias.sweeps.space.read_space`.
    """
    from devias.sweeps.space import read_space
    from devias.sweeps.study import DIRECTIONS, PRUNERS, SAMPLERS

    for key, known in (("sampler", SAMPLERS), ("pruner", PRUNERS), ("direction", DIRECTIONS)):
        if config[key] not in known:
            raise ConfigError(f"{key} must be one of {', '.join(known)}, not {config[key]!r}")
    for key, least in (("trials", 0), ("startup_trials", 0), ("warmup_epochs", 0), ("restarts", 0)):
        if not isinstance(config[key], int) or config[key] < least:
            raise ConfigError(f"{key} must be a whole number, {least} or more, not {config[key]}")
    space = read_space(str(config.space))
    if config.sampler == "grid":
        next(space.grid())  # raises where there is none
    given = OmegaConf.to_container(config, resolve=False)
    assert isinstance(given, dict)
    overrides = tuple(normalize_overrides(given["overrides"]))
    first = composed(space, overrides)
    return _settings(config, space, overrides, first)


def _settings(
    config: DictConfig, space: Space, overrides: tuple[str, ...], first: DictConfig
) -> SearchSettings:
    from devias.sweeps.search import SearchSettings
    from devias.sweeps.study import PrunerSettings

    name = str(config.name or space.name)
    if name != Path(name).name:
        raise ConfigError(f"name={name} must be a plain name")
    epochs = first.trainer.max_epochs
    return SearchSettings(
        name=name,
        folder=Path(first.paths.runs).absolute() / "search" / name,
        space=space,
        overrides=overrides,
        method=f"{first.names.run_id}-s{first.seed}",
        pruner=PrunerSettings(
            config.pruner, config.startup_trials, config.warmup_epochs, epochs
        ),
        **{
            key: config[key]
            for key in (
                "direction", "metric", "restarts", "sampler", "sampler_seed", "startup_trials",
                "storage", "trials",
            )
        },
    )  # fmt: skip


def composed(space: Space, overrides: Sequence[str]) -> DictConfig:
    """The configuration of a first trial; every end of a range and every choice is tried.

    Raises:
        ConfigError: an override names no key or option.
        MissingError: files are missing.
    """
    from devias.config.shipped import check_keys
    from devias.training.preflight import preflight

    configs = []
    for values in space.corners():
        words = [*space.base, *space.trials, *overrides, *space.overrides(values), "test=false"]
        try:
            configs.append(compose(*words, "names.model=trial", "paths.run_dir=."))
        except HydraException as error:
            raise ConfigError(explain_words(error, "train", words)) from error
        check_keys(configs[-1])
    preflight(configs[0])
    return configs[0]


def show(search: Search) -> None:
    """Print the trials and write them down, with the command that trains the best settings."""
    from devias.files import write_text
    from devias.reporting.plots.search import search_figure
    from devias.reporting.plots.style import save_figure
    from devias.sweeps.search import best_command

    results, folder = search.results(), search.settings.folder
    results.print()
    text = results.to_markdown()
    if best := results.best:
        command = shlex.join(best_command(search.settings, best.parameters))
        text += f"\nTrain the best settings, trial {best.number}, and test:\n\n    {command}\n"
        print(f"Train the best settings, trial {best.number}, and test:\n\n    {command}\n")
    write_text(folder / "trials.md", text)
    write_text(folder / "trials.csv", results.to_csv())
    if any(trial.value is not None for trial in results.trials):
        save_figure(search_figure(results), folder / "search.png")
    print("Everything is in", folder)


if __name__ == "__main__":
    main()
