"""Work on many videos in several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from devias.errors import DeviasError

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class WorkerDiedError(DeviasError, RuntimeError):
    """A process that worked on videos is gone, as after a fault in a decoder or without memory."""


def in_parallel(
    work: Callable[[Item], Outcome], items: Sequence[Item], processes: int, at_once: int = 8
) -> Iterator[Outcome]:
    """The outcomes in order.

    Args:
        work: that a process can be handed.
        items: likewise.
        processes: 0: in this one.
        at_once: items that a process is handed together; many are faster, few are fair.

    Raises:
        WorkerDiedError: a process is gone.
    """
    if not processes:
        yield from map(work, items)
        return
    # Forked processes would inherit the locks of libraries' threads.
    with ProcessPoolExecutor(processes, get_context("forkserver")) as pool:
        try:
            yield from pool.map(work, items, chunksize=at_once)
        except BrokenProcessPool as error:
            raise WorkerDiedError(
                "a process that works on videos died, of a fault in a decoder or for want of "
                "memory; num_workers=0 stops at the file that did it"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
