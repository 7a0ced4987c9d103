from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devias.data.annotations import AnnotationError
from devias.data.class_names import read_class_index
from devias.data.datasets.ucf101 import read_split_list
from devias.data.numbered_splits import read_released_list, read_released_names

NAMES = ["Archery", "HandstandPushups"]
VIDEOS = Path("videos")


def write(folder: Path, text: str) -> Path:
    path = folder / "list.txt"
    path.write_bytes(text.encode())
    return path


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
        ("Archery/a.avi 1.5", "not a class number"),
        ("Archery/../../a.avi", "expected a path below the folder"),
        ("Archery//v.avi", r"the same video as in .*list\.txt:1"),
    ],
)
def test_list_errors_name_file_and_line(tmp_path, row, why):
    path = write(tmp_path, f"Archery/v.avi 1\n{row}\n")
    with pytest.raises(AnnotationError, match=rf"list\.txt, line 2: .*{why}"):
        read_split_list(path, VIDEOS, NAMES)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("B/v.avi", "expected"),
        ("v.avi 1", "expected"),
        ("A/w.avi 1", r"'A' has another label than in .*list\.txt:1"),
        ("B/v.avi 0", r"'B' has the same label as 'A' in .*list\.txt:1"),
        ("A/v.avi 0", r"the same video as in .*list\.txt:1"),
        ("/A/v.avi 0", "expected a path below the folder"),
    ],
)
def test_released_list_errors_name_file_and_line(tmp_path, rows, why):
    path = write(tmp_path, f"A/v.avi 0\n{rows}\n")
    with pytest.raises(AnnotationError, match=rf"list\.txt, line 2: .*{why}"):
        read_released_list(path, VIDEOS)


def test_released_names_come_from_all_lists(tmp_path):
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("A/v.avi 0\nC/v.avi 2\n")
    test.write_text("B/w.avi 1\nA/w.avi 0\n")
    assert read_released_names(train, test) == ["A", "B", "C"]
    with pytest.raises(AnnotationError, match=r"train\.csv: class ids have gaps: .* 1 missing"):
        read_released_names(train)
    test.write_text("B/w.avi 0\n")
    with pytest.raises(AnnotationError, match=r"test\.csv, line 1: .*'A' in .*train\.csv:1"):
        read_released_names(train, test)


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
