import logging
from pathlib import Path

import pytest

from devias.data.annotations import AnnotationError
from devias.data.class_names import check_classes, read_class_index
from devias.data.records import VideoRecord
from devias.errors import DeviasError


def test_class_index_is_one_based_with_crlf(tmp_path):
    path = tmp_path / "classInd.txt"
    path.write_bytes(b"\xef\xbb\xbf2 Handstand Pushups\r\n1 Archery")
    assert read_class_index(path) == ["Archery", "Handstand Pushups"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1 Archery\nx Bowling\n", ", line 2: 'x' is not a class number"),
        ("1 Archery\n1 Bowling\n", r", line 2: 'Bowling' has the same label as 'Archery' in .*:1"),
        ("1 Archery\n2 Archery\n", r", line 2: 'Archery' has another label than in .*:1"),
        ("1 Archery\n2\n", ", line 2: expected"),
        ("0 Archery\n", ", line 1: expected"),
        ("1 Archery\n3 Bowling\n", ": class ids have gaps: counted from 0, 1 missing"),
        ("999999999 Archery\n", ": class ids have gaps: .* 8, 9 and 999999988 more missing"),
    ],
)
def test_class_index_errors_name_the_file(tmp_path, text, why):
    path = tmp_path / "classInd.txt"
    path.write_text(text)
    with pytest.raises(AnnotationError, match=rf"classInd\.txt{why}"):
        read_class_index(path)


def records(*actions: int) -> list[VideoRecord]:
    return [VideoRecord(Path(f"{number}.avi"), action) for number, action in enumerate(actions)]


def test_classes_without_training_videos_are_warned_of(caplog):
    caplog.set_level(logging.WARNING)
    check_classes("action", ["a", "b", "c"], 3, records(0, 2, 1), {"seen": records(1)})
    check_classes("scene", ["a", "b"], 2, records(0, 1), {"seen": records(1)})  # none is labeled
    assert not caplog.messages
    check_classes(
        "action", ["a", "b", "c"], 3, records(0, 0), {"seen": records(2, 2), "other": records(0)}
    )
    assert caplog.messages == ["no training video of b, c", "2 videos of seen are of these: c"]


def test_names_must_be_as_many_as_classes():
    with pytest.raises(DeviasError, match=r"name 1 action classes, but data\.num_actions=2"):
        check_classes("action", ["a"], 2, records(0), {})
