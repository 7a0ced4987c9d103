"""Every list, whatever its bytes, is read or refused by name."""

import csv
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devias.data.annotations import (
    AnnotationError,
    RowError,
    class_number,
    first_line,
    read_csv,
    read_records,
    read_rows,
    relative_path,
    split_row,
)
from devias.data.class_names import read_class_index
from devias.data.datasets import activitynet, hmdb51, hvu
from devias.data.datasets.places365 import read_image_list
from devias.data.datasets.synthetic.annotations import read_split
from devias.data.datasets.ucf101 import read_split_list
from devias.data.numbered_splits import read_released_list
from devias.data.path_lists import read_path_list
from devias.data.records import VideoRecord
from devias.data.scene_classes import read_categories

ROWS = "A/v.avi 0\nB/ü\u3000\u00a0w.avi 1\n"
VIDEOS = Path("videos")


def read(folder: Path, content: bytes) -> list[VideoRecord]:
    path = folder / "list.txt"
    path.write_bytes(content)
    return read_released_list(path, VIDEOS)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r", "\n\n"])
def test_marks_endings_and_spaces(tmp_path, mark, ending):
    content = mark + ROWS.replace("\n", ending).encode()
    for end in (content, content.rstrip()):
        assert [(r.path, r.action) for r in read(tmp_path, end)] == [
            (VIDEOS / "A" / "v.avi", 0),
            (VIDEOS / "B" / "ü\u3000\u00a0w.avi", 1),
        ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", ": the list is empty"),
        (b"\xef\xbb\xbf\r\n \n", ": the list is empty"),
        (ROWS.encode("utf-16"), ", line 1: byte 0xff is not UTF-8"),
        (ROWS.encode("utf-16-be"), r", line 1: the control character U\+0000"),
        (ROWS.encode("latin-1", "replace"), ", line 2: byte 0xfc is not UTF-8"),
        (b"A/v.avi 0\nA/\x00.avi 0\n", r", line 2: the control character U\+0000"),
        (b"A/v.avi 0\nA/\x1b[2J.avi 0\n", r", line 2: the control character U\+001B"),
        (b"A/v.avi 0\n\xef\xbb\xbfA/w.avi 0\n", r", line 2: the control character U\+FEFF"),
        (b"A/v.avi 0\nA/w.avi " + b"9" * 5000, ", line 2: '999.* … 9*' is not a class number"),
        (b"A/v.avi 0\n" + b"A" * 70_000, ", line 2: longer than 65536 characters"),
        (b"A/v.avi 0\nA/" + b"w" * 300 + b".avi 0\n", ", line 2: 'A/www.* cannot be a file"),
    ],
)
def test_what_is_no_list_is_named(tmp_path, content, why):
    with pytest.raises(AnnotationError, match=rf"list\.txt{why}") as caught:
        read(tmp_path, content)
    assert len(str(caught.value)) < 1000


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(AnnotationError, match="cannot be read: Is a directory"):
        read_rows(tmp_path, lambda text, source: text)
    with pytest.raises(FileNotFoundError):
        read_rows(tmp_path / "none", lambda text, source: text)


def test_many_broken_rows_are_counted(tmp_path):
    rows = [f"A/{n}.avi {0 if n % 100 else 'x'}" for n in range(10_000)]
    with pytest.raises(AnnotationError, match=r"list\.txt, line 1: 'x' is not") as caught:
        read(tmp_path, "\n".join(rows).encode())
    _, *others, count = str(caught.value).splitlines()
    assert [row.split(":")[0] for row in others] == [f"  line {n}01" for n in (1, 2, 3, 4)]
    assert count == "  100 of 10000 rows are broken"


def test_segments_of_a_video_may_repeat(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a.mp4\na.mp4\n")
    records = read_records(path, lambda text, source: VideoRecord(Path(text), start=0.5, end=1.0))
    assert len(records) == 2


def read_columns(folder: Path, content: bytes) -> list[tuple[str, str, int]]:
    path = folder / "list.csv"
    path.write_bytes(content)

    def parse(row: dict[str, str], source: str) -> tuple[str, str, int]:
        return row["a"], row.get("c", "none"), int(source.removeprefix(f"{path}:"))

    return read_csv(path, ("a", "b"), parse)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_csv_fields_by_column(tmp_path, mark, ending):
    lines = [b'b , "a",c', b"", b'1,"x, ""y""",z', "2,ü\u3000,".encode()]
    rows = read_columns(tmp_path, mark + ending.join(lines))
    assert rows == [('x, "y"', "z", 3), ("ü\u3000", "", 4)]
    assert read_columns(tmp_path, b"a,b\n1,2") == [("1", "none", 2)]
    assert first_line(tmp_path / "list.csv") == "a,b"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", ": the list is empty"),
        (b"a,b\n", ": the list is empty"),
        (b"a,c\n1,2\n", ", line 1: the header lacks b, got 'a,c'"),
        (b"\na,b,a\n", ", line 2: the header names a column twice"),
        (b"a,b,\xff\n", ", line 1: byte 0xff is not UTF-8"),
        (b'a,b\n1,2\n1,"2\n3"\n', r", line 3: quotes that do not match[^\n]*\n  line 4: 1 fields"),
        (b'a,b\n1,"2"3\n', ", line 2: quotes that do not match"),
        (b"a,b\n1,2,3\n", ", line 2: 3 fields, but the header has 2, got '1,2,3'"),
        (b"a,b\n1,\x00\n", r", line 2: the control character U\+0000"),
    ],
)
def test_csv_errors_name_file_and_line(tmp_path, content, why):
    with pytest.raises(AnnotationError, match=rf"list\.csv{why}"):
        read_columns(tmp_path, content)


FIELDS = st.text("ab,\" é'", max_size=8).filter(lambda text: text == text.lstrip(" "))


@given(st.lists(st.tuples(FIELDS, FIELDS, FIELDS), min_size=1, max_size=4))
@settings(deadline=None)  # it writes files
def test_csv_reads_what_was_written(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "written.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("a", "b", "c"), *rows])
    assert read_csv(path, "abc", lambda row, source: tuple(row[name] for name in "abc")) == rows


def test_rows_are_split_from_the_right():
    layout = "<video> <frames> <label>"
    for row in ("a, b c 12 3", "a, b c,12,3", "a, b c \t12 , 3"):
        assert split_row(row, layout) == ["a, b c", "12", "3"]
    for row in ("12 3", "a\tb 12 3", ",1,2"):
        with pytest.raises(RowError, match="expected '<video> <frames> <label>'"):
            split_row(row, layout)


@pytest.mark.parametrize("text", ["", "-1", "1.0", "+1", "²", "1_0", "٣", "9" * 10])
def test_class_numbers_are_plain_digits(text):
    assert class_number("007") == 7
    with pytest.raises(RowError, match="is not a class number"):
        class_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "./.",
        "/a",
        "..",
        "../a",
        "a/..",
        "a/../../b",
        "a\\..\\b",
        "C:/a",
        "C:\\a",
        "a" * 256,
    ],
)
def test_paths_stay_below_their_folder(text):
    assert relative_path("./a//b c..d/..e.avi") == "a/b c..d/..e.avi"
    assert relative_path("a:b.mp4") == "a:b.mp4"
    with pytest.raises(RowError):
        relative_path(text)


@given(
    st.binary(max_size=60)
    | st.lists(
        st.sampled_from(
            ["A/", "B/", "/", "..", "\\", ".avi", "0", "1", "-1", ",", ":", *"\t\r\n\0ü²"]
        ),
        max_size=20,
    ).map(lambda parts: " ".join(parts).encode())
    | st.text("AB/. ,\t\n01\\", max_size=30).map(str.encode)
)
@settings(deadline=None, max_examples=300)  # it writes files
def test_no_content_raises_another_error(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "lists"
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for kind in ("actions", "scenes"):
        (folder / f"classes_{kind}.txt").write_text("1 A\n2 B\n")
    path = folder / "annotations" / "train.txt"
    path.write_bytes(content)
    for parse in (
        lambda: read_released_list(path, VIDEOS),
        lambda: read_split_list(path, VIDEOS, ["A", "B"]),
        lambda: read_image_list(path, VIDEOS),
        lambda: read_path_list(path, VIDEOS, ["A", "B"]),
        lambda: [*chain(*hmdb51.read_class_list(path, VIDEOS, 0).values())],
        lambda: activitynet.read_released_list(path, lambda video: f"{VIDEOS}/v_{video}.mp4"),
        lambda: hvu.read_released_list(path, VIDEOS),
        lambda: read_split(folder, "train"),
    ):
        try:
            records = parse()
        except AnnotationError as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            assert records
            for record in records:
                assert ".." not in record.path.parts
                assert VIDEOS in record.path.parents or folder / "videos" in record.path.parents
    for parse_names in (read_class_index, read_categories):
        try:
            names = parse_names(path)
        except AnnotationError as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            assert len(set(names)) == len(names) > 0
