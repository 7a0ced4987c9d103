"""Tables with a row a video as Parquet files, which pandas, Polars and DuckDB read as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from devias.errors import DeviasError
from devias.files import atomic_path


class ParquetError(DeviasError, ValueError):
    """A file that is no Parquet table, or lacks a column; names the file."""


def write_parquet(
    path: Path | str,
    columns: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a table atomically.

    Args:
        path: of the file.
        columns: values by name, all of one length; arrays `[N, D]` become a list of D a row, and
            Arrow's own arrays keep their type.
        metadata: of the whole table, as what a score is.
    """
    write_parquet_parts(path, [columns], metadata)


def write_parquet_parts(
    path: Path | str,
    parts: Iterable[Mapping[str, Any]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a table atomically whose rows are not all in memory at once.

    Args:
        path: of the file.
        parts: at least one; the columns of some rows each, as in `write_parquet`, all of the same
            names and types.
        metadata: of the whole table.
    """
    with atomic_path(path) as temporary, ExitStack() as stack:
        writer = None
        for columns in parts:
            arrays = {name: _array(values) for name, values in columns.items()}
            table = pa.table(arrays).replace_schema_metadata(dict(metadata or {}))
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(temporary, table.schema))
            writer.write_table(table)


def read_parquet(path: Path | str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table, or some of its columns.

    Raises:
        FileNotFoundError: there is no such file.
        ParquetError: it is no Parquet table, or lacks a column.
    """
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if missing := [name for name in columns or () if name not in names]:
                raise ParquetError(f"{path}: no column {missing[0]!r} among {', '.join(names)}")
            return file.read(columns)
    except pa.ArrowException as error:
        raise ParquetError(f"{path}: no Parquet table ({error})") from error


def to_numpy(table: pa.Table, name: str) -> np.ndarray:
    """A column as an array; lists of D a row as `[N, D]`."""
    column = table.column(name).combine_chunks()
    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy().reshape(len(column), column.type.list_size)
    return column.to_numpy(zero_copy_only=False)


def _array(values: Any) -> pa.Array:
    """One column."""
    if isinstance(values, pa.Array):
        return values
    if getattr(values, "ndim", 1) == 2:
        flat = pa.array(values.reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return pa.array(values)
