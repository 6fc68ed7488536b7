"""Jobs from a file: columns are keys, rows are jobs, cells are values of Hydra's grammar.

objective,schedule.eta,init.point
himmelblau,0.01,"[1,2]"
rosenbrock,1e-3,"[-1.2,1]"
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from gdlab.errors import UsageError
from gdlab.launch.compose import Parser

Row = tuple[str, ...]


def read(path: str) -> tuple[tuple[str, ...], list[Row]]:
    """The keys of a file of points, and the overrides of each of its rows.

    In a CSV file a cell is what one would type after `key=`. In a Parquet file a cell is the
    value itself: a text is never read as a number.

    Raises:
        UsageError: the file is missing, is neither CSV nor Parquet, or has no row; a column is
            not a key; a cell is empty or more than one value (the line is named).
    """
    said = f"hydra.sweeper.points={path}"
    if not Path(path).is_file():
        raise UsageError(f"{said}: no such file in {Path.cwd()}")
    suffix = Path(path).suffix.lower()
    if suffix == ".csv":
        keys, table = _csv(Path(path), said)
    elif suffix in (".parquet", ".pq"):
        keys, table = _parquet(Path(path), said)
    else:
        raise UsageError(f"{said}: takes a .csv or a .parquet file")
    parse = Parser()
    for key in keys:
        _check_key(key, parse, said)
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UsageError(f"{said}: column {twice} is there twice")
    if not keys:
        raise UsageError(f"{said}: is empty; its first line names keys, as objective,seed")
    if not table:
        raise UsageError(f"{said}: has columns but no rows")
    rows = []
    for at, cells in table:
        for key, cell in zip(keys, cells):
            _check_cell(key, cell, parse, f"{said}: line {at}")
        rows.append(tuple(f"{key}={cell}" for key, cell in zip(keys, cells)))
    return tuple(keys), rows


def _csv(path: Path, said: str) -> tuple[list[str], list[tuple[int, Sequence[str]]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, skipinitialspace=True, strict=True)
            keys = [cell.strip() for cell in next(lines, [])]
            table = [(lines.line_num, [c.strip() for c in cells]) for cells in lines if cells]
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{said}: is no CSV file ({error})") from error
    for at, cells in table:
        if len(cells) != len(keys):
            raise UsageError(
                f"{said}: line {at} has {len(cells)} cells, the header {len(keys)} columns; "
                'a list is written in quotes: "[1,2]"'
            )
    return keys, table


def _parquet(path: Path, said: str) -> tuple[list[str], list[tuple[int, Sequence[str]]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise UsageError(f"{said}: is no Parquet file ({error})") from error
    index = (table.schema.pandas_metadata or {}).get("index_columns", [])  # rows' names, no keys
    keys = [
        name
        for name in table.column_names
        if name not in index and not name.startswith("__index_level_")
    ]
    columns = []
    for key in keys:
        try:
            columns.append([_written(value) for value in table.column(key).to_pylist()])
        except TypeError as error:
            raise UsageError(
                f"{said}: column {key} holds {error}; takes numbers, texts, truths and lists"
            ) from None
    return keys, [(i + 1, cells) for i, cells in enumerate(zip(*columns))]


def _written(value: Any) -> str:
    """A value as Hydra's grammar writes it; an absent one as nothing."""
    return "" if value is None else Override._get_value_element_as_str(_quoted(value))


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


def _check_key(key: str, parse: Parser, said: str) -> None:
    try:
        wrong = not key or key.startswith("~") or parse(f"{key}=0").get_key_element() != key
    except HydraException:
        wrong = True
    if key.lstrip("+").startswith(("hydra.", "hydra/")):
        raise UsageError(f"{said}: column {key}: Hydra's own configuration is not swept")
    if wrong:
        raise UsageError(
            f"{said}: column {key!r} is no key; the first line names keys, as objective,seed"
        )


def _check_cell(key: str, cell: str, parse: Parser, where: str) -> None:
    if cell == "":
        raise UsageError(f"{where}: {key} is empty; write its value, or null")
    try:
        several = parse(f"{key}={cell}").is_sweep_override()
    except HydraException:
        raise UsageError(
            f"""{where}: {key}={cell} is not in Hydra's grammar; write a text as '{cell}'"""
        ) from None
    if several:
        raise UsageError(f"{where}: {key}={cell} is more than one value; a list is [{cell}]")
