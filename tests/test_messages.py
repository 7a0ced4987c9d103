import logging

import pytest

from devias.data.datamodule import MissingDataError
from devias.messages import plain_errors, quiet_lightning
from devias.training.checkpoints import CheckpointError


@pytest.mark.parametrize("error", [MissingDataError, CheckpointError])
def test_an_error_of_the_user_ends_the_program_with_its_message(caplog, monkeypatch, error):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit) as caught, plain_errors():
        raise error("fetch it from there")
    assert caught.value.code == 1
    assert [record.getMessage() for record in caplog.records] == ["fetch it from there"]


def test_the_trace_is_there_on_request_and_for_other_errors(monkeypatch):
    with pytest.raises(ZeroDivisionError), plain_errors():
        _ = 1 / 0
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(CheckpointError), plain_errors():
        raise CheckpointError("broken")


def test_lightning_says_everything_once_and_nothing_needless(caplog, capfd):
    own = logging.StreamHandler()
    logging.getLogger("lightning").addHandler(own)
    quiet_lightning()
    quiet_lightning()
    assert logging.getLogger("lightning").handlers == []
    with caplog.at_level(logging.INFO):
        log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
        log.info("try installing [litlogger]")
        log.info("GPU available: False, used: False")
    assert [record.getMessage() for record in caplog.records] == [
        "GPU available: False, used: False"
    ]
    assert "GPU" not in capfd.readouterr().err
