"""Cycles that many descents end in: found among their last iterates, and told apart."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from gdlab.critical.assign import MATCH, length_of
from gdlab.critical.basin_map import MANY
from gdlab.critical.cycles import as_cycle, periods
from gdlab.critical.derivatives import pattern
from gdlab.critical.verdict import judge
from gdlab.types import Objective, Verdict

FEW = 2**14  # tails looked at together
CYCLES = 16  # cycles of one period that are places of their own; of more, all are one place


@dataclass(frozen=True, eq=False)
class Orbits:
    """Starts whose descents came to repeat themselves: which, after how many steps, whether so at
    any tolerance, and one iterate of each that is the same for all that share an orbit."""

    starts: Int[np.ndarray, " m"]
    period: Int[np.ndarray, " m"]
    stable: Bool[np.ndarray, " m"]
    x: Float[np.ndarray, "m d"]


def repeating(objective: Objective, tail: Float[np.ndarray, "n t d"], begin: int) -> Orbits:
    """The cycles among the last iterates of starts `begin`, `begin` + 1 ..."""
    starts = np.flatnonzero(np.isfinite(tail[:, -1]).all(axis=1))
    found = []
    for k in range(0, len(starts), FEW):
        which = starts[k : k + FEW]
        last = tail[which]
        length = length_of(objective, last[:, -1])
        asked = periods(last, length=length)
        period, stable = asked[:, 0], np.all(asked == asked[:, :1], axis=1)
        cyclic = period > 0
        which, last, period, stable = (a[cyclic] for a in (which, last, period, stable))
        # Of the last p iterates, the lowest along a direction without symmetry.
        late = np.arange(last.shape[1]) >= last.shape[1] - period[:, None]
        height = np.where(late, last @ pattern(last.shape[2]), np.inf)
        x = last[np.arange(len(last)), height.argmin(axis=1)]
        found.append((begin + which, period, stable, x))
    return Orbits(*(np.concatenate(a) for a in zip(*found, strict=True)))


def name_orbits(
    objective: Objective, parts: list[Orbits], label: Int[np.ndarray, " n"], first: int
) -> list[Verdict]:
    """One verdict a cycle, the first with the label `first`; labels the starts, in place.

    Where a period has many cycles, as with a step size at the very limit, they are one place.
    """
    names = ("starts", "period", "stable", "x")
    starts, period, stable, x = (np.concatenate([getattr(c, n) for c in parts]) for n in names)
    out: list[Verdict] = []
    for p in np.unique(period):
        mine = np.flatnonzero(period == p)
        cell = 100 * MATCH * float(length_of(objective, x[mine]).max())
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
