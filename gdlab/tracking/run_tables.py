"""Tables that a run keeps as files: its record, its end points, what was reached."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gdlab.analysis.endings import COORDINATES, POINTS
from gdlab.types import Record, Records, Verdict


def points_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """What was reached: one row a point (or a kind, where there is no point), most frequent first.

    Columns: point, kind, index, reached, count, share, f, grad_norm, certified, x0 ...
    """
    rows: dict[Any, dict[str, Any]] = {}
    for v in verdicts:
        place = (v.reached,) if v.reached is not None else tuple(np.round(v.x, 6) + 0.0)
        key = (v.kind, v.index, place if v.kind in POINTS else None)
        row = rows.setdefault(
            key,
            {
                "point": v.label,
                "kind": v.kind,
                "index": v.index,
                "reached": v.reached,
                "count": 0,
                "share": 0.0,
                "f": v.value,
                "grad_norm": v.grad_norm,
                "certified": v.certified,
                **{f"x{i}": x for i, x in enumerate(v.x[:COORDINATES])},
            },
        )
        row["count"] += 1
    if not rows:
        return pd.DataFrame(columns=["point", "kind", "index", "reached", "count", "share", "f"])
    table = pd.DataFrame(rows.values())
    table["share"] = table["count"] / len(verdicts)
    table = table.astype({"index": "Int64", "reached": "Int64"})
    return table.sort_values(["count", "f"], ascending=[False, True], ignore_index=True)


def record_table(record: Record) -> pd.DataFrame:
    """The full record, one row a recorded step, with the path as `x0 ...` where it was kept."""
    table = pd.DataFrame(dict(record.columns))
    if record.path is not None:
        for i in range(record.path.shape[1]):
            table[f"x{i}"] = record.path[:, i]
    return table


def ends_table(records: Records, x0: np.ndarray) -> pd.DataFrame:
    """End points of many starts, a row each: start, end, steps, status, loss, kind, reached."""
    table = pd.DataFrame({"steps": records.steps, "status": records.status})
    for name in ("loss", "grad_norm", "gap", "distance"):
        if name in records.columns:
            table[name] = records.final(name)
    for i in range(min(x0.shape[1], COORDINATES)):
        table[f"start{i}"], table[f"x{i}"] = x0[:, i], records.x[:, i]
    if records.verdicts is not None:
        table["kind"] = [v.kind for v in records.verdicts]
        table["index"] = pd.array([v.index for v in records.verdicts], dtype="Int64")
        table["reached"] = pd.array([v.reached for v in records.verdicts], dtype="Int64")
    else:  # for whoever reads the table, as what is missing
        table["kind"] = "not judged"
        table["index"] = table["reached"] = pd.array([None] * len(table), dtype="Int64")
    return table


def parquet(table: pd.DataFrame) -> bytes:
    """A table as the bytes of a Parquet file."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()
