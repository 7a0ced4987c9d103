"""The base of every error a user can mend, and how a program ends with one."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


class DeviasError(Exception):
    """Something its user can mend; the message says what is wrong, where, and what to do."""


class ConfigError(DeviasError, ValueError):
    """A setting that cannot be; the message names the key."""


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """End the program with the message alone where its user has something to mend.

    Of other errors, and with `HYDRA_FULL_ERROR=1` of all, the trace is shown as usual.
    """
    try:
        yield
    except DeviasError as error:
        if os.environ.get("HYDRA_FULL_ERROR", "0") != "0":
            raise
        log.error("%s", error)
        sys.exit(1)
