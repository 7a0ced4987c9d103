import pytest

from devias.data.datamodule import MissingDataError
from devias.errors import exit_on_user_error
from devias.training.checkpoints import CheckpointError


@pytest.mark.parametrize("error", [MissingDataError, CheckpointError])
def test_an_error_of_the_user_ends_the_program_with_its_message(caplog, monkeypatch, error):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit) as caught, exit_on_user_error():
        raise error("fetch it from there")
    assert caught.value.code == 1
    assert [record.getMessage() for record in caplog.records] == ["fetch it from there"]


def test_the_trace_is_there_on_request_and_for_other_errors(monkeypatch):
    with pytest.raises(ZeroDivisionError), exit_on_user_error():
        _ = 1 / 0
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(CheckpointError), exit_on_user_error():
        raise CheckpointError("broken")
