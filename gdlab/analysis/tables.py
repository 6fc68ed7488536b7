"""Tables of runs: wide, and as text in which a number always looks the same.

A table is a DataFrame, or columns by name: what only writes text needs no pandas.
"""

from __future__ import annotations

import csv as quoted
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gdlab.analysis.numbers import TINY, digits_of, is_na
from gdlab.analysis.parameters import is_parameter

if TYPE_CHECKING:
    import pandas as pd

    Table: TypeAlias = pd.DataFrame | Mapping[str, Sequence[Any]]

FLOAT = ".12g"


def wide(
    runs: pd.DataFrame,
    rows: str | Sequence[str],
    columns: str,
    value: str,
    aggregate: Any = "median",
) -> pd.DataFrame:
    """One row for each of `rows`, a column for each of `columns`; cells are medians of `value`."""
    table = runs.pivot_table(index=rows, columns=columns, values=value, aggfunc=aggregate)
    table.columns = [str(c) for c in table.columns]
    return table.reset_index()


def text(value: Any, form: str = FLOAT) -> str:
    """A cell: floats in a fixed format, zero without sign or rest, nothing for what is missing."""
    if value is None or is_na(value) or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        number = float(value)
        return format(0.0 if abs(number) < TINY else number, form)
    return str(value)


def csv(table: Table, forms: Mapping[str, str] | None = None) -> str:
    """The table as CSV with fixed float formats: equal numbers give equal bytes.

    Args:
        forms: column -> format of its floats (default 12 digits).
    """
    texts = _texts(table, forms)
    lines = io.StringIO()
    write = quoted.writer(lines, lineterminator="\n")
    write.writerow(texts)
    write.writerows(zip(*texts.values()))
    return lines.getvalue()


def markdown(table: Table, forms: Mapping[str, str] | None = None, most: int | None = None) -> str:
    """The table in Markdown: numbers to the right, bars escaped, columns aligned.

    Args:
        forms: column -> format of its floats (default 6 digits, of parameters as many as it takes
            to tell the settings apart).
        most: rows, the first ones.
    """
    shown = {name: cells[:most] for name, cells in _columns(table).items()}
    forms = {**_of_parameters(shown), **(forms or {})}
    texts = {
        name.replace("|", "\\|"): [cell.replace("|", "\\|") for cell in cells]
        for name, cells in _texts(shown, forms, ".6g").items()
    }
    right = [_is_numeric(cells) for cells in shown.values()]
    widths = [max(3, len(head), *map(len, cells), 0) for head, cells in texts.items()]

    def line(cells: Sequence[str]) -> str:
        padded = [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(cells, widths, right)]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right)]
    return "\n".join([line(list(texts)), line(rule), *map(line, zip(*texts.values()))]) + "\n"


def _is_numeric(cells: Sequence[Any]) -> bool:
    """Whether a column has numbers, and nothing but numbers and gaps."""
    there = [v for v in cells if v is not None and not is_na(v)]
    return bool(there) and all(isinstance(v, int | float | np.number | np.bool_) for v in there)


def _of_parameters(columns: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """Formats with the digits that it takes to tell the settings of a column apart."""
    real = {
        name: [v for v in cells if isinstance(v, float)]
        for name, cells in columns.items()
        if is_parameter(name)
    }
    return {name: f".{digits_of(values)}g" for name, values in real.items()}


def _columns(table: Table) -> dict[str, list[Any]]:
    return {str(name): list(cells) for name, cells in table.items()}


def _texts(
    table: Table, forms: Mapping[str, str] | None, default: str = FLOAT
) -> dict[str, list[str]]:
    forms = forms or {}
    return {
        name: [text(v, forms.get(name, default)) for v in cells]
        for name, cells in _columns(table).items()
    }
