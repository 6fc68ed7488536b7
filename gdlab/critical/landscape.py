"""The landscape as a graph: minima joined through saddles of index 1.

From each saddle of index 1, steepest descent follows the unstable direction to both sides; the
minima at the ends are joined by an edge whose height is f at the saddle. Cutting the graph at a
height leaves the sets of minima between which no path stays below it: the disconnectivity graph.
A degenerate point is a minimum as far as samples around it go: none of them lies lower.

Reference: O. M. Becker and M. Karplus, J. Chem. Phys. 106 (1997) 1495; D. J. Wales, Energy
Landscapes, 2003, sec. 5.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from gdlab import numerics
from gdlab.critical.assign import assign
from gdlab.critical.derivatives import EPS, Derivatives
from gdlab.critical.lengths import scales, within
from gdlab.critical.verdict import judge
from gdlab.types import Objective, Verdict

LEAP = 1e-3  # first step off the saddle, relative to its length
NEAR = 1e-5  # distance of one place from the next, relative to its length
RADII = (1e-3, 1e-2, 3e-2)  # of samples around a degenerate point, relative to its length
STEPS = 20_000


@dataclass(frozen=True, eq=False)
class Landscape:
    """Minima and the saddles between them.

    Attributes:
        minima: minimum (number), f, kind (minimum, degenerate), x0 ..., lowest first.
        edges: saddle (number), f, low, high (minima that it joins; -1: descent leaves the domain or
            does not converge), barrier_low, barrier_high (height above each), x0 ...
    """

    minima: pd.DataFrame
    edges: pd.DataFrame

    def disconnectivity(self) -> pd.DataFrame:
        """The tree as a table of merges, lowest first: height, a, b, into, size.

        a and b are minima or earlier merges (`into`, numbered after the minima). Minima that no
        saddle joins remain roots of their own.
        """
        n = len(self.minima)
        root = list(range(n))
        size = [1] * n
        rows = []

        def top(i: int) -> int:
            while root[i] != i:
                i = root[i]
            return i

        joined = self.edges[(self.edges["low"] >= 0) & (self.edges["high"] >= 0)]
        for row in joined.sort_values(["f", "saddle"]).to_dict("records"):
            a, b = top(int(row["low"])), top(int(row["high"]))
            if a == b:
                continue
            into = len(root)
            root.append(into)
            size.append(size[a] + size[b])
            root[a] = root[b] = into
            rows.append((row["f"], int(row["saddle"]), a, b, into, size[into]))
        return pd.DataFrame(rows, columns=["height", "saddle", "a", "b", "into", "size"])


@numerics.computing()
def landscape(
    objective: Objective, points: Sequence[Verdict], domain: Float[np.ndarray, "d 2"] | None = None
) -> Landscape:
    """Joins the minima among the points through the saddles of index 1 among them.

    Args:
        points: as a census gives them (`Census.points`).
        domain: minima outside count as left; default: everywhere.
    """
    if domain is not None:
        objective = within(objective, domain)
    minima = sorted(
        (v for v in points if v.kind == "minimum" or _is_lowest(objective, v)),
        key=lambda v: (round(v.value, 9), tuple(v.x)),
    )
    saddles = [v for v in points if v.kind == "saddle" and v.index == 1]
    ends = _down(objective, saddles, minima, domain)
    d = objective.dim
    xs = [f"x{i}" for i in range(d)]
    floor = pd.DataFrame(
        {
            "minimum": range(len(minima)),
            "f": np.array([v.value for v in minima], float),
            "kind": pd.Series([v.kind for v in minima], dtype="str"),
        }
    )
    floor[xs] = np.array([v.x for v in minima]).reshape(-1, d)
    rows: list[dict[str, Any]] = []
    for k, (v, pair) in enumerate(zip(saddles, ends, strict=True)):
        low, high = sorted(pair, key=lambda i: (i < 0, i))
        rows.append(
            {
                "saddle": k,
                "f": v.value,
                "low": low,
                "high": high,
                "barrier_low": v.value - minima[low].value if low >= 0 else np.nan,
                "barrier_high": v.value - minima[high].value if high >= 0 else np.nan,
                **dict(zip(xs, v.x, strict=True)),
            }
        )
    columns = ["saddle", "f", "low", "high", "barrier_low", "barrier_high", *xs]
    return Landscape(floor, pd.DataFrame(rows, columns=columns))


def _down(
    objective: Objective,
    saddles: list[Verdict],
    minima: list[Verdict],
    domain: Float[np.ndarray, "d 2"] | None,
) -> list[tuple[int, int]]:
    """Minima at both ends of each unstable direction; -1 where there is none.

    Steepest descent with short steps: backtracking from 1 / (largest |eigenvalue|).
    """
    from gdlab import schedules
    from gdlab.runner import sweep

    if not saddles:
        return []
    starts = []
    for v in saddles:
        off = LEAP * _length(objective, v.x) * _unstable(objective, v)
        starts += [v.x - off, v.x + off]
    seen = [v.eigenvalues for v in (*saddles, *minima) if v.eigenvalues is not None]
    steepest = max(float(np.abs(values).max()) for values in seen)
    records = sweep.descents(
        objective, np.array(starts), schedule=schedules.backtracking(0.5 / steepest, grow=1.0),
        steps=STEPS, record="ends",
    )  # fmt: skip
    label, reached = assign(objective, records.x, np.asarray(records.status))
    ends = [_number(objective, reached[k], minima, domain) if k >= 0 else -1 for k in label]
    # Degenerate minima are approached slower and slower: Newton goes the rest of the way.
    slow = np.flatnonzero(records.status == "budget")
    if len(slow):
        verdicts = judge(objective, records.x[slow], "converged", np.inf, certified=False)
        for i, v in zip(slow, verdicts, strict=True):
            ends[i] = _number(objective, v, minima, domain)
    return list(zip(ends[::2], ends[1::2], strict=True))


def _number(
    objective: Objective,
    v: Verdict,
    minima: list[Verdict],
    domain: Float[np.ndarray, "d 2"] | None,
) -> int:
    """Which of the minima a point is: the nearest, or for a degenerate point farther away the one
    degenerate minimum of its value and nullity, which stands for a set; -1 for none."""
    if domain is not None and not np.all((v.x >= domain[:, 0]) & (v.x <= domain[:, 1])):
        return -1
    if not minima:
        return -1
    apart = np.array([np.abs(m.x - v.x).max() for m in minima])
    near, length = int(apart.argmin()), _length(objective, v.x)
    reach = 100 * NEAR if v.nullity and minima[near].nullity else NEAR
    if apart[near] <= reach * length:
        return near
    same = [
        k
        for k, m in enumerate(minima)
        if v.nullity and m.nullity == v.nullity and abs(m.value - v.value) <= 1e-9
    ]
    return same[0] if len(same) == 1 else -1


def _length(objective: Objective, x: Float[np.ndarray, " d"]) -> float:
    return float(scales([objective], np.zeros(1, int), x[None])[0])


def _is_lowest(objective: Objective, v: Verdict) -> bool:
    """Whether a degenerate point is the lowest of samples around it, as far as rounding tells."""
    if v.kind != "degenerate" or v.index:
        return False
    d, rng = len(v.x), np.random.default_rng(0)
    u = np.concatenate([np.eye(d), rng.standard_normal((64 * min(d, 8), d))])
    u = np.concatenate([u, -u]) / np.linalg.norm(np.concatenate([u, u]), axis=1)[:, None]
    x = np.concatenate([v.x[None], *(v.x + r * _length(objective, v.x) * u for r in RADII)])
    nobody = np.zeros(len(x), int)
    f, _ = Derivatives([objective], nobody).gradients(x, nobody)
    f = f[np.isfinite(f)]
    return bool(f.min() >= f[0] - 1e3 * EPS * np.abs(f).max())


def _unstable(objective: Objective, v: Verdict) -> Float[np.ndarray, " d"]:
    """The eigenvector of the one negative eigenvalue, its largest entry positive."""
    _, _, H = Derivatives([objective], np.zeros(1, int)).hessians(v.x[None], np.zeros(1, int))
    direction = np.linalg.eigh(H[0])[1][:, 0]
    return direction * np.sign(direction[np.argmax(np.abs(direction))])
