import operator
import os

import pytest

from devias.data.parallel import WorkerDiedError, in_parallel


@pytest.mark.parametrize("processes", [0, 2])
def test_outcomes_come_in_order(processes):
    assert list(in_parallel(operator.neg, range(19), processes)) == [-n for n in range(19)]


def test_a_process_that_dies_is_told():
    with pytest.raises(WorkerDiedError, match=r"num_workers=0"):
        list(in_parallel(os._exit, [1, 1], 1))
