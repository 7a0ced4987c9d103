import logging
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lightning.fabric.utilities.rank_zero import rank_zero_only
from omegaconf import OmegaConf

from devias.training.run_folder import RunFolderError, _make_new, claimed_folder, is_held
from helpers import write_text

HOLD = """
import os, sys, time
from omegaconf import OmegaConf
from devias.training.run_folder import claimed_folder
with claimed_folder(OmegaConf.create({"paths": {"run_dir": sys.argv[1]}})):
    if os.fork():
        print("held", flush=True)
    time.sleep(60)  # the child is as a loader's worker, which outlives a killed run
"""


def settings(folder):
    return OmegaConf.create({"paths": {"run_dir": str(folder)}})


@pytest.fixture(autouse=True)
def _root_handlers():
    before = list(logging.getLogger().handlers)
    yield
    for handler in set(logging.getLogger().handlers) - set(before):
        logging.getLogger().removeHandler(handler)
        handler.close()


def test_a_folder_is_one_process_s_until_it_dies(tmp_path):
    folder = tmp_path / "run"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(RunFolderError, match=rf"another run is writing to {folder}"):
            claimed_folder(settings(folder)).__enter__()
        assert is_held(folder)
        other.kill()
        other.wait()
        assert not is_held(folder)
        with claimed_folder(settings(folder)) as claimed:
            assert claimed == folder
    finally:
        os.killpg(other.pid, signal.SIGKILL)


def test_what_a_killed_run_was_writing_is_removed_at_the_next_start(tmp_path):
    kept = ("checkpoints/last.ckpt", "result.json", ".notes", "evaluations/1/.a-0123abcd.json")
    left = ("checkpoints/.best-partial.ckpt", ".result-0123abcd.json", "figures/.a-0123abcd.png")
    for name in (*kept, *left):
        write_text(tmp_path / name, "half")
    with claimed_folder(settings(tmp_path)):
        there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    # An evaluation holds no lock, and may be writing now.
    assert there == {*kept, ".lock", "train.log"}


def test_looking_whether_a_folder_is_held_does_not_let_it_go(tmp_path):
    """Closing any file of a lock frees a process's own lock of it."""
    assert not is_held(tmp_path / "none")
    with claimed_folder(settings(tmp_path)):
        assert is_held(tmp_path)
        code = "from pathlib import Path; from devias.training.run_folder import is_held as held\n"
        code += f"print(held(Path({str(tmp_path)!r})))"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert other.stdout == "True\n"
    assert not is_held(tmp_path)


def test_a_new_folder_is_nobody_else_s(tmp_path):
    folder = tmp_path / "runs" / "devias-12-30"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: _make_new(folder), range(8)))
    names = ["devias-12-30", *(f"devias-12-30-{number}" for number in range(2, 9))]
    assert sorted(path.name for path in made) == sorted(names)
    config = settings(folder)
    with claimed_folder(config, new=True) as claimed:
        assert config.paths.run_dir == str(claimed) == f"{folder}-9"


def test_the_folder_is_made_absolute_and_kept_afterwards(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        config = settings("run")
        with claimed_folder(config):
            assert Path(config.paths.run_dir) == tmp_path / "run"


def test_other_ranks_take_rank_zero_s_folder_and_make_none(tmp_path, monkeypatch):
    own, given = settings(tmp_path / "b"), settings(tmp_path / "b")
    with claimed_folder(settings(tmp_path / "a"), new=True):
        monkeypatch.setattr(rank_zero_only, "rank", 1)
        with claimed_folder(given, new=True) as folder:
            assert str(folder) == given.paths.run_dir == str(tmp_path / "a")
    with claimed_folder(own, new=True) as folder:  # started by a cluster, not by rank 0
        assert folder == tmp_path / "b"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_every_run_has_its_own_log(tmp_path):
    logger = logging.getLogger("devias.test")
    logger.setLevel(logging.INFO)
    for name in ("a", "b"):
        with claimed_folder(settings(tmp_path / name)):
            logger.info("in %s", name)
        logger.error("why %s ended", name)
    for name in ("a", "b"):
        lines = (tmp_path / name / "train.log").read_text().splitlines()
        assert [line[20:] for line in lines] == [f"INFO in {name}", f"ERROR why {name} ended"]
