import os
import signal
import subprocess
import sys

from devias.training.ranks import PAUSE_FILE, PAUSED, end_with_parent


def test_a_process_ends_with_its_parent():
    child = (
        "import time; from devias.training.ranks import end_with_parent; end_with_parent(0.05);"
        "print('watching', flush=True); time.sleep(60)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"watching\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    # The pipe closes when the last process that holds it has ended.
    assert process.communicate(timeout=20)[0] == b""


def test_a_program_that_has_nothing_to_save_pauses_at_once(tmp_path):
    pause = tmp_path / "pause"
    script = (
        "import os, signal; from devias.training.ranks import take_pauses; take_pauses();"
        "os.kill(os.getpid(), signal.SIGUSR2)"
    )
    environment = os.environ | {PAUSE_FILE: str(pause)}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert (ended.returncode, pause.exists()) == (PAUSED, True)


def test_a_process_whose_parent_lives_goes_on():
    end_with_parent(0.01)
    assert not subprocess.run([sys.executable, "-c", "import time; time.sleep(0.1)"]).returncode
