"""Columns as Parquet files, and back.

`pyarrow.array` and `read_table` import pandas (0.4 s) to see whether they were given some of it;
what goes through buffers and `ParquetFile` needs none.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa


def array(values: Any) -> pa.Array:
    """A column: a NumPy array of numbers or bools, or a list of texts, or of numbers and None.

    A list without a text and without a float is one of whole numbers.
    """
    import pyarrow as pa

    if isinstance(values, list):
        if any(isinstance(v, str) for v in values):
            return _texts(values)
        if any(isinstance(v, float) for v in values):
            return array(np.array([np.nan if v is None else v for v in values], dtype=np.float64))
        there = np.array([v is not None for v in values], dtype=bool)
        known = np.array([0 if v is None else int(v) for v in values], dtype=np.int64)
        return _buffered(pa.int64(), known, there)
    values = np.ascontiguousarray(values)
    if values.dtype == bool:
        bits = np.packbits(values, bitorder="little")
        return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])
    return _buffered(pa.from_numpy_dtype(values.dtype), values)


def named(owner: np.ndarray, names: Sequence[str]) -> pa.DictionaryArray:
    """A column of texts that repeat: `names[owner]`."""
    import pyarrow as pa

    codes = _buffered(pa.int32(), np.ascontiguousarray(owner, dtype=np.int32))
    return pa.DictionaryArray.from_arrays(codes, _texts(names))


def table(columns: Mapping[str, Any]) -> pa.Table:
    """Columns, each an Arrow array or what `array` takes, as a table."""
    import pyarrow as pa

    arrow = (pa.Array, pa.ChunkedArray)
    made = [v if isinstance(v, arrow) else array(v) for v in columns.values()]
    return pa.Table.from_arrays(made, list(columns))


def content(columns: Mapping[str, Any]) -> bytes:
    """Columns as the bytes of a Parquet file."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table(columns), buffer, compression="zstd")
    return buffer.getvalue()


def columns(source: bytes | Path, wanted: Set[str] | None = None) -> dict[str, np.ndarray]:
    """The columns of a Parquet file, or those that are wanted; texts as objects."""
    return arrays(read(source, wanted))


def arrays(table: pa.Table) -> dict[str, np.ndarray]:
    """A table's columns as NumPy arrays."""
    return {name: numbers(table[name]) for name in table.column_names}


def numbers(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """A column as a NumPy array; texts as objects, numbers with gaps as floats with NaN."""
    import pyarrow as pa

    kind = column.type
    if column.null_count or not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    dtype = np.dtype(kind.to_pandas_dtype())
    parts = [
        np.frombuffer(c.buffers()[1], dtype, count=len(c), offset=c.offset * dtype.itemsize)
        for c in chunks
        if len(c)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, dtype)


def read(source: bytes | Path, wanted: Set[str] | None = None) -> pa.Table:
    """A Parquet file's table, or its columns that are wanted."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
        names = [n for n in file.schema_arrow.names if wanted is None or n in wanted]
        return file.read(columns=names)


def _buffered(kind: pa.DataType, values: np.ndarray, there: np.ndarray | None = None) -> pa.Array:
    import pyarrow as pa

    valid = None
    if there is not None and not there.all():
        valid = pa.py_buffer(np.packbits(there, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(values)])


def _texts(values: Sequence[str]) -> pa.Array:
    import pyarrow as pa

    encoded = [value.encode() for value in values]
    ends = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum([len(text) for text in encoded], out=ends[1:])
    data = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), data)
