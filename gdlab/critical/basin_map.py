"""A map of starts: which critical point each leads to, its table and its boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from gdlab.analysis.statistics import wilson
from gdlab.types import Verdict

DIVERGED, UNFINISHED, PLATEAU = -1, -2, -3  # labels of starts that reach no critical point
WORDS = {DIVERGED: "diverged", UNFINISHED: "not converged", PLATEAU: "plateau"}
MANY = "one of many cycles of this period"


@dataclass(frozen=True, eq=False)
class Basins:
    """A map of starts.

    Attributes:
        objective: its name.
        axes: the two coordinates that vary (one, for d = 1), and their values `[r]` each.
        label: of each start `[r, r]` (first index: first coordinate): position in `points`, or
            -1 diverged, -2 not converged, -3 plateau.
        points: verdicts of the critical points that were reached, then of the cycles.
        steps: steps that each start took `[r, r]`.
    """

    objective: str
    axes: tuple[tuple[int, np.ndarray], ...]
    label: Int[np.ndarray, " r *s"]
    points: list[Verdict]
    steps: Int[np.ndarray, " r *s"]

    @property
    def table(self) -> pd.DataFrame:
        """A row a place: point, kind, index, count, share, low, high (95 %), f, reached, x0 ..."""
        labels, counts = np.unique(self.label, return_counts=True)
        n, rows = self.label.size, []
        for label, count in zip(labels.tolist(), counts.tolist(), strict=True):
            found = wilson(count, n)
            row: dict[str, Any] = {
                "point": label, "kind": WORDS.get(label, ""), "index": None, "count": count,
                "share": found.value, "low": found.low, "high": found.high, "f": np.nan,
                "reached": None,
            }  # fmt: skip
            if label >= 0:
                v = self.points[label]
                kind = v.kind
                if kind == "cycle":
                    kind = v.label.replace("cycle", "cycles") if v.note == MANY else v.label
                row |= {"kind": kind, "index": v.index, "f": v.value, "reached": v.reached}
                row |= {f"x{i}": x for i, x in enumerate(v.x[:8])}
            rows.append(row)
        table = pd.DataFrame(rows).astype({"index": "Int64", "reached": "Int64"})
        return table.sort_values("count", ascending=False, ignore_index=True)

    @property
    def boundary(self) -> Bool[np.ndarray, " r *s"]:
        """Starts with a neighbour that goes elsewhere."""
        out = np.zeros(self.label.shape, bool)
        for axis in range(self.label.ndim):
            a = np.moveaxis(self.label, axis, 0)
            apart = a[1:] != a[:-1]
            view = np.moveaxis(out, axis, 0)
            view[1:] |= apart
            view[:-1] |= apart
        return out

    def dimension(self) -> tuple[float, float, pd.DataFrame]:
        """Box dimension of the boundary, its standard error, and the counts (size, boxes)."""
        return box_dimension(self.label)

    def summary(self) -> str:
        """A short text: shares, and the boundary's dimension."""
        lines = [f"{self.objective}: {self.label.size:,} starts"]
        for row in self.table.head(12).to_dict("records"):
            where = ", ".join(
                f"{row[f'x{i}']:.6g}" for i in range(3) if not pd.isna(row.get(f"x{i}", np.nan))
            )
            where = "" if row["kind"].startswith("cycles") else where
            name = f"{row['kind']}{f' at ({where})' if where else ''}"
            lines.append(f"  {row['share']:.4f} [{row['low']:.4f}, {row['high']:.4f}]  {name}")
        D, error, counts = self.dimension()
        if len(counts):
            lines.append(f"boundary: box dimension {D:.3f} +- {error:.3f} (fit over {len(counts)})")
        return "\n".join(lines)


def box_dimension(label: Int[np.ndarray, " r *s"]) -> tuple[float, float, pd.DataFrame]:
    """Box dimension D of the boundary between labels: N(s) ~ s^-D, by least squares in logarithms.

    N(s) counts the boxes of s starts a side in which a start differs from the next one along an
    axis: every pair of neighbours belongs to one box.

    Returns:
        D, the standard error of the fit, and the table of box sizes and counts. The table is empty
        and D is NaN where fewer than three sizes have boxes.
    """
    mask = np.zeros(label.shape, bool)
    for axis in range(label.ndim):
        a, view = np.moveaxis(label, axis, 0), np.moveaxis(mask, axis, 0)
        view[:-1] |= a[1:] != a[:-1]
    rows, size = [], 4  # smaller boxes see the grid rather than the boundary
    while size <= min(label.shape) // 8:
        cut = tuple(slice(0, n - n % size) for n in label.shape)
        shape = [k for n in label.shape for k in (n // size, size)]
        boxes = mask[cut].reshape(shape).any(axis=tuple(range(1, 2 * label.ndim, 2)))
        rows.append((size, int(boxes.sum())))
        size *= 2
    table = pd.DataFrame(rows, columns=["size", "boxes"])
    table = table[table["boxes"] > 0].reset_index(drop=True)
    if len(table) < 3:
        return float("nan"), float("nan"), table.iloc[:0]
    x, y = -np.log(table["size"].to_numpy(float)), np.log(table["boxes"].to_numpy(float))
    u = x - x.mean()
    D = float(u @ y / (u @ u))
    rest = y - y.mean() - D * u
    return D, float(np.sqrt(rest @ rest / (len(x) - 2) / (u @ u))), table
