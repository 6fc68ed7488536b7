"""Rows of a store as columns: one row a run, or one row a recorded step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


Triples = list[tuple[str, str, Any]]  # (run id, name, value)


def pivot(
    triples: Iterable[tuple[str, str, Any]], place: dict[str, int], convert: Any
) -> dict[str, list[Any]]:
    """(run id, name, value) -> name -> values by run, NaN where missing; names sorted."""
    columns: dict[str, list[Any]] = {}
    known: dict[Any, Any] = {}
    n = len(place)
    for run_id, name, value in triples:
        i = place.get(run_id)
        if i is None:
            continue
        if convert is not None:
            try:
                value = known[value]
            except KeyError:
                value = known.setdefault(value, convert(value))
        try:
            columns[name][i] = value
        except KeyError:
            columns[name] = [np.nan] * n
            columns[name][i] = value
    return dict(sorted(columns.items()))


def frame(rows: list[tuple[str, int, float]], code: dict[str, int]) -> pd.DataFrame:
    """(run id, step, value) -> columns `code`, `step`, `value`, sorted; of unknown runs, none."""
    import pandas as pd

    ids, steps, values = zip(*rows) if rows else ((), (), ())
    codes = np.fromiter((code.get(run_id, -1) for run_id in ids), np.int64, len(ids))
    step = np.array(steps, dtype=np.int64)
    order = np.lexsort((step, codes))
    order = order[codes[order] >= 0]
    value = np.array(values, dtype=np.float64)
    return pd.DataFrame({"code": codes[order], "step": step[order], "value": value[order]})
