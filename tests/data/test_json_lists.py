import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devias.data.annotations import AnnotationError
from devias.data.datasets import activitynet, diving48, ssv2
from devias.data.json_lists import field, read_entries, read_entry_records, read_members
from devias.data.records import VideoRecord


def label(entry, source):
    return field(entry, "label", int), source


def test_entries_are_numbered_from_1(tmp_path):
    path = tmp_path / "list.json"
    path.write_bytes(b"\xef\xbb\xbf" + b'[{"label": 3},\r\n {"label": 0, "more": []}]')
    assert read_entries(path, label) == [(3, f"{path}, entry 1"), (0, f"{path}, entry 2")]


def test_members_are_named(tmp_path):
    path = tmp_path / "list.json"
    path.write_text('{"version": 1, "database": {"é": {"label": 3}, "b": {"label": 4}}}')

    def parse(member, source):
        return member[0], *label(member[1], source)

    rows = read_members(path, parse, below="database")
    assert rows == [("é", 3, f"{path}, entry é"), ("b", 4, f"{path}, entry b")]
    with pytest.raises(AnnotationError, match="expected an object with 'data', got an object"):
        read_members(path, parse, below="data")
    with pytest.raises(AnnotationError, match=r"entry version: expected an object .* got 1"):
        read_members(path, parse)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", ": not JSON: Expecting value: line 1"),
        (b'[{"label": 1}\n{"label": 1}]', ": not JSON: .*line 2 column 1"),
        (b'[{"label": "\xff"}]', ": not UTF-8"),
        (b"[" * 100_000, ": not JSON: maximum recursion depth"),
        (b"[" + b"9" * 5000 + b"]", ": not JSON: Exceeds the limit"),
        (b'{"label": 1}', ": expected a list, got an object"),
        (b"[]", ": the list is empty"),
        (b"[3]", ", entry 1: expected an object with 'label', got 3"),
        (b'[{"label": 1}, {"name": 1}]', ", entry 2: expected an object with 'label', got an obj"),
        (b'[{"label": "1"}]', ", entry 1: expected 'label' to be an integer, got \"1\""),
        (b'[{"label": 1.5}]', ", entry 1: expected 'label' to be an integer, got 1.5"),
        (b'[{"label": true}]', ", entry 1: expected 'label' to be an integer, got true"),
        (b'[{"label": [1]}]', ", entry 1: expected 'label' to be an integer, got a list"),
    ],
)
def test_errors_name_file_and_entry(tmp_path, content, why):
    path = tmp_path / "list.json"
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=rf"list\.json{why}"):
        read_entries(path, label)


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(AnnotationError, match="cannot be read: Is a directory"):
        read_entries(tmp_path, label)
    with pytest.raises(FileNotFoundError):
        read_entries(tmp_path / "none", label)


def test_many_broken_entries_are_counted(tmp_path):
    path = tmp_path / "list.json"
    path.write_text(json.dumps([{"label": n if n % 100 else "x"} for n in range(10_000)]))
    with pytest.raises(AnnotationError, match=r"list\.json, entry 1: .* got \"x\"") as caught:
        read_entries(path, label)
    _, *others, count = str(caught.value).splitlines()
    assert [row.split(":")[0] for row in others] == [f"  entry {n}01" for n in (1, 2, 3, 4)]
    assert count == "  100 of 10000 rows are broken"


@pytest.mark.parametrize("name", ["a\\u0000", "\\ud800", "a\\n"])
def test_strings_that_no_file_is_called_are_refused(tmp_path, name):
    path = tmp_path / "list.json"
    path.write_text(f'[{{"name": "{name}"}}]')
    with pytest.raises(AnnotationError, match=r"entry 1: (the control character|byte|U)"):
        read_entries(path, lambda entry, source: field(entry, "name", str))


def test_no_video_twice(tmp_path):
    path = tmp_path / "list.json"
    path.write_text('["a", "b", "a"]')
    with pytest.raises(AnnotationError, match=r"entry 3: the same video as in .*, entry 1, a"):
        read_entry_records(path, lambda entry, source: VideoRecord(entry, source=source))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text("a./\0", max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["vid_name", "label", "id", "template", "database", "subset", "annotations"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(VALUES)
@settings(deadline=None)  # it writes files
def test_no_content_raises_another_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(content))
    for parse in (
        lambda: diving48.read_official_list(path, path.parent),
        lambda: diving48.read_vocabulary(path),
        lambda: ssv2.read_official_list(path, path.parent, ["a"]),
        lambda: ssv2.read_labels(path),
        lambda: activitynet.read_segments(path),
    ):
        try:
            parse()
        except AnnotationError as error:
            assert str(path) in str(error)  # noqa: PT017
