import pickle
from pathlib import Path

import pytest

from devias.data.records import PackedRecords, VideoRecord, video_id

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


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (VideoRecord(Path("/v/a/b.mp4")), "a/b.mp4"),
        (VideoRecord(Path("/r/b.mp4")), "b.mp4"),
        (VideoRecord(Path("/x/b.mp4")), "/x/b.mp4"),
        (VideoRecord(Path("/v/b.mp4"), start=2.5, end=7.0), "b.mp4#2.5-7"),
        (VideoRecord(Path("/v/b.mp4"), start=123456.789), "b.mp4#123456.789-"),
    ],
)
def test_videos_are_known_by_their_place_below_the_folder(record, expected):
    assert video_id(record, Path("/v"), Path("/r")) == expected
