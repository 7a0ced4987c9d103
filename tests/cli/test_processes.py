"""Which process of torchrun or Slurm this is."""

from devias.cli.processes import process


def test_a_launcher_says_which_process_this_is(monkeypatch):
    for name in ("SLURM_NTASKS", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    assert process() == (0, 1, 0)
    launched = {"TORCHELASTIC_RUN_ID": "1", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
    for name, value in {**launched, "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert process() == (5, 8, 1)
