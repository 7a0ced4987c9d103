"""Test a trained model again, perhaps on other data or views.

    devias evaluate checkpoint=RUN/checkpoints/best.ckpt
    devias evaluate checkpoint=RUN/checkpoints/best.ckpt data.root=/ucf101 protocol.num_clips=5
    devias evaluate checkpoint=RUN/checkpoints/best.ckpt --multirun protocol.num_crops=1,3

The configuration is read from the checkpoint; all words but `checkpoint` and `output_dir` change
it, as overrides of `devias train` would. It is data: what is not of this package is built only with
`trust=true`. `protocol.on_error=skip` leaves out videos that cannot be read.

Prints the table's row, and writes figures, `predictions.parquet` (a row a video) and `result.json`
(metrics, their 95 % intervals and numbers of videos) to `output_dir`, by default RUN/evaluations/1
or the next number that is free.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from devias.cli.changes import as_additions, as_changes
from devias.cli.command import command, command_line
from devias.config.overrides import normalize_overrides
from devias.errors import ConfigError

if TYPE_CHECKING:
    from devias.reporting.results import RunResult
    from devias.training.run import Run

log = logging.getLogger(__name__)

CONFIG_FILE = "config.yaml"


@command("evaluate", rewrite=as_additions)
def main(config: DictConfig) -> None:
    """Test the checkpoint."""
    changes = [*config.overrides, *as_changes(HydraConfig.get().overrides.task)]
    evaluate_checkpoint(config.checkpoint, changes, config.output_dir, config.trust)


def evaluate_checkpoint(
    checkpoint: Path | str,
    overrides: Sequence[str] = (),
    output_dir: Path | str | None = None,
    trust: bool = False,
) -> RunResult:
    """Rebuild the run a checkpoint came from and test it.

    Args:
        checkpoint: of a run of this package.
        overrides: of the configuration in it, groups as well.
        output_dir: a folder without a result; `None` makes one of its own below the run's.
        trust: build whatever the configuration names; see `devias.config.stored`.

    Raises:
        CheckpointError: it is not such a checkpoint.
        ConfigError: an override names no key, or the folder holds a result.
    """
    from devias.training.checkpoints import stored_config
    from devias.training.preflight import preflight
    from devias.training.run import build_run
    from devias.training.trained import forget_cluster, forget_weights

    checkpoint = Path(checkpoint).absolute()
    changes = normalize_overrides(overrides)
    config = stored_config(checkpoint, changes, trust)
    forget_weights(config)
    forget_cluster(config, changes)
    config.train, config.test = False, True
    preflight(config)
    folder = claim_folder(checkpoint.parent.parent / "evaluations", output_dir)
    config.paths.run_dir = str(folder)
    try:
        with closing(build_run(config)) as run:
            if run.trainer.is_global_zero:
                OmegaConf.save(config, folder / CONFIG_FILE)
            return evaluate(
                run, checkpoint, evaluation={"checkpoint": str(checkpoint), "changes": changes}
            )
    except BaseException:
        give_back(folder, whole=output_dir is None)
        raise


def evaluate(
    run: Run,
    checkpoint: Path | None,
    seconds: dict[str, float] | None = None,
    notes: Sequence[str] = (),
    evaluation: dict[str, Any] | None = None,
) -> RunResult:
    """Test a run's model with the weights of a checkpoint (`None`: as they are), write the results.

    `trainer.fast_dev_run` leaves no result: it is no test.

    Args:
        run: what to test.
        checkpoint: of the same model.
        seconds: what earlier phases of the run took.
        notes: as in `RunResult`.
        evaluation: as in `RunResult`.

    Raises:
        CheckpointError: the checkpoint is of another model.
    """
    from devias.evaluation.intervals import intervals
    from devias.reporting.predictions import PREDICTIONS_FILE, save_predictions
    from devias.reporting.results import RESULT_FILE, paper_rows
    from devias.reporting.tables import results_table
    from devias.reporting.tracking import track_result
    from devias.training.checkpoints import reading_weights
    from devias.training.trainer import part_tested, trainer_errors

    notes = [*notes, *part_tested(run.trainer)]
    start = time.monotonic()
    with trainer_errors(), reading_weights(checkpoint):
        run.trainer.test(
            run.module,
            datamodule=run.data,
            ckpt_path=checkpoint,
            weights_only=True,
            verbose=False,
        )
    seconds = {**(seconds or {}), "test": time.monotonic() - start}
    result = _result(run, seconds, notes, evaluation)
    protocol = run.data.protocol
    if run.trainer.is_global_zero and not run.trainer.fast_dev_run:  # type: ignore[attr-defined]
        for note in notes:
            log.warning("%s", note)
        found = intervals(protocol, run.module.videos)
        result.intervals = {name: list(interval) for name, interval in found.items()}
        save_predictions(run.folder / PREDICTIONS_FILE, run.data, run.module.predictions)
        result.save(run.folder / RESULT_FILE)
        track_result(run.trainer.loggers, result, run.folder, checkpoint)
        results_table([result, *paper_rows(result, protocol.paper)]).print()
    return result


def _result(
    run: Run, seconds: dict[str, float], notes: list[str], evaluation: dict[str, Any] | None
) -> RunResult:
    """What a test came to, but for the intervals, which take a while."""
    from devias.evaluation.intervals import counts
    from devias.reporting.predictions import skipped_videos
    from devias.reporting.results import RunResult, describe_hardware, git_commit

    protocol = run.data.protocol
    return RunResult(
        **run.config.names,
        seed=run.config.seed,
        commit=git_commit(),
        protocol=protocol.name,
        scene_topk=protocol.scene_topk,
        absent=protocol.absent,
        skipped=skipped_videos(run.module.predictions),
        metrics=protocol.summarize(run.module.results),
        counts=counts(protocol, run.module.videos),
        lower_is_better=protocol.lower_is_better,
        seconds=seconds,
        hardware=describe_hardware(),
        notes=notes,
        command=command_line(),
        evaluation=evaluation,
    )


def give_back(folder: Path, whole: bool) -> None:
    """Leave nothing of an evaluation that failed; one with a result stays.

    Args:
        folder: as `claim_folder` returned it.
        whole: there is nothing of others in it.
    """
    from lightning.pytorch.utilities import rank_zero_only

    from devias.reporting.results import RESULT_FILE

    if getattr(rank_zero_only, "rank", 0) != 0 or (folder / RESULT_FILE).exists():
        return
    if whole:
        shutil.rmtree(folder, ignore_errors=True)
        return
    (folder / CONFIG_FILE).unlink(missing_ok=True)
    with suppress(OSError):  # there is more in it
        folder.rmdir()


def claim_folder(evaluations: Path, output_dir: Path | str | None) -> Path:
    """A folder for one result: `output_dir`, or the next number that is free in `evaluations`.

    Of several processes that ask at once each gets another. Ranks but the first write nothing, and
    claim nothing.

    Raises:
        ConfigError: `output_dir` is an earlier run's or evaluation's.
    """
    from lightning.pytorch.utilities import rank_zero_only

    wanted = (
        [Path(output_dir).absolute()] if output_dir else (evaluations / str(n) for n in count(1))
    )
    for folder in wanted:
        if getattr(rank_zero_only, "rank", 0) != 0:
            return folder
        with suppress(FileExistsError):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / CONFIG_FILE).touch(exist_ok=False)
            return folder
    raise ConfigError(
        f"{output_dir} is an earlier run's or evaluation's: choose another output_dir"
    )
