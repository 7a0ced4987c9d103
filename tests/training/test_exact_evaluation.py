"""A test answers alike on any number of processes, and in batches of any size."""

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing

from devias.evaluation.intervals import intervals
from devias.evaluation.predictions import FIELDS
from evaluated import draw_videos, evaluated_run

VIDEOS, BROKEN = 7, (4,)


def on_rank(rank, world_size, folder, eval_batch_size):
    """One of several processes, as torchrun starts them, leaves what it has gathered."""
    torch.set_num_threads(1)
    store = distributed.FileStore(str(folder / f"store-{world_size}-{eval_batch_size}"), world_size)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
    with pytest.MonkeyPatch.context() as environment:
        for name, value in zip(names, (rank, rank, world_size), strict=True):
            environment.setenv(name, str(value))
        settings = {"strategy": "ddp", "devices": world_size, "use_distributed_sampler": False}
        module = answered(folder, eval_batch_size, settings)
    torch.save(outcome(module), folder / f"{world_size}-{rank}.pt")
    distributed.destroy_process_group()


def answered(folder, eval_batch_size=8, trainer=None):
    module, _ = evaluated_run(
        folder, BROKEN, trainer or {}, eval_batch_size, videos=VIDEOS, on_error="skip"
    )
    return module


def outcome(module):
    """All that follows from a test."""
    rows = {
        name: {field: getattr(predictions, field).tolist() for field in FIELDS}
        for name, predictions in module.predictions.items()
    }
    return {
        "rows": rows,
        "results": module.results,
        "intervals": intervals(module.protocol, module.videos, resamples=50),
    }


def assert_same(a, b):
    """Whether two tests answered alike: scores may be rounded otherwise, numbers may not."""
    assert a["results"] == b["results"]
    assert a["intervals"] == b["intervals"]
    for name, fields in a["rows"].items():
        for field, values in fields.items():
            other = b["rows"][name][field]
            if field.endswith(("scores", "spread")):
                np.testing.assert_allclose(values, other, atol=1e-6, err_msg=field)
            else:
                np.testing.assert_array_equal(values, other, err_msg=field)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return draw_videos(tmp_path_factory.mktemp("videos"), VIDEOS, BROKEN)


@pytest.fixture(scope="module")
def alone(folder):
    return outcome(answered(folder))


def test_one_process_repeats_itself_to_the_last_bit(folder, alone):
    assert repr(outcome(answered(folder))) == repr(alone)


@pytest.mark.parametrize("eval_batch_size", [1, 12, 100])
def test_the_size_of_batches_does_not_matter(folder, alone, eval_batch_size):
    assert_same(outcome(answered(folder, eval_batch_size)), alone)


@pytest.mark.parametrize(("world_size", "eval_batch_size"), [(2, 8), (3, 4)])
def test_the_number_of_processes_does_not_matter(folder, alone, world_size, eval_batch_size):
    multiprocessing.start_processes(
        on_rank, (world_size, folder, eval_batch_size), world_size, start_method="fork"
    )
    for rank in range(world_size):  # every rank has the whole
        assert_same(torch.load(folder / f"{world_size}-{rank}.pt"), alone)
    rows = alone["rows"]["unseen"]
    assert rows["index"] == list(range(VIDEOS))
    assert [number for number, error in enumerate(rows["error"]) if error] == [*BROKEN]
    right = sum(
        classes[0] == action
        for classes, action in zip(rows["action_classes"], rows["action"], strict=True)
    )
    assert alone["results"]["unseen"]["action_top1"] == right / (VIDEOS - len(BROKEN))
