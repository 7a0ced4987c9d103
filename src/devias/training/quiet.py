"""Which of Lightning's messages reach the user: nothing twice, no advertisements."""

from __future__ import annotations

import logging
import warnings

SUPPRESSED = (
    "litlogger",  # an advertisement
    "TPU available",
    "SIGTERMException was raised",  # StopOnSignal says more
    "will override existing callbacks",  # loss terms, found again when testing follows training
)
"""Parts of those of Lightning's messages that help nobody here."""

SUPPRESSED_WARNINGS = (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own use of PyTorch
    r"The `srun` command is available on your system but is not used",  # nor need it be
    r"It is recommended to use `self\.log\(.*sync_dist=True",  # our metrics are summed over ranks
    r"Checkpoint directory .* exists and is not empty",  # resuming does just that
    r"You're resuming from a checkpoint that ended before the epoch ended",  # our samplers go on
    r"The number of training batches .* is smaller than the logging interval",  # epochs are told
    r"The '\w+_dataloader' does not have many workers",  # data.num_workers is a choice
)


def quiet_lightning() -> None:
    """Leave Lightning's messages to the root logger alone, and drop the needless ones."""
    # On import Lightning adds a handler of its own; Hydra's would print the same once more.
    logging.getLogger("lightning").handlers.clear()
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_needed)
    for pattern in SUPPRESSED_WARNINGS:
        warnings.filterwarnings("ignore", message=pattern)


def _is_needed(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return not any(part in message for part in SUPPRESSED)
