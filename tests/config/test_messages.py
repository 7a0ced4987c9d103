"""Errors as the one sentence that their user is shown."""

import pytest
from torch.utils.data import DataLoader, Dataset

from devias.config.messages import explain
from devias.data.dataset import TooManyBadVideos
from devias.data.readers import VideoError


class Failing(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        try:
            raise VideoError("a.mp4: no such file")
        except VideoError as error:
            raise TooManyBadVideos("2 of 2 videos could not be read\n(the last: a.mp4)") from error


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_a_loader_process_is_told_without_its_trace(workers):
    with pytest.raises(TooManyBadVideos) as caught:
        list(DataLoader(Failing(), num_workers=workers))
    assert explain(caught.value) == "2 of 2 videos could not be read\n(the last: a.mp4)"


def test_a_fault_of_the_program_is_not_explained():
    assert explain(ZeroDivisionError("x")) is None
