"""Calls that may take too long, in a thread that nothing has to wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class NoAnswerError(Exception):
    """A call did not return in time; it may be running still."""


class PatientCaller:
    """Makes calls one after the other in a thread of its own, all in the same one.

    The thread begins with the first call. It does not keep the process from ending, whatever it
    hangs in.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] | None = None

    def call(self, function: Callable[[], T], seconds: float) -> T:
        """What `function` returns or raises.

        Raises:
            NoAnswerError: it takes longer than so many seconds.
        """
        if self._calls is None:
            self._calls = SimpleQueue()
            threading.Thread(target=_work, args=(self._calls,), name=self.name, daemon=True).start()
        future: Future[T] = Future()
        self._calls.put((future, function))
        try:
            error = future.exception(seconds)
        except TimeoutError:
            raise NoAnswerError(f"no answer within {seconds:g} seconds") from None
        if error:
            raise error
        return future.result()

    def end(self) -> None:
        """End the thread, as soon as what it is at returns."""
        if self._calls is not None:
            self._calls.put(None)
            self._calls = None


def _work(calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]) -> None:
    while call := calls.get():
        future, function = call
        try:
            future.set_result(function())
        except Exception as error:
            future.set_exception(error)
        except BaseException as error:  # an exit, which would end this thread alone
            future.set_exception(RuntimeError(repr(error)))
