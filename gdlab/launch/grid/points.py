"""Jobs from a file: columns are keys, rows are jobs, cells are values of Hydra's grammar.

objective,schedule.eta,init.point
himmelblau,0.01,"[1,2]"
rosenbrock,1e-3,"[-1.2,1]"

A column may be a key that only some choices have: its cell is empty, or goes unused, in the rows of
the others.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from gdlab.errors import UsageError
from gdlab.launch.compose import Parser

Row = tuple[str, ...]
Lines = Sequence[tuple[int, Sequence[str]]]


class Empty(str):
    """An override without a value, from an empty cell: fits where the choice lacks the key.

    Attributes:
        words: what is wrong where it does not fit.
    """

    words: str


def read(path: str) -> tuple[tuple[str, ...], list[Row]]:
    """The keys of a file of points, and the overrides of each of its rows.

    In a CSV file a cell is what one would type after `key=`. In a Parquet file a cell is the
    value itself: a text is never read as a number, and what is absent is null. A pandas index
    that has a name is a column, and so are the keys of a partitioned folder.

    Raises:
        UsageError: the file is missing, is neither CSV nor Parquet, or has no row; a column is
            not a key or is there twice; a cell is more than one value (the line is named).
    """
    said = f"hydra.sweeper.points={path}"
    place = Path(path)
    if not path or not place.exists():
        raise UsageError(f"{said}: no such file in {Path.cwd()}")
    kind = "".join(place.suffixes[-2:]).lower() if place.suffix == ".gz" else place.suffix.lower()
    if place.is_dir() or kind in (".parquet", ".pq"):
        keys, table = _parquet(place, said)
    elif kind in (".csv", ".csv.gz"):
        keys, table = _csv(place, said)
    else:
        raise UsageError(f"{said}: takes a .csv, .csv.gz or .parquet file, or a Parquet folder")
    parse = Parser()
    _check_keys(keys, parse, said)
    if not table:
        raise UsageError(f"{said}: has columns but no rows")
    rows = [
        tuple(_line(key, cell, parse, f"{said}: line {at}") for key, cell in zip(keys, cells))
        for at, cells in table
    ]
    return tuple(keys), rows


def _csv(path: Path, said: str) -> tuple[list[str], Lines]:
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rt", newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, skipinitialspace=True, strict=True)
            keys = [cell.strip() for cell in next(lines, [])]
            table = [(lines.line_num, [c.strip() for c in cells]) for cells in lines if cells]
    except (csv.Error, UnicodeDecodeError, OSError, EOFError) as error:
        raise UsageError(f"{said}: is no CSV file ({error})") from error
    if len(keys) == 1 and (found := [mark for mark in ";\t|" if mark in keys[0]]):
        mark = {"\t": "a tab"}.get(found[0], f"'{found[0]}'")
        raise UsageError(f"{said}: its columns are separated by {mark}; takes commas")
    for at, cells in table:
        if len(cells) != len(keys):
            raise UsageError(
                f"{said}: line {at} has {len(cells)} cells, the header {len(keys)} columns; "
                'a list is written in quotes: "[1,2]"'
            )
    return keys, table


def _parquet(path: Path, said: str) -> tuple[list[str], Lines]:
    import pyarrow
    import pyarrow.dataset
    import pyarrow.parquet

    try:
        if path.is_file():  # the names of a data set are unified, and must differ
            _check_once(pyarrow.parquet.read_schema(path).names, said)
        data = pyarrow.dataset.dataset(path, format="parquet", partitioning="hive")
        keys = list(data.schema.names)
        table = data.to_table()
    except UsageError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        words = " ".join(str(error).split())
        raise UsageError(f"{said}: is no Parquet file ({words})") from error
    columns = {}
    for key in keys:
        try:
            columns[key] = [_written(value) for value in table.column(key).to_pylist()]
        except TypeError as error:
            raise UsageError(
                f"{said}: column {key} holds {error}; takes numbers, texts, truths and lists"
            ) from None
    for name, values in _index(data.schema.pandas_metadata, table.num_rows):
        if name is None:
            columns = {key: column for key, column in columns.items() if key != values}
        elif values is not None:
            columns = {name: values, **columns}
    return list(columns), [(i + 1, cells) for i, cells in enumerate(zip(*columns.values()))]


def _index(metadata: Any, rows: int) -> Iterator[tuple[str | None, Any]]:
    """Levels of a pandas index that are no columns yet (name, cells) or are none (None, column)."""
    for level in (metadata or {}).get("index_columns", []):
        if isinstance(level, str):
            if level.startswith("__index_level_"):
                yield None, level  # has no name: numbers of rows
        elif level.get("name") is not None:  # a range, which is kept as its ends
            values = range(level["start"], level["stop"], level["step"])
            yield str(level["name"]), list(map(str, values)) if len(values) == rows else None


def _written(value: Any) -> str:
    """A value as Hydra's grammar writes it."""
    return Override._get_value_element_as_str(_quoted(value))


def _quoted(value: Any) -> Any:
    if isinstance(value, str):
        return QuotedString(text=value, quote=Quote.single)
    if isinstance(value, list):
        return [_quoted(item) for item in value]
    if isinstance(value, dict):
        return {key: _quoted(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float):
        return value
    raise TypeError(type(value).__name__)


def _check_once(keys: Sequence[str], said: str) -> None:
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UsageError(f"{said}: column {twice} is there twice")


def _check_keys(keys: Sequence[str], parse: Parser, said: str) -> None:
    if not keys:
        raise UsageError(f"{said}: is empty; its first line names keys, as objective,seed")
    for key in keys:
        if key.lstrip("+").startswith(("hydra.", "hydra/")):
            raise UsageError(f"{said}: column {key}: Hydra's own configuration is not swept")
        try:
            wrong = not key or key.startswith("~") or parse(f"{key}=0").get_key_element() != key
        except HydraException:
            wrong = True
        if wrong:
            raise UsageError(
                f"{said}: column {key!r} is no key; the first line names keys, as objective,seed"
            )
    _check_once(keys, said)


def _line(key: str, cell: str, parse: Parser, where: str) -> str:
    if cell == "":
        line = Empty(f"{key}=")
        line.words = f"{where}: {key} is empty; write its value, or null"
        return line
    try:
        several = parse(f"{key}={cell}").is_sweep_override()
    except HydraException:
        raise UsageError(
            f"""{where}: {key}={cell} is not in Hydra's grammar; write a text as '{cell}'"""
        ) from None
    if several:
        raise UsageError(f"{where}: {key}={cell} is more than one value; a list is [{cell}]")
    return f"{key}={cell}"
