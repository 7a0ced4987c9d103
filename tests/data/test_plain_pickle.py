"""Pickles of plain values are read as `pickle` reads them; all others are refused, unrun."""

import os
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devias.data.plain_pickle import MAX_BYTES, MAX_DEPTH, PickleError, load_plain_pickle

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
    | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3)
    | st.tuples(inner, inner)
    | st.tuples(inner, inner, inner, inner)
    | st.dictionaries(st.text() | st.integers(0, 9), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def read(tmp_path, content):
    path = tmp_path / "pairs.pickle"
    path.write_bytes(content)
    return load_plain_pickle(path)


@given(value=PLAIN, protocol=st.integers(3, 5))
@settings(deadline=None, max_examples=40)  # it writes files
def test_plain_values_come_back(tmp_path_factory, value, protocol):
    assert read(tmp_path_factory.mktemp("pickle"), pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(6))
def test_all_protocols(tmp_path, protocol):
    shared = ["Archery/v", "150", 2**40, -1, 0.5, True, None]
    value = {"a b/c": shared, "d": (shared, (), {}, [], ("x",), (1, 2), (1, 2, 3), (1, 2, 3, 4))}
    result = read(tmp_path, pickle.dumps(value, protocol))
    assert result == value
    assert result["a b/c"] is result["d"][0]


def test_strings_of_python_2(tmp_path):
    assert read(tmp_path, b"(dp0\nS'a/b'\np1\n(lp2\nI7\naI01\nas.") == {"a/b": [7, True]}


class Evil:
    def __reduce__(self):
        return os.system, ("touch hacked",)


class Plain:
    def __init__(self):
        self.x = 1


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value", [Evil(), [Plain()], {"a": {1}}, os.path.join, bytearray(b"a"), 1j]
)
def test_what_names_code_is_refused_unrun(tmp_path, monkeypatch, value, protocol):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        PickleError, match=r"pairs\.pickle: not a pickle .*plain values do not need"
    ):
        read(tmp_path, pickle.dumps(value, protocol))
    assert not (tmp_path / "hacked").exists()


def laughs(levels):
    """A list of lists, each of which holds the one before ten times, through the memo."""
    program = b"\x80\x04(]K\x01a\x94"
    for level in range(levels):
        program += b"](" + (b"h%c" % level) * 10 + b"e\x94"
    return program + b"l."


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "pickle exhausted"),
        (b"hello", "not a pickle of plain values"),
        (b"\x80\x04", "pickle exhausted"),
        (b"\x80\x04.", "leaves 0 values"),
        (b"\x80\x04K\x01K\x02.", "leaves 2 values"),
        (b"\x80\x04(.", "leaves 1 values"),
        (b"\x80\x04K\x01e.", "has not begun"),
        (b"\x80\x04K\x01K\x02a.", "where none can be"),
        (b"\x80\x04a.", "where none can be"),
        (b"\x80\x04h\x07.", "value 7, which it has not made"),
        (b"\x80\x04}(K\x01u.", "a key without a value"),
        (b"\x80\x04}]K\x01s.", "a key that is a list"),
        (b"\x80\x04})K\x01s.", "a key that is a tuple"),
        (b"\x80\x04\x8b\x00\x00\x00\x10" + b"\xff" * 9 + b".", "not a pickle"),
        (b"\x80\x04\x8a\x09" + b"\x01" * 9 + b".", "an integer of 65 bits"),
        (b"L" + b"9" * 5000 + b"L\n.", "not a pickle of plain values"),
        (b"I" + b"9" * 5000 + b"\n.", "not a pickle of plain values"),
        (b"\x80\x04X\xff\xff\xff\x7fab.", "not a pickle of plain values"),
        (b"\x80\x04\x8d" + b"\xff" * 8 + b"ab.", "not a pickle of plain values"),
        (b"\x80\x04]\x94h\x00a.", "containers within each other"),
        (b"\x80\x02cos\nsystem\n(S'touch hacked'\ntR.", "it uses GLOBAL"),
        (b"\x80\x02(S'touch hacked'\nios\nsystem\n.", "it uses INST"),
        (b"\x80\x02\x82\x01.", "it uses EXT1"),
        (b"\x80\x02K\x01Q.", "it uses BINPERSID"),
        (laughs(9), "more than 2097152 items"),
        (pickle.dumps(nested(MAX_DEPTH + 1)), "deep"),
        (pickle.dumps(nested(400)), "deep"),
        (b"]" * 100_000 + b"a" * 99_999 + b".", "deep"),
    ],
)  # fmt: skip
def test_damaged_and_hostile_files_are_refused_and_named(tmp_path, content, why):
    with pytest.raises(PickleError, match=rf"pairs\.pickle: .*{why}"):
        read(tmp_path, content)


def test_within_the_bounds(tmp_path):
    assert read(tmp_path, pickle.dumps(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    assert len(read(tmp_path, laughs(4))[4][9]) == 10


def test_a_number_of_the_memo_takes_no_memory(tmp_path):
    assert read(tmp_path, b"\x80\x02K\x01r\xff\xff\xff\x7f.") == 1


def test_depth_counts_from_the_outermost(tmp_path):
    """A list looked at first where it stands high may stand too low elsewhere."""
    shared = nested(MAX_DEPTH - 2)
    assert read(tmp_path, pickle.dumps([shared, [shared]]))
    with pytest.raises(PickleError, match="deep"):
        read(tmp_path, pickle.dumps([shared, [[shared]]]))


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_truncated_file_is_refused(tmp_path, cut):
    content = pickle.dumps({"Archery/v_Archery_g01_c01": ["Bowling/v_Bowling_g01_c01", 150, 5]})
    with pytest.raises(PickleError, match=r"pairs\.pickle"):
        read(tmp_path, content[:-cut])


def test_a_large_file_is_not_read(tmp_path):
    with pytest.raises(PickleError, match="more than 16777216 bytes"):
        read(tmp_path, b"\0" * (MAX_BYTES + 1))
    with pytest.raises(FileNotFoundError):
        load_plain_pickle(tmp_path / "none.pickle")
