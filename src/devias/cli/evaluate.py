"""Test a trained model again, perhaps on other data or views.

    python -m devias.evaluate checkpoint=runs/…/checkpoints/best.ckpt
    python -m devias.evaluate checkpoint=… data.root=/ucf101 data.num_clips=5 '~callbacks.figures'

The configuration is read from the checkpoint and changed by all other words, written as for
training. It is data: what is not of this package is built only with `trust=true`. Writes figures
and `result.json` to `output_dir`, by default `evaluation/` beside the checkpoint's folder.
"""

from __future__ import annotations

import logging
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig, OmegaConf

from devias.config import config_dir, register_resolvers
from devias.errors import exit_on_user_error
from devias.overrides import gather_overrides

if TYPE_CHECKING:
    from devias.reporting.results import RunResult
    from devias.training.run import Run

log = logging.getLogger(__name__)

register_resolvers()


OWN = ("checkpoint", "output_dir", "overrides", "trust")


def main() -> None:
    """Rebuild the run the checkpoint came from and test it."""
    with exit_on_user_error():
        sys.argv[1:] = gather_overrides(sys.argv[1:], OWN)
    _main()


@hydra.main(version_base="1.3", config_path=config_dir(), config_name="evaluate")
def _main(config: DictConfig) -> None:
    checkpoint = Path(config.checkpoint)
    with exit_on_user_error():
        evaluate_checkpoint(checkpoint, list(config.overrides), config.output_dir, config.trust)


def evaluate_checkpoint(
    checkpoint: Path,
    overrides: Sequence[str] = (),
    output_dir: Path | str | None = None,
    trust: bool = False,
) -> RunResult:
    """Rebuild the run a checkpoint came from and test it; see the module's text."""
    from devias.training.checkpoints import stored_config
    from devias.training.run import build_run

    config = stored_config(checkpoint, overrides, trust)
    output = output_dir or checkpoint.parent.parent / "evaluation"
    config.paths.run_dir = str(Path(output).absolute())
    # The checkpoint holds all weights; those the run started from need not be there any more.
    config.backbone.weights = config.weights = None
    with closing(build_run(config)) as run:
        run.folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, run.folder / "config.yaml")
        return evaluate(run, checkpoint)


def evaluate(
    run: Run,
    checkpoint: Path | None,
    seconds: dict[str, float] | None = None,
    notes: Sequence[str] = (),
) -> RunResult:
    """Test a run's model with the weights of a checkpoint (`None`: as they are), write the result.

    `trainer.fast_dev_run` leaves no result: it is no test.

    Args:
        seconds: what earlier phases of the run took.
        notes: as in `RunResult`.
    """
    from devias.reporting.results import RESULT_FILE, RunResult, describe_hardware, git_commit
    from devias.reporting.tables import results_table
    from devias.training.trainer import part_tested, trainer_errors

    protocol = run.data.protocol
    notes = [*notes, *part_tested(run.trainer)]
    start = time.monotonic()
    with trainer_errors():
        run.trainer.test(
            run.module,
            datamodule=run.data,
            ckpt_path=checkpoint,
            weights_only=True,
            verbose=False,
        )
    result = RunResult(
        **run.config.names,
        seed=run.config.seed,
        commit=git_commit(),
        protocol=protocol.name,
        scene_topk=protocol.scene_topk,
        absent=protocol.absent,
        metrics=protocol.summarize(run.module.results),
        seconds={**(seconds or {}), "test": time.monotonic() - start},
        hardware=describe_hardware(),
        command=shlex.join(["python", "-m", *sys.orig_argv[2:]]),
        notes=notes,
    )
    if run.trainer.is_global_zero and not run.trainer.fast_dev_run:  # type: ignore[attr-defined]
        for note in notes:
            log.warning("%s", note)
        result.save(run.folder / RESULT_FILE)
        results_table([result]).print()
    return result


if __name__ == "__main__":
    main()
