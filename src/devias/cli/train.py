"""Train and test one model; every key of the configuration is an override.

    devias train experiment=synthetic model=devias seed=0
    devias train experiment=ucf101 data.root=/data/ucf101 trainer=gpus
    devias train experiment=synthetic --multirun seed=0,1,2 model=devias,two_token
    devias train experiment=ucf101 --check      # only tell what is missing for it
    devias train experiment=ucf101 --cfg job    # only show the configuration

Leaves in `paths.run_dir`: `config.yaml`, `checkpoints/`, `metrics/` (CSV), `figures/` and
`result.json`. An interrupted run continues with the same settings, the same `paths.run_dir` and
`ckpt_path=last`; a folder that was moved meanwhile is given by its new place. `ckpt_path=auto` is
for what starts the same command again and again: it begins, continues or, where the run has its
result, ends at once. SIGTERM, SIGUSR1 and SIGUSR2 let the batch be finished, save and end the
program, with code 143 after SIGTERM, else 75: start the same command again.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from devias.cli.command import command
from devias.config.compose import finalize_config
from devias.errors import ConfigError

if TYPE_CHECKING:
    from devias.training.run import Run


log = logging.getLogger(__name__)


def check_as_override(words: Sequence[str]) -> list[str]:
    """`--check` as `check=true`."""
    return ["check=true" if word == "--check" else word for word in words]


@command("train", rewrite=check_as_override)
def main(config: DictConfig) -> None:
    """Fix what Hydra knows and the run needs, then run."""
    new = named_by_time(config)
    if new and config.ckpt_path in ("auto", "last"):
        raise ConfigError(
            f"ckpt_path={config.ckpt_path} is about the checkpoints of one folder: name it with "
            "paths.run_dir=…"
        )
    finalize_config(config)
    train(config, new)


def named_by_time(config: DictConfig) -> bool:
    """Whether the time is part of `paths.run_dir`, so that each run is meant to have its own."""
    paths = OmegaConf.to_container(config.paths, resolve=False)
    assert isinstance(paths, dict)
    return "${now:" in paths["run_dir"] and HydraConfig.get().mode != RunMode.MULTIRUN


def train(config: DictConfig, new_folder: bool = False) -> dict[str, float]:
    """Fit, test the selected weights and write the result → metrics as fractions.

    Args:
        config: composed by `devias.config.compose` or by the command.
        new_folder: where `paths.run_dir` exists, the run takes the next free name.
    """
    # Imported here so that `--help` and `--cfg job` answer at once.
    from devias.reporting.results import result_of
    from devias.training.checkpoints import resume_from
    from devias.training.data import count_classes
    from devias.training.preflight import preflight
    from devias.training.run import build_run
    from devias.training.run_folder import claimed_folder
    from devias.training.transfer import record_source

    preflight(config)
    if config.check:
        log.info("nothing is missing for this run")
        return {}
    count_classes(config)
    record_source(config)
    with claimed_folder(config, new_folder) as folder:
        done = config.ckpt_path == "auto" and result_of(folder, config.names.run_id, config.seed)
        if done:
            log.info("%s has its result already", folder)
            return done.metrics
        resume = resume_from(config)
        with closing(build_run(config)) as run:
            return _run(run, resume)


def _run(run: Run, resume: Path | None) -> dict[str, float]:
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from devias.cli.evaluate import evaluate
    from devias.training.checkpoints import final_checkpoint
    from devias.training.preemption import exit_code_of
    from devias.training.trainer import trainer_errors

    if run.trainer.is_global_zero:
        OmegaConf.save(run.config, run.folder / "config.yaml")
    seconds = {}
    if run.config.train:
        start = time.monotonic()
        try:
            with trainer_errors():
                run.trainer.fit(
                    run.module, datamodule=run.data, ckpt_path=resume, weights_only=True
                )
        except SIGTERMException:
            sys.exit(exit_code_of(run.trainer))  # Lightning would end with 0
        seconds["fit"] = time.monotonic() - start
    if not run.config.test or run.trainer.limit_test_batches == 0:
        return {}
    checkpoint, notes = final_checkpoint(run) if run.config.train else (resume, [])
    return evaluate(run, checkpoint, seconds, notes).metrics


if __name__ == "__main__":
    main()
