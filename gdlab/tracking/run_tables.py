"""Tables that a run keeps as files, by columns: its record, its end points, what was reached."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from gdlab.analysis.endings import COORDINATES, POINTS
from gdlab.types import Record, Records, Verdict

COLUMNS = ("point", "kind", "index", "reached", "count", "share", "f", "grad_norm", "certified")


def points(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """What was reached: one row a point (or a kind, where there is no point), most frequent first.

    Keys: `COLUMNS`, then x0 ...
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
                **{f"x{i}": float(x) for i, x in enumerate(v.x[:COORDINATES])},
            },
        )
        row["count"] += 1
    for row in rows.values():
        row["share"] = row["count"] / len(verdicts)
    # What has no value comes last.
    return sorted(rows.values(), key=lambda r: (-r["count"], r["f"] != r["f"], r["f"]))


def points_csv(verdicts: Sequence[Verdict]) -> bytes:
    """`points` as CSV, with empty cells for what is missing."""
    rows = points(verdicts)
    lines = io.StringIO()
    write = csv.DictWriter(lines, list(rows[0]) if rows else COLUMNS[:7], lineterminator="\n")
    write.writeheader()
    write.writerows({k: "" if v is None or v != v else v for k, v in row.items()} for row in rows)
    return lines.getvalue().encode()


def record_columns(record: Record) -> dict[str, np.ndarray]:
    """The full record, one row a recorded step, with the path as `x0 ...` where it was kept."""
    columns = dict(record.columns)
    if record.path is not None:
        for i in range(record.path.shape[1]):
            columns[f"x{i}"] = record.path[:, i]
    return columns


def end_columns(records: Records, x0: np.ndarray) -> dict[str, Any]:
    """End points of many starts, a row each: start, end, steps, status, loss, kind, reached."""
    columns: dict[str, Any] = {"steps": records.steps, "status": records.status.tolist()}
    for name in ("loss", "grad_norm", "gap", "distance"):
        if name in records.columns:
            columns[name] = records.final(name)
    for i in range(min(x0.shape[1], COORDINATES)):
        columns[f"start{i}"], columns[f"x{i}"] = x0[:, i], records.x[:, i]
    if records.verdicts is not None:
        columns["kind"] = [v.kind for v in records.verdicts]
        columns["index"] = [v.index for v in records.verdicts]
        columns["reached"] = [v.reached for v in records.verdicts]
    else:  # for whoever reads the table, as what is missing
        columns["kind"] = ["not judged"] * len(records.x)
        columns["index"] = columns["reached"] = [None] * len(records.x)
    return columns
