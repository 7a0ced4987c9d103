"""Jobs as processes of this machine, played by small scripts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devias.errors import ConfigError
from devias.sweeps import local
from stub_jobs import job

NAMES = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
WRITE_ENV = f"import os; print({{name: os.environ.get(name) for name in {NAMES}}})"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    def start(*scripts, **settings):
        jobs = [job(tmp_path, number, script) for number, script in enumerate(scripts)]
        errors = local.launch(jobs, local.LocalSettings(**settings))
        return errors, [one.output.read_text() for one in jobs]

    return start


def test_a_failed_job_leaves_the_others_and_is_told_with_its_last_error(run, caplog):
    caplog.set_level("INFO")
    kill = "import os; print('half', flush=True); os.kill(os.getpid(), 9)"
    errors, printed = run("print('one')", "raise ValueError('bad lr')", kill, "print(4)", n_jobs=2)
    assert errors == [None, "ValueError: bad lr (exit code 1)", "half (SIGKILL)", None]
    assert printed[0] == "one\n"
    assert "job 1 failed after 0:0" in caplog.text
    assert "4 of 4 ended" in caplog.text


def test_as_many_run_at_once_as_were_asked_for(run, tmp_path):
    script = (
        f"import os, time; p = {str(tmp_path)!r} + '/now-' + str(os.getpid()); open(p, 'w');"
        f"time.sleep(0.4); print(sum(n.startswith('now-') for n in os.listdir({str(tmp_path)!r})));"
        "time.sleep(0.2); os.remove(p)"
    )
    _, printed = run(*[script] * 5, n_jobs=2)
    assert max(int(text) for text in printed) == 2


def test_processors_and_gpus_are_shared_out(run, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(9)))
    _, printed = run(WRITE_ENV, WRITE_ENV, n_jobs=2)
    assert all("'OMP_NUM_THREADS': '4'" in text for text in printed)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    _, printed = run(WRITE_ENV, WRITE_ENV)
    assert sorted(text.strip()[-4:] for text in printed) == ["'3'}", "'5'}"]
    assert all("'OMP_NUM_THREADS': '7'" in text for text in printed)


def test_a_slot_s_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,6,7")
    assert local.count_slots(None, 2) == 2
    assert [local._gpus(slot, 2)["CUDA_VISIBLE_DEVICES"] for slot in (0, 1)] == ["2,3", "6,7"]
    assert local.count_slots(8, 1) == 8  # two jobs a GPU
    assert local._gpus(5, 1) == {"CUDA_VISIBLE_DEVICES": "3"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert local.count_slots(None, 1) == 1
    assert local._gpus(0, 1) == {}
    with pytest.raises(ConfigError, match=r"cluster\.n_jobs=0 must be at least 1"):
        local.count_slots(0, 1)


LAUNCH = """
import sys; sys.path[:0] = {path!r}
import logging; logging.basicConfig(level='INFO')
import signal; signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background
from pathlib import Path
from devias.sweeps import local
import test_local
test_local.launch_two(Path({folder!r}))
"""
PATIENT = """
import signal, sys, time
def stop(*_):
    print('saved', flush=True); sys.exit(143)
signal.signal(signal.SIGTERM, stop)
from devias.training.ranks import end_with_launcher
end_with_launcher()
print('began', flush=True); time.sleep(60)
"""


def launch_two(folder: Path) -> None:
    local.launch([job(folder, number, PATIENT) for number in range(2)], local.LocalSettings(2))


@pytest.mark.parametrize(
    ("sign", "code", "saved"),
    [(signal.SIGINT, 130, True), (signal.SIGTERM, 143, True), (signal.SIGKILL, -9, False)],
)
def test_jobs_end_with_their_launcher(tmp_path, sign, code, saved):
    script = LAUNCH.format(
        path=[str(Path(__file__).parent), str(Path(__file__).parents[1])], folder=str(tmp_path)
    )
    launcher = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    outputs = [tmp_path / str(number) / "output.log" for number in range(2)]
    wait_for(lambda: all(o.exists() and "began" in o.read_text() for o in outputs))
    jobs = children(launcher.pid)
    assert len(jobs) == 2
    launcher.send_signal(sign)
    assert launcher.wait(20) == code
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in jobs))
    assert all(("saved" in output.read_text()) == saved for output in outputs)


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(condition, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
