"""Which start goes where: basins of attraction on a grid of starts.

The grid covers a box, or a plane slice of it with the other coordinates fixed, and is descended as
one run. End points are matched to the nearest critical point (known, or found on the way); those
that match none are judged, one for each place. Descents that use up their steps are followed for
some more: where their iterates repeat, they belong to a cycle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from gdlab import numerics
from gdlab.critical.census import SET, check_domain
from gdlab.critical.cycles import as_cycle, periods
from gdlab.critical.evidence import pattern
from gdlab.critical.lengths import scales, within
from gdlab.critical.verdict import CRITICAL, judge
from gdlab.errors import UsageError
from gdlab.types import Method, Objective, Schedule, Verdict

DIVERGED, UNFINISHED, PLATEAU = -1, -2, -3  # labels of starts that reach no critical point
WORDS = {DIVERGED: "diverged", UNFINISHED: "not converged", PLATEAU: "plateau"}
MATCH = 1e-5  # distance, relative to its length, at which an end point belongs to a point
JUDGED = 512  # end points judged at a time
ROUNDS = 8
PART = 2**18  # starts in memory at once, with their records
FOLLOWED = 3  # largest dimension in which following descents that use up their steps is cheap ...
FEW = 2**14  # ... but so few starts are followed in any
MANY = "one of many cycles of this period"
CYCLES = 16  # cycles of one period that are places of their own; of more, all are one place
Z = 1.959963984540054  # 95 %


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
            low, high = wilson(count, n)
            row: dict[str, Any] = {
                "point": label, "kind": WORDS.get(label, ""), "index": None, "count": count,
                "share": count / n, "low": low, "high": high, "f": np.nan, "reached": None,
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


def wilson(count: int, n: int, z: float = Z) -> tuple[float, float]:
    """Wilson's confidence interval of a share.

    Reference: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209.
    """
    p, zz = count / n, z * z / n
    middle, half = p + zz / 2, z * np.sqrt(p * (1 - p) / n + zz / (4 * n))
    return float(max(middle - half, 0) / (1 + zz)), float(min((middle + half) / (1 + zz), 1))


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


@numerics.computing()
def basins(
    objective: Objective,
    domain: Any = None,
    *,
    resolution: int = 1000,
    axes: Sequence[int] = (0, 1),
    at: Sequence[float] | None = None,
    method: Method | None = None,
    schedule: Schedule | None = None,
    steps: int = 1000,
    gtol: float = 1e-8,
) -> Basins:
    """Descends from a grid of starts and says where each goes.

    Cycles are named where d <= 3 or the starts are few (2^14).

    Args:
        domain: `[d, 2]`; default: the objective's own.
        resolution: starts along each axis.
        axes: the two coordinates that vary.
        at: values of all coordinates, for those that do not vary; default: the domain's middle.
        method, schedule, steps, gtol: as in `gdlab.descend`; default schedule: constant 1/L where
            L is known, else 0.01.

    Raises:
        UsageError: no domain, or axes that the objective does not have.
    """
    from gdlab import schedules
    from gdlab.runner import sweep

    box = check_domain(objective, domain)
    d = objective.dim
    vary = [0] if d == 1 else list(axes)
    if d > 1 and (len(set(vary)) != 2 or not all(0 <= a < d for a in vary)):
        raise UsageError(f"axes={list(axes)}: takes two different coordinates of 0 to {d - 1}")
    if resolution < 2:
        raise UsageError(f"resolution={resolution}: takes 2 or more")
    fixed = box.mean(axis=1) if at is None else np.asarray(at, float)
    if fixed.shape != (d,):
        raise UsageError(f"at={np.asarray(at).tolist()}: takes {d} numbers")
    lines = [box[a, 0] + (np.arange(resolution) + 0.5) / resolution * np.ptp(box[a]) for a in vary]
    shape = (resolution,) * len(vary)
    x0 = np.broadcast_to(fixed, (resolution ** len(vary), d)).copy()
    for a, values in zip(vary, np.meshgrid(*lines, indexing="ij"), strict=True):
        x0[:, a] = values.ravel()
    if schedule is None:
        smooth = objective.facts.L is not None
        schedule = schedules.constant(1.0, "1/L") if smooth else schedules.constant(0.01)
    objective = within(objective, box)
    follow = d <= FOLLOWED or len(x0) <= FEW
    cycles: list[_Cycles] = []
    ends: list[np.ndarray] = []
    status: list[np.ndarray] = []
    taken: list[np.ndarray] = []
    for begin in range(0, len(x0), PART):
        part = sweep.descents(
            objective, x0[begin : begin + PART], method=method, schedule=schedule, steps=steps,
            gtol=gtol, record="ends", tails=follow,
        )  # fmt: skip
        if part.tail is not None:
            cycles.append(_repeating(objective, part.tail, begin))
        ends.append(part.x)
        status.append(np.asarray(part.status))
        taken.append(np.asarray(part.steps))
    label, points = assign(objective, np.concatenate(ends), np.concatenate(status), gtol)
    if cycles:
        points += _name(objective, cycles, label, len(points))
    counts = np.concatenate(taken).reshape(shape)
    named = tuple(zip(vary, lines, strict=True))
    return Basins(objective.name, named, label.reshape(shape), points, counts)


@numerics.computing()
def assign(
    objective: Objective,
    x: Float[np.ndarray, "n d"],
    status: np.ndarray,
    gtol: float = 1e-8,
) -> tuple[Int[np.ndarray, " n"], list[Verdict]]:
    """The critical point that each end point belongs to, and the points.

    An end point that has converged within `MATCH` of a critical point with a regular Hessian is
    that point's; the others are judged, one for each place.
    """
    label = np.where(status == "diverged", DIVERGED, UNFINISHED)
    points: list[Verdict] = []
    open_ = np.flatnonzero((status == "converged") & np.isfinite(x).all(axis=1))
    known = objective.facts.critical_points
    seeds = x[:0] if known is None else known.x[:JUDGED]
    refused = x[:0]
    for turn in range(ROUNDS):
        places = seeds if turn == 0 and len(seeds) else _places(objective, x[open_])[:JUDGED]
        verdicts = judge(objective, places, "converged", max(gtol, 1e-8), certified="auto")
        critical = [v for v in verdicts if v.kind in CRITICAL]
        points += _apart(objective, [v for v in critical if not _near(objective, points, v)])
        bad = np.array([v.kind not in CRITICAL for v in verdicts], bool)
        if turn or not len(seeds):
            refused = np.vstack([refused, places[bad]])
        open_ = _match(objective, x, label, open_, points, refused)
        if not len(open_):
            break
    label[open_] = PLATEAU
    points = _one_a_set(label, points)
    used = np.unique(label[label >= 0])
    order = sorted(used.tolist(), key=lambda k: (points[k].value, tuple(points[k].x)))
    place = np.full(len(points) + 3, 0)
    place[-3:] = (-3, -2, -1)
    place[order] = np.arange(len(order))
    return place[label], [points[k] for k in order]


def _one_a_set(label: Int[np.ndarray, " n"], points: list[Verdict]) -> list[Verdict]:
    """Many degenerate points of one value, index and nullity are samples of a connected set: their
    labels become that of the first (in place), whose note says so."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for k, v in enumerate(points):
        if v.nullity:
            level = float(f"{v.value:.8e}") if abs(v.value) > 1e-9 else 0.0
            groups.setdefault((level, v.index, v.nullity), []).append(k)
    out, name = list(points), np.arange(len(points))
    for first, *rest in groups.values():
        if len(rest) >= SET - 1:
            name[rest] = first
            out[first] = replace(points[first], note=f"one of {len(rest) + 1} points of a set")
    arrived = label >= 0
    label[arrived] = name[label[arrived]]
    return out


def _length(objective: Objective, x: np.ndarray) -> np.ndarray:
    return scales([objective], np.zeros(len(x), int), x)


def _places(objective: Objective, x: np.ndarray) -> np.ndarray:
    """One end point of each cell of a grid that is wide against `MATCH`."""
    cell = 100 * MATCH * float(_length(objective, x).max(initial=1e-300))
    return x[np.sort(np.unique(np.floor(x / cell + 0.3819), axis=0, return_index=True)[1])]


def _near(objective: Objective, points: list[Verdict], v: Verdict) -> bool:
    reach = MATCH * float(_length(objective, v.x[None])[0])
    return any(np.abs(p.x - v.x).max() <= reach for p in points)


def _apart(objective: Objective, verdicts: list[Verdict]) -> list[Verdict]:
    kept: list[Verdict] = []
    for v in verdicts:
        if not _near(objective, kept, v):
            kept.append(v)
    return kept


def _match(
    objective: Objective,
    x: np.ndarray,
    label: np.ndarray,
    open_: np.ndarray,
    points: list[Verdict],
    refused: np.ndarray,
) -> np.ndarray:
    """Labels end points near a point, or near a refused place; returns those that are left."""
    if points:
        distance, nearest = map(
            np.asarray, cKDTree(np.array([p.x for p in points])).query(x[open_])
        )
        # Degenerate points are approached slowly: |grad f| <= gtol is met farther away.
        reach = np.array([MATCH if not p.nullity else 1e-2 for p in points])[nearest]
        hit = distance <= reach * _length(objective, x[open_])
        label[open_[hit]] = nearest[hit]
        open_ = open_[~hit]
    if len(refused) and len(open_):
        cell = 100 * MATCH * _length(objective, x[open_])
        hit = cKDTree(refused).query(x[open_], p=np.inf)[0] <= cell
        label[open_[hit]] = PLATEAU
        open_ = open_[~hit]
    return open_


@dataclass(frozen=True, eq=False)
class _Cycles:
    """Starts whose descents came to repeat themselves: which, after how many steps, whether so at
    any tolerance, and one iterate of each that is the same for all that share an orbit."""

    starts: Int[np.ndarray, " m"]
    period: Int[np.ndarray, " m"]
    stable: Bool[np.ndarray, " m"]
    x: Float[np.ndarray, "m d"]


def _repeating(objective: Objective, tail: Float[np.ndarray, "n t d"], begin: int) -> _Cycles:
    """The cycles among the last iterates of starts `begin`, `begin` + 1 ..."""
    starts = np.flatnonzero(np.isfinite(tail[:, -1]).all(axis=1))
    found = []
    for k in range(0, len(starts), FEW):
        which = starts[k : k + FEW]
        last = tail[which]
        length = _length(objective, last[:, -1])
        asked = periods(last, length=length)
        period, stable = asked[:, 0], np.all(asked == asked[:, :1], axis=1)
        cyclic = period > 0
        which, last, period, stable = (a[cyclic] for a in (which, last, period, stable))
        # Of the last p iterates, the lowest along a direction without symmetry.
        late = np.arange(last.shape[1]) >= last.shape[1] - period[:, None]
        height = np.where(late, last @ pattern(last.shape[2]), np.inf)
        x = last[np.arange(len(last)), height.argmin(axis=1)]
        found.append((begin + which, period, stable, x))
    return _Cycles(*(np.concatenate(a) for a in zip(*found, strict=True)))


def _name(
    objective: Objective, parts: list[_Cycles], label: Int[np.ndarray, " n"], first: int
) -> list[Verdict]:
    """One verdict a cycle, the first with the label `first`; labels the starts, in place.

    Where a period has many cycles, as with a step size at the very limit, they are one place.
    """
    names = ("starts", "period", "stable", "x")
    starts, period, stable, x = (np.concatenate([getattr(c, n) for c in parts]) for n in names)
    out: list[Verdict] = []
    for p in np.unique(period):
        mine = np.flatnonzero(period == p)
        cell = 100 * MATCH * float(_length(objective, x[mine]).max())
        tree = cKDTree(x[mine])
        places: list[int] = []
        home = np.full(len(mine), -1)
        while len(places) <= CYCLES and (home < 0).any():
            here = int(np.argmax(home < 0))
            ball = np.array(tree.query_ball_point(x[mine[here]], cell, p=np.inf))
            home[ball[home[ball] < 0]] = len(places)
            places.append(here)
        many = len(places) > CYCLES
        if many:
            home, places = np.zeros(len(mine), int), places[:1]
        verdicts = judge(objective, x[mine[places]], "budget", 0.0, certified=False)
        for k, v in enumerate(verdicts):
            lane = mine[places[k]]
            v = as_cycle(v, x[lane], int(p), bool(stable[mine[home == k]].all()))
            out.append(replace(v, note=MANY) if many else v)
        label[starts[mine]] = first + len(out) - len(verdicts) + home
    return out


@numerics.computing()
def shares_along(
    objective: Objective,
    values: Sequence[float],
    schedule: Callable[[float], Schedule] | None = None,
    *,
    method: Callable[[float], Method] | None = None,
    resolution: int = 100,
    **options: Any,
) -> pd.DataFrame:
    """How the shares change along a parameter, such as the step size.

    Args:
        values: of the parameter.
        schedule, method: the rule at a value (default: constant step size, the gradient).
        options: as in `basins`.

    Returns:
        Long form: value, point (x as text), kind, index, share, low, high, x0 ...
    """
    from gdlab import schedules

    make = schedule or (lambda eta: schedules.constant(eta))
    tables = []
    for value in values:
        rule = None if method is None else method(value)
        seen = basins(
            objective, schedule=make(value), method=rule, resolution=resolution, **options
        )
        tables.append(seen.table.assign(value=float(value)))
    table = pd.concat(tables, ignore_index=True)
    xs = [c for c in table.columns if c.startswith("x")]
    table["point"] = [
        ", ".join(f"{v:.4g}" for v in row if not np.isnan(v)) or kind
        for row, kind in zip(table[xs].to_numpy(float) + 0.0, table["kind"], strict=True)
    ]
    first = ["value", "point", "kind", "index", "share", "low", "high", "count"]
    return table[[*first, *[c for c in table.columns if c not in first]]]
