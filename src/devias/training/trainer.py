"""What a Lightning Trainer may be asked for here, and how many steps it will take."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import lightning as L
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from devias.errors import ConfigError, DeviasError
from devias.training.sharding import ShardedStrategy

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


@contextmanager
def trainer_errors(*others: type[Exception]) -> Iterator[None]:
    """Turn what Lightning says of its settings into one sentence.

    Args:
        others: kinds of errors that are about settings here, besides Lightning's own.

    Raises:
        ConfigError: instead of `MisconfigurationException` and `others`.
    """
    kinds: tuple[type[Exception], ...] = (MisconfigurationException, *others)
    try:
        yield
    except DeviasError:
        raise
    except kinds as error:
        raise ConfigError(f"trainer: {str(error).strip()}") from error


def check_support(trainer: L.Trainer) -> None:
    """Refuse what Lightning offers but training here can't do, before anything starts.

    Raises:
        ConfigError: names the setting and what to choose instead.
    """
    strategy = trainer.strategy
    if trainer.precision not in PRECISIONS:
        # The on-device stage works in float32; AdamW's small steps vanish in half precision.
        raise ConfigError(
            f"trainer.precision={trainer.precision} is not supported: choose one of "
            + ", ".join(PRECISIONS)
        )
    if not isinstance(strategy, SingleDeviceStrategy | DDPStrategy | ShardedStrategy):
        raise ConfigError(
            f"trainer.strategy: {type(strategy).__name__} is not supported: choose auto or ddp, or "
            "trainer=fsdp"
        )
    if isinstance(strategy.launcher, _MultiProcessingLauncher):
        # The parent, which goes on to test, would be left without the trained weights.
        raise ConfigError(
            "trainer.strategy: processes that are spawned or forked, as in notebooks, are not "
            "supported: choose ddp, or trainer.devices=1"
        )
    if trainer.max_steps == -1 and trainer.max_epochs in (-1, None):
        raise ConfigError(
            "the learning rate's schedule needs an end: set trainer.max_epochs or "
            "trainer.max_steps; trainer.max_time may end training before"
        )


def schedule_steps(trainer: L.Trainer) -> tuple[int, int]:
    """Optimizer steps of the whole training and of one epoch.

    An epoch is one pass over the training loader, or over what `limit_train_batches` leaves of
    it, however many of them `max_epochs` and `max_steps` allow. `max_time` may end training
    before its last step.

    Raises:
        ConfigError: the loader is too short for the Trainer's settings.
    """
    if trainer.limit_train_batches == 0:
        return 0, 0
    with trainer_errors(ValueError):
        trainer.fit_loop.setup_data()  # the Trainer does so later, and only once
        total = trainer.estimated_stepping_batches
    return int(total), math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)


def part_tested(trainer: L.Trainer) -> list[str]:
    """What a result must say of a test that left videos out.

    Raises:
        ConfigError: nothing was tested.
    """
    limit = trainer.limit_test_batches
    if limit == 0:
        raise ConfigError("trainer.limit_test_batches=0 leaves nothing to test")
    part = isinstance(limit, int) or limit < 1
    return [f"tested on a part only: trainer.limit_test_batches={limit}"] if part else []
