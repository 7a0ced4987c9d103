import logging
import time
from pathlib import Path

import pytest
from lightning.pytorch.utilities import rank_zero_only

from devias.errors import ConfigError
from devias.reporting.loggers.tracker import (
    FAILURES,
    Tracker,
    id_file,
    kept_id,
    need,
    read_id,
    shortened,
)


class Backend:
    """Remembers what it was given; fails or hangs where it is told to."""

    def __init__(self, errors=(), hang=0.0):
        self.given, self.errors, self.hang = [], list(errors), hang
        self.experiment = "the library's run"

    def log_metrics(self, metrics, step=None):
        time.sleep(self.hang)
        error = self.errors.pop(0) if self.errors else None
        if error:
            raise error
        self.given.append((metrics, step))

    def finish(self, failed):
        self.given.append(("failed" if failed else "finished", None))


def begun(backend, **settings):
    return Tracker("Name", lambda: backend, **settings)


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_a_tracker_hands_on_what_the_trainer_gives(caplog):
    backend = Backend()
    tracker = begun(backend)
    tracker.log_metrics({"x": 1.0}, step=3)
    assert tracker.experiment == "the library's run"
    tracker.finalize("success")
    tracker.close()
    tracker.log_metrics({"x": 2.0}, step=4)  # after the end
    assert backend.given == [({"x": 1.0}, 3), ("finished", None)]
    assert not caplog.records


def test_a_failure_loses_one_entry_and_is_told_once(caplog):
    backend = Backend([OSError("no space"), None, KeyError("again"), SystemExit("out")])
    tracker = begun(backend)
    for step in range(5):
        tracker.log_metrics({}, step)
    assert [step for _, step in backend.given] == [1, 4]
    (told,) = warnings_of(caplog)
    assert told == "Name: OSError: no space; the run goes on without what it did not take"


def test_failures_on_end_end_the_tracker(caplog):
    backend = Backend([OSError("no space")] * FAILURES)
    tracker = begun(backend)
    with caplog.at_level(logging.INFO):
        for step in range(FAILURES + 2):
            tracker.log_metrics({}, step)
    tracker.close()
    assert backend.given == []
    assert len(warnings_of(caplog)) == 1
    assert caplog.messages[-1].endswith("the run goes on without it")


def test_what_cannot_begin_is_not_tried_again(caplog):
    begins = []

    def fail():
        begins.append(1)
        raise ValueError("no\n key")

    tracker = Tracker("Name", fail)
    for step in range(3):
        tracker.log_metrics({}, step)
    tracker.experiment.anything()  # a run's own callbacks need not ask whether there is one
    tracker.close()
    assert begins == [1]
    assert warnings_of(caplog) == ["Name: ValueError: no key; the run goes on without it"]


def test_what_hangs_is_left_alone(caplog):
    backend = Backend(hang=30)
    tracker = begun(backend, patience=0.2)
    start = time.monotonic()
    for step in range(5):
        tracker.log_metrics({}, step)
    tracker.close()
    assert 0.2 <= time.monotonic() - start < 5
    assert warnings_of(caplog) == ["Name: no answer within 0.2 seconds; the run goes on without it"]


@pytest.mark.parametrize("failing", [True, False])
def test_the_end_says_how_the_run_ended(failing):
    backend = Backend()
    tracker = begun(backend)
    tracker.log_metrics({}, 1)
    tracker.finalize("failed" if failing else "success")
    tracker.finalize("success")  # of the test after the training
    tracker.close()
    assert backend.given[-1] == ("failed" if failing else "finished", None)


def test_other_ranks_begin_nothing(monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    tracker = Tracker("Name", lambda: pytest.fail("began"))
    tracker.log_metrics({}, 1)
    tracker.log_hyperparams({})
    tracker.experiment.anything()
    tracker.close()


def test_neither_name_nor_version_begin_a_run():
    tracker = Tracker("Name", lambda: pytest.fail("began"))
    assert (tracker.name, tracker.version, tracker.save_dir) == ("Name", None, None)
    tracker.close()


def test_a_folder_keeps_its_id(tmp_path):
    path = id_file(str(tmp_path / "run"), "name")
    assert read_id(path) is None
    first = kept_id(path)
    assert kept_id(path) == read_id(path) == first
    assert kept_id(id_file(str(tmp_path / "other"), "name")) != first
    Path(path).write_text("")  # of a process that was killed
    assert kept_id(path)


def test_a_missing_package_is_told_with_what_installs_it():
    need("json", "this")
    with pytest.raises(
        ConfigError,
        match=r"this needs the package no_such_package: pip install 'devias\[trackers\]'",
    ):
        need("no_such_package", "this")


def test_long_names_stay_apart():
    assert shortened("short", 9) == "short"
    first, second = (shortened("x" * 200 + end, 64) for end in "ab")
    assert len(first) == len(second) == 64
    assert first != second
