"""Which critical point each end point belongs to.

End points are matched to the nearest critical point (known, or found on the way); those that match
none are judged, one for each place.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from gdlab import numerics
from gdlab.critical.basin_map import DIVERGED, PLATEAU, UNFINISHED
from gdlab.critical.lengths import scales
from gdlab.critical.match import SET, degenerate_sets, one_a_cell
from gdlab.critical.rules import CRITICAL
from gdlab.critical.verdict import judge
from gdlab.types import Objective, Verdict

MATCH = 1e-5  # distance, relative to its length, at which an end point belongs to a point
JUDGED = 512  # end points judged at a time
ROUNDS = 8


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
        for v in critical:
            if not _near(objective, points, v):
                points.append(v)
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
    out, name = list(points), np.arange(len(points))
    for first, *rest in degenerate_sets(points):
        if len(rest) >= SET - 1:
            name[rest] = first
            out[first] = replace(points[first], note=f"one of {len(rest) + 1} points of a set")
    arrived = label >= 0
    label[arrived] = name[label[arrived]]
    return out


def length_of(objective: Objective, x: np.ndarray) -> np.ndarray:
    return scales([objective], np.zeros(len(x), int), x)


def _places(objective: Objective, x: np.ndarray) -> np.ndarray:
    """One end point of each cell of a grid that is wide against `MATCH`."""
    cell = 100 * MATCH * float(length_of(objective, x).max(initial=1e-300))
    return one_a_cell(x, cell)


def _near(objective: Objective, points: list[Verdict], v: Verdict) -> bool:
    reach = MATCH * float(length_of(objective, v.x[None])[0])
    return any(np.abs(p.x - v.x).max() <= reach for p in points)


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
        hit = distance <= reach * length_of(objective, x[open_])
        label[open_[hit]] = nearest[hit]
        open_ = open_[~hit]
    if len(refused) and len(open_):
        cell = 100 * MATCH * length_of(objective, x[open_])
        hit = cKDTree(refused).query(x[open_], p=np.inf)[0] <= cell
        label[open_[hit]] = PLATEAU
        open_ = open_[~hit]
    return open_
