from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devias.data.datasets.ucf101 import read_class_index, read_released_list, read_split_list
from devias.data.records import AnnotationError

NAMES = ["Archery", "HandstandPushups"]
VIDEOS = Path("videos")


def write(folder: Path, text: str) -> Path:
    path = folder / "list.txt"
    path.write_bytes(text.encode())
    return path


def test_class_index_is_one_based_with_crlf(tmp_path):
    path = write(tmp_path, "1 Archery\r\n2 HandstandPushups\r\n")
    assert read_class_index(path) == NAMES


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1 Archery\nx Bowling\n", "line 2: 'x' is not a class number"),
        ("1 Archery\n1 Bowling\n", "line 2: expected"),
        ("1 Archery\n2\n", "line 2: expected"),
        ("0 Archery\n", "line 1: expected"),
        ("1 Archery\n3 Bowling\n", "gaps"),
    ],
)
def test_class_index_errors_name_the_line(tmp_path, text, why):
    with pytest.raises(ValueError, match=why):
        read_class_index(write(tmp_path, text))


def test_training_and_test_lists(tmp_path):
    train = write(tmp_path, "HandstandPushups/v_HandStandPushups_g08_c01.avi 2\r\n")
    (record,) = read_split_list(train, VIDEOS, NAMES)
    assert record.action == 1
    assert record.path == VIDEOS / "HandstandPushups" / "v_HandStandPushups_g08_c01.avi"
    assert record.source == f"{train}:1"
    test = write(tmp_path, "\r\nHandstandPushups/v_HandStandPushups_g01_c01.avi\r\n")
    (record,) = read_split_list(test, VIDEOS, NAMES)
    assert (record.action, record.source) == (1, f"{test}:2")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("Archery/a.avi 2", "Archery is class 1, but the row says 2"),
        ("Bowling/a.avi 1", "expected '<ClassName>/<video>.avi'"),
        ("Archery", "expected"),
        ("Archery/a.avi -1", "not a class number"),
    ],
)
def test_list_errors_name_file_and_line(tmp_path, row, why):
    path = write(tmp_path, f"Archery/v.avi 1\n{row}\n")
    with pytest.raises(AnnotationError, match=rf"list\.txt, line 2: .*{why}"):
        read_split_list(path, VIDEOS, NAMES)


@given(label=st.integers(0, 10_000), name=st.text("abc (!&", min_size=1).map(str.strip))
@settings(deadline=None)  # it writes files
def test_released_list_keeps_paths_with_spaces(tmp_path_factory, label, name):
    folder = tmp_path_factory.mktemp("lists")
    path = write(folder, f"A/{name}.avi {label}\n")
    (record,) = read_released_list(path, VIDEOS)
    assert (record.path, record.action) == (VIDEOS / "A" / f"{name}.avi", label)


@pytest.mark.parametrize(
    ("split", "counts"), [(1, (9537, 3783)), (2, (9586, 3734)), (3, (9624, 3696))]
)
def test_official_lists(shared, split, counts):
    folder = shared / "data" / "annotations" / "ucf101"
    names = read_class_index(folder / "classInd.txt")
    train, test = (
        read_split_list(folder / f"{kind}list0{split}.txt", VIDEOS, names)
        for kind in ("train", "test")
    )
    assert (len(train), len(test)) == counts
    assert {record.action for record in train} == set(range(101))
    # Groups of related videos never straddle the split.
    assert not {record.path for record in train} & {record.path for record in test}


def test_released_lists_equal_the_official_split_1(shared):
    annotations = shared / "data" / "annotations"
    names = read_class_index(annotations / "ucf101" / "classInd.txt")
    for released, official in (("train.csv", "trainlist01.txt"), ("test.csv", "testlist01.txt")):
        ours = read_released_list(annotations / "devias_filelists" / "ucf101" / released, VIDEOS)
        theirs = read_split_list(annotations / "ucf101" / official, VIDEOS, names)
        assert {(r.path, r.action) for r in ours} == {(r.path, r.action) for r in theirs}
