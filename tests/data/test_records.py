import pickle
from pathlib import Path

import pytest

from devias.data.records import PackedRecords, VideoRecord

RECORDS = [
    VideoRecord(Path("a.mp4"), 3, source="list.txt:1"),
    VideoRecord(Path("folder/b c.mp4"), scene=2, masks=Path("b.png"), start=0.5, end=2.25),
    VideoRecord(Path("ü.webm")),
]


def test_packed_records_are_the_records():
    packed = PackedRecords(RECORDS)
    assert list(packed) == RECORDS
    assert (packed[-1], packed[1]) == (RECORDS[-1], RECORDS[1])
    assert packed[::2] == RECORDS[::2]
    assert len(packed) == 3
    assert list(pickle.loads(pickle.dumps(packed))) == RECORDS
    for place in (3, -4):
        with pytest.raises(IndexError):
            packed[place]
    assert list(PackedRecords([])) == []
