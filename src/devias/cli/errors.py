"""The mistakes that a model is most sure of, as a table and with their frames.

    devias errors RUN
    devias errors RUN/evaluations/1 task=scene set=unseen count=30
    devias errors RUN data.root=/elsewhere

RUN is the folder of a run or of an evaluation, with `predictions.parquet` and `config.yaml`. Words
that are not of this command change that configuration. Writes `errors_<task>.png`, `.md` and `.csv`
to `output_dir`, by default RUN.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from devias.cli.changes import as_additions, as_changes
from devias.cli.command import command, folder_as
from devias.config.overrides import normalize_overrides

OWN_KEYS = ("count", "hydra", "output_dir", "overrides", "run", "set", "task", "trust")


def as_words(words: Sequence[str]) -> list[str]:
    """`RUN` as `run=RUN`, and changes as Hydra takes them."""
    return as_additions(folder_as("run")(words), OWN_KEYS)


@command("errors", rewrite=as_words)
def main(config: DictConfig) -> None:
    """Show the mistakes."""
    changes = [*config.overrides, *as_changes(HydraConfig.get().overrides.task, OWN_KEYS)]
    show_errors(config, normalize_overrides(changes))


def show_errors(config: DictConfig, changes: Sequence[str] = ()) -> None:
    """Write what `conf/errors.yaml` describes, and print the table.

    Args:
        config: of the command.
        changes: of the run's configuration.

    Raises:
        ConfigError: there is no such set or task, or a change cannot be.
        FileNotFoundError, PredictionsError: the folder does not hold what is needed.
        VideoError: a video cannot be read.
    """
    from devias.files import write_text
    from devias.reporting.mistakes import TITLES, confident_mistakes, mistake_samples
    from devias.reporting.plots.clips import clip_figure
    from devias.reporting.plots.style import save_figure
    from devias.reporting.predictions import PREDICTIONS_FILE, load_predictions
    from devias.reporting.text_tables import csv_table, markdown_table
    from devias.training.data import stored_data

    run = Path(config.run)
    protocol, sets = load_predictions(run / PREDICTIONS_FILE)
    mistakes = confident_mistakes(protocol, sets, config.task, config.count, config.set)
    if not mistakes:
        print("There is no mistake.")
        return
    samples = mistake_samples(stored_data(run, changes, config.trust), mistakes)
    output = Path(config.output_dir or run) / f"errors_{config.task}"
    rows = [mistake.row for mistake in mistakes]
    markdown = markdown_table(TITLES, rows, names=len(TITLES) - 2)
    print(markdown)
    write_text(output.with_suffix(".md"), markdown)
    write_text(output.with_suffix(".csv"), csv_table(TITLES, rows))
    title = f"The surest wrong answers to the {config.task}"
    save_figure(clip_figure({"": samples}, title), output.with_suffix(".png"))
    print(f"Table and frames are in {output}.md, .csv and .png")


if __name__ == "__main__":
    main()
