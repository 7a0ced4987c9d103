"""Tables with a row a video as Parquet files, which pandas, Polars and DuckDB read as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
        columns: values by name, all of one length; arrays `[N, D]` become a list of D a row.
        metadata: of the whole table, as what a score is.
    """
    arrays = {name: _array(values) for name, values in columns.items()}
    table = pa.table(arrays).replace_schema_metadata(dict(metadata or {}))
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


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


def _array(values: Any) -> pa.Array:
    """One column."""
    if getattr(values, "ndim", 1) == 2:
        flat = pa.array(values.reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return pa.array(values)
