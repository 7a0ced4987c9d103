"""Batches in the memory that loader processes share with the one that trains."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from devias.data.dataset import VideoSample, collate
from devias.errors import DeviasError
from devias.structures import ClipBatch

SHARED_MEMORY = Path("/dev/shm")
PREFETCH = 2
"""Batches that every worker makes ahead, as PyTorch's loader has it."""
REMEDY = "enlarge it (docker run --shm-size=8g), or choose fewer data.num_workers; 0 needs none"


class SharedMemoryError(DeviasError, RuntimeError):
    """There is no room for the batches of the loader's workers; says what to do."""


def check_shared_memory(batch_bytes: int, num_workers: int) -> None:
    """See that batches of this size fit, one that every worker has ready.

    Raises:
        SharedMemoryError: they do not.
    """
    if not SHARED_MEMORY.is_dir():  # systems without a limit of their own
        return
    free, needed = shutil.disk_usage(SHARED_MEMORY).free, batch_bytes * num_workers * PREFETCH
    if free < needed:
        raise SharedMemoryError(
            f"{SHARED_MEMORY} has {free / 1e6:.0f} MB left, and data.num_workers={num_workers} "
            f"need {needed / 1e6:.0f}: {REMEDY}"
        )


def collate_shared(samples: Sequence[VideoSample]) -> ClipBatch:
    """`collate` for worker processes.

    PyTorch moves a batch to shared memory in a thread that can't report an error: the training
    process would wait for it for ever.

    Raises:
        SharedMemoryError: there is no room left.
    """
    batch = collate(samples)
    try:
        return batch.share_memory()
    except RuntimeError as error:
        raise SharedMemoryError(f"{SHARED_MEMORY} is full ({error}): {REMEDY}") from error
