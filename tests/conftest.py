"""What every test shares: a repeatable start and the development data where it is present."""

import logging
from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared"

# One thread keeps tiny tensors fast, and sums in the same order wherever the tests run. Set here,
# so that fixtures of modules have it, too.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _repeatable():
    """Give every test the same random state."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _own_logging():
    """Undo what a command that runs within a test makes of the program's loggers."""
    loggers = [x for x in logging.root.manager.loggerDict.values() if isinstance(x, logging.Logger)]
    before = [(x, x.level, x.disabled, x.propagate) for x in (logging.root, *loggers)]
    handlers = list(logging.root.handlers)
    yield
    for logger, level, disabled, propagate in before:
        logger.setLevel(level)
        logger.disabled, logger.propagate = disabled, propagate
    for handler in [x for x in logging.root.handlers if x not in handlers]:
        logging.root.removeHandler(handler)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder that all tests of a file share."""
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of development data; the test is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip("the development data is not present")
    return SHARED
