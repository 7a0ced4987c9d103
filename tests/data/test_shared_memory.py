import resource

import pytest
import torch
from torch.utils.data import DataLoader

from devias.data import shared_memory
from devias.data.dataset import VideoSample
from devias.data.shared_memory import SharedMemoryError, check_shared_memory, collate_shared


class Videos(torch.utils.data.Dataset):
    """Clips of 1.5 kB, read by workers that may use so many bytes of shared memory a tensor."""

    def __init__(self, limit):
        self.limit = limit

    def __len__(self):
        return 6

    def __getitem__(self, index):
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, resource.RLIM_INFINITY))
        video = torch.full((1, 3, 2, 16, 16), index, dtype=torch.uint8)
        return VideoSample(video, action=index, scene=0, index=index)


def read(limit):
    loader = DataLoader(Videos(limit), batch_size=3, num_workers=2, collate_fn=collate_shared)
    return [batch.video.flatten(1)[:, 0].tolist() for batch in loader]


def test_batches_come_through_shared_memory_as_they_are():
    assert read(2**20) == [[0, 1, 2], [3, 4, 5]]


def test_a_worker_without_room_for_its_batch_ends_the_reading():
    with pytest.raises(SharedMemoryError, match=r"/dev/shm is full .*--shm-size"):
        read(4000)


def test_room_is_looked_for_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_memory, "SHARED_MEMORY", tmp_path)
    usage = type("Usage", (), {"free": 12_000_000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: {tmp_path: usage}[path])
    check_shared_memory(1_000_000, num_workers=6)  # two batches each
    with pytest.raises(SharedMemoryError, match=r"has 12 MB left, and data.num_workers=7 need 14"):
        check_shared_memory(1_000_000, num_workers=7)
    monkeypatch.setattr(shared_memory, "SHARED_MEMORY", tmp_path / "none")
    check_shared_memory(10**15, num_workers=7)
