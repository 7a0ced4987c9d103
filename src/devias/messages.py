"""What a program tells its user: nothing twice, no advertisements, errors without a trace."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

NEEDLESS = (
    "litlogger",  # an advertisement
    "TPU available",
    "will override existing callbacks",  # loss terms, found again when testing follows training
    "to estimate number of stepping batches",
)
"""Parts of those of Lightning's messages that help nobody here."""

NEEDLESS_WARNINGS = (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own use of PyTorch
    r"It is recommended to use `self\.log\(.*sync_dist=True",  # our metrics are summed over ranks
    r"The dirpath has changed",  # testing writes to a folder of its own
    r"Checkpoint directory .* exists and is not empty",  # resuming does just that
    r"The '\w+_dataloader' does not have many workers",  # data.num_workers is a choice
)


def quiet_lightning() -> None:
    """Leave Lightning's messages to the root logger alone, and drop the needless ones."""
    # On import Lightning adds a handler of its own; Hydra's would print the same once more.
    logging.getLogger("lightning").handlers.clear()
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_needed)
    for pattern in NEEDLESS_WARNINGS:
        warnings.filterwarnings("ignore", message=pattern)


def _is_needed(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return not any(part in message for part in NEEDLESS)


@contextmanager
def plain_errors() -> Iterator[None]:
    """End the program with the message alone where its user has something to mend.

    Of other errors, and with `HYDRA_FULL_ERROR=1` of all, the trace is shown as usual.
    """
    from devias.config import ConfigError
    from devias.data.dataset import TooManyBadVideos
    from devias.data.decoding import VideoError
    from devias.data.masks import MaskError
    from devias.data.records import AnnotationError
    from devias.losses.base import LossTermError
    from devias.models.reading import WeightsError
    from devias.pseudo.cache import CacheError
    from devias.training.callbacks import NonFiniteLossError
    from devias.training.checkpoints import CheckpointError

    to_mend = (
        AnnotationError,
        CacheError,
        CheckpointError,
        ConfigError,
        FileExistsError,  # in the place of an output
        FileNotFoundError,  # missing data and weights
        LossTermError,
        MaskError,
        NonFiniteLossError,
        TooManyBadVideos,
        VideoError,
        WeightsError,
    )
    try:
        yield
    except to_mend as error:
        if os.environ.get("HYDRA_FULL_ERROR", "0") != "0":
            raise
        log.error("%s", error)
        sys.exit(1)
