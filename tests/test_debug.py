"""`debug=`: short runs that answer one question."""

import pytest

from devias.cli.train import train
from devias.config import compose
from devias.reporting.results import RunResult
from helpers import TINY_SYNTHETIC


def short(folder, debug, *words):
    own = [w for w in TINY_SYNTHETIC if not w.startswith("trainer.max_epochs")]
    return compose(
        *own,
        f"paths.datasets={folder / 'data'}",
        f"paths.run_dir={folder / debug}",
        f"debug={debug}",
        *words,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("debug")


def test_one_batch_of_every_phase_leaves_no_result(folder):
    train(short(folder, "one_batch"))
    assert not (folder / "one_batch/result.json").exists()


def test_some_batches_of_everything_end_in_a_result_that_says_so(folder):
    train(short(folder, "limit", "trainer.limit_test_batches=0.5", "data.eval_batch_size=6"))
    notes = RunResult.load(folder / "limit/result.json").notes
    assert any("limit_test_batches" in note for note in notes)


def test_a_profile_is_written_beside_the_metrics(folder):
    train(short(folder, "profile", "trainer.max_steps=2"))
    (profile,) = (folder / "profile").rglob("fit-profile*.txt")
    assert "run_training_epoch" in profile.read_text()


def test_two_batches_are_the_same_in_every_epoch_and_not_augmented():
    config = compose("experiment=synthetic", "debug=overfit")
    assert (config.trainer.overfit_batches, config.data.rand_augment) == (2, None)
    assert config.trainer.max_epochs == 100
