"""Tables of runs: wide, and as text in which a number always looks the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gdlab.analysis.numbers import TINY, digits_of
from gdlab.analysis.parameters import is_parameter

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
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        number = float(value)
        return format(0.0 if abs(number) < TINY else number, form)
    return str(value)


def csv(table: pd.DataFrame, forms: Mapping[str, str] | None = None) -> str:
    """The table as CSV with fixed float formats: equal numbers give equal bytes.

    Args:
        forms: column -> format of its floats (default 12 digits).
    """
    return _texts(table, forms).to_csv(index=False, lineterminator="\n")


def markdown(table: pd.DataFrame, forms: Mapping[str, str] | None = None) -> str:
    """The table in Markdown: numbers to the right, bars escaped, columns aligned."""
    forms = {**_of_parameters(table), **(forms or {})}
    texts = _texts(table, forms, ".6g").map(lambda t: t.replace("|", "\\|"))
    right = [pd.api.types.is_numeric_dtype(table[c]) for c in table.columns]
    heads = [str(c).replace("|", "\\|") for c in table.columns]
    widths = [
        max(3, len(head), *(len(t) for t in texts.iloc[:, i])) if len(texts) else max(3, len(head))
        for i, head in enumerate(heads)
    ]

    def line(cells: Sequence[str]) -> str:
        padded = [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(cells, widths, right)]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right)]
    rows = [line(row) for row in texts.itertuples(index=False)]
    return "\n".join([line(heads), line(rule), *rows]) + "\n"


def _of_parameters(table: pd.DataFrame) -> dict[str, str]:
    """Formats with the digits that it takes to tell the settings of a column apart."""
    columns = {str(c): table[c] for c in table.columns if is_parameter(str(c))}
    real = {name: [v for v in column if isinstance(v, float)] for name, column in columns.items()}
    return {name: f".{digits_of(values)}g" for name, values in real.items()}


def _texts(
    table: pd.DataFrame, forms: Mapping[str, str] | None, default: str = FLOAT
) -> pd.DataFrame:
    forms = forms or {}
    columns = {
        str(name): [text(v, forms.get(str(name), default)) for v in table[name]]
        for name in table.columns
    }
    return pd.DataFrame(columns, dtype=object)
