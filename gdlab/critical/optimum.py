"""Whether a minimum is the global one: by the inventory, or by an enclosure of f.

f_star is a fact, so that f cannot lie below it, and a point is global if its value is f_star. An
enclosure of f around the point that lies above f_star says no. A known minimizer beside the point
says yes, unless the enclosure contradicts it. Where no minimizer is known, the enclosure says yes
if it holds f_star and is as narrow as rounding leaves it: `NARROW` of what f changes by along its
softest direction, so that one stiff direction cannot swallow a gap. All else is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from gdlab.critical.enclosures import Enclosures
from gdlab.types import Objective

NARROW = 1e-12
DIGITS = 1e-10  # to which a fact is trusted when it says that a point is not global
SAME = 1e-14  # values of an inventory that are equal but for rounding
NEAR = 1e-6  # distance, relative to its length, at which a point is a known one


def known_points(
    objectives: Sequence[Objective],
    owner: Int[np.ndarray, " m"],
    x: Float[np.ndarray, "m d"],
    scale: Float[np.ndarray, " m"],
) -> Int[np.ndarray, " m"]:
    """Position of the nearest known critical point within `NEAR`; -1 where there is none."""
    out = np.full(len(x), -1)
    for o in np.unique(owner):
        known = objectives[o].facts.critical_points
        if known is not None:
            mine = np.flatnonzero(owner == o)
            out[mine] = _nearest(known.x, x[mine], NEAR * scale[mine])
    return out


def _nearest(
    known: Float[np.ndarray, "k d"], x: Float[np.ndarray, "m d"], reach: Float[np.ndarray, " m"]
) -> Int[np.ndarray, " m"]:
    """Position of the nearest of the known points; -1 where none is within reach."""
    if not len(known):
        return np.full(len(x), -1)
    if len(x) * len(known) > 10**6:
        from scipy.spatial import cKDTree

        distance, nearest = map(np.asarray, cKDTree(known).query(x))
    else:
        apart = np.linalg.norm(x[:, None] - known[None], axis=-1)
        nearest = apart.argmin(axis=1)
        distance = apart[np.arange(len(x)), nearest]
    return np.where(distance <= reach, nearest, -1)


def judge_global(
    objectives: Sequence[Objective],
    owner: Int[np.ndarray, " m"],
    enclosures: Enclosures,
    points: Int[np.ndarray, " m"],
    x: Float[np.ndarray, "m d"],
    scale: Float[np.ndarray, " m"],
    off: Float[np.ndarray, " m"],
    rise: Float[np.ndarray, " m"],
    reached: Int[np.ndarray, " m"],
) -> list[bool | None]:
    """Whether each minimum (or degenerate point) is global.

    Args:
        enclosures, points: f, and whose data each point has.
        off: distance within which the critical point lies.
        rise: what f changes by along its softest direction.
        reached: position in the known critical points, or -1.
    """
    out: list[bool | None] = [None] * len(x)
    stars = np.array([_number(objectives[o].facts.f_star) for o in owner])
    asked = np.flatnonzero(np.isfinite(stars))
    if not len(asked):
        return out
    listed = np.zeros(len(x), bool)
    for o in np.unique(owner[asked]):
        mine = asked[owner[asked] == o]
        facts = objectives[o].facts
        if facts.minimizers is not None:
            listed[mine] = _nearest(facts.minimizers, x[mine], NEAR * scale[mine]) >= 0
        known = facts.critical_points
        if known is not None:
            floor, star = known.value.min(initial=np.inf), stars[mine[0]]
            # The lowest point of an inventory is global, and what equals it to rounding.
            at_floor = known.value <= floor + SAME * abs(floor)
            at_floor &= floor <= star + DIGITS * abs(star)
            listed[mine] |= (reached[mine] >= 0) & at_floor[reached[mine]]
    star = stars[asked]
    pad = np.maximum(off[asked], np.spacing(np.abs(x[asked]).max(axis=1)))[:, None]
    f = enclosures("f", x[asked] - pad, x[asked] + pad, points[asked])
    if f is None:
        for i in asked[listed[asked]]:
            out[i] = True
        return out
    above = f.lo > star + DIGITS * np.abs(star)
    holds = (f.lo <= star) & (star <= f.hi) & (f.hi - f.lo <= NARROW * rise[asked])
    for i, no, yes in zip(asked, above, holds, strict=True):
        if no:
            out[i] = None if listed[i] else False
        elif listed[i] or yes:
            out[i] = True
    return out


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
