import numpy as np
import pytest

from devias.parquet import (
    ParquetError,
    read_parquet,
    to_numpy,
    write_parquet,
    write_parquet_parts,
)


def test_rows_come_back_with_vectors_and_metadata(tmp_path):
    slots = np.arange(15, dtype=np.float16).reshape(3, 5)
    write_parquet(tmp_path / "a.parquet", {"video": ["ä", "b", "c"], "slot": slots}, {"of": "x"})
    table = read_parquet(tmp_path / "a.parquet")
    assert table["video"].to_pylist() == ["ä", "b", "c"]
    np.testing.assert_array_equal(np.array(table["slot"].to_pylist()), slots)
    assert table.schema.metadata == {b"of": b"x"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_no_row_is_a_table_too(tmp_path):
    write_parquet(tmp_path / "a.parquet", {"slot": np.empty((0, 5), np.float32)})
    assert len(read_parquet(tmp_path / "a.parquet", ["slot"])) == 0


def test_unequal_columns_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match="length"):
        write_parquet(tmp_path / "a.parquet", {"a": [1], "b": [1, 2]})
    assert not list(tmp_path.iterdir())


def test_what_is_no_table_or_lacks_a_column_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    with pytest.raises(FileNotFoundError):
        read_parquet(path)
    path.write_bytes(b"PAR1 or not")
    with pytest.raises(ParquetError, match=r"a\.parquet: no Parquet table"):
        read_parquet(path)
    write_parquet(path, {"a": [1]})
    with pytest.raises(ParquetError, match=r"no column 'b' among a"):
        read_parquet(path, ["b"])


def test_parts_make_one_table_and_columns_become_arrays(tmp_path):
    slots = np.arange(15, dtype=np.float16).reshape(5, 3)
    parts = ({"n": np.arange(5)[part], "slot": slots[part]} for part in (slice(2), slice(2, 5)))
    write_parquet_parts(tmp_path / "a.parquet", parts, {"of": "x"})
    table = read_parquet(tmp_path / "a.parquet")
    assert table.schema.metadata == {b"of": b"x"}
    np.testing.assert_array_equal(to_numpy(table, "n"), np.arange(5))
    assert to_numpy(table, "slot").dtype == np.float16
    np.testing.assert_array_equal(to_numpy(table, "slot"), slots)
