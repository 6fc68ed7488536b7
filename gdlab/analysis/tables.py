"""Tables of runs: wide, ranked, and as text in which a number always looks the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

FLOAT = ".12g"


def swept(runs: pd.DataFrame, among: Sequence[str] | None = None) -> list[str]:
    """Parameters that differ between runs, `seed` last."""
    names = [c for c in runs.columns if "." in c or c in ("steps", "seed")]
    kept = [c for c in (names if among is None else among) if len(set(map(repr, runs[c]))) > 1]
    return sorted(kept, key=lambda name: name == "seed")


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


def hashable(value: Any) -> Any:
    """Lists as tuples, so that runs can be grouped by a parameter such as a start."""
    return tuple(map(hashable, value)) if isinstance(value, list) else value


def leaderboard(
    runs: pd.DataFrame,
    value: str = "loss",
    by: Sequence[str] | None = None,
    over: str = "seed",
    best: int | None = None,
) -> pd.DataFrame:
    """Configurations ranked by the median of `value` over seeds, best (lowest) first.

    Columns: rank, the parameters, median, lowest, highest, n, share diverged. A diverged run
    counts as infinitely bad.

    Args:
        by: parameters that make a configuration; default those that differ, except `over`.
        best: how many rows.
    """
    by = [c for c in swept(runs) if c != over] if by is None else list(by)
    diverged = (runs["status"] == "diverged") if "status" in runs else runs[value].isna()
    scored = runs.assign(_score=runs[value].where(~diverged, np.inf), _diverged=diverged)
    if not by:
        scored, by = scored.assign(configuration="all"), ["configuration"]
    groups = scored.groupby(by, sort=True, dropna=False)
    scores = groups["_score"]
    table = pd.DataFrame(
        {
            "median": scores.agg(_median),
            "lowest": scores.min(),
            "highest": scores.max(),
            "n": scores.count(),
        }
    )
    table["diverged"] = groups["_diverged"].mean()
    table = table.reset_index().sort_values(["median", *by], kind="stable", ignore_index=True)
    table.insert(0, "rank", table["median"].rank(method="min").astype(int))
    return table if best is None else table.head(best)


def _median(values: pd.Series) -> float:
    """Median that may be infinite, not NaN, where inf is among the middle values."""
    ranked = np.sort(values.dropna().to_numpy(float))
    if not len(ranked):
        return float("nan")
    low, high = ranked[(len(ranked) - 1) // 2], ranked[len(ranked) // 2]
    return float(low if low == high else (low + high) / 2)


def text(value: Any, form: str = FLOAT) -> str:
    """A cell: floats in a fixed format, no negative zero, nothing for what is missing."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return format(float(value) + 0.0, form)
    return str(value)


def csv(table: pd.DataFrame, forms: Mapping[str, str] | None = None) -> str:
    """The table as CSV with fixed float formats: equal numbers give equal bytes.

    Args:
        forms: column -> format of its floats (default 12 digits).
    """
    return _texts(table, forms).to_csv(index=False, lineterminator="\n")


def markdown(table: pd.DataFrame, forms: Mapping[str, str] | None = None) -> str:
    """The table in Markdown: numbers to the right, bars escaped, columns aligned."""
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


def _texts(
    table: pd.DataFrame, forms: Mapping[str, str] | None, default: str = FLOAT
) -> pd.DataFrame:
    forms = forms or {}
    columns = {
        str(name): [text(v, forms.get(str(name), default)) for v in table[name]]
        for name in table.columns
    }
    return pd.DataFrame(columns, dtype=object)
