"""Newton's method from many starts, and the critical points that it has led to so far."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from gdlab.critical.derivatives import Derivatives
from gdlab.critical.lengths import base, lengths, within
from gdlab.critical.match import SET, degenerate_sets, height, nearest, one_a_cell
from gdlab.critical.polish import levenberg, polish
from gdlab.critical.rules import CRITICAL
from gdlab.critical.verdict import judge
from gdlab.types import Objective, Verdict


class Multistart:
    """The points seen so far."""

    def __init__(self, objective: Objective, box: np.ndarray, tolerance: float) -> None:
        self.objective, self.box, self.tolerance = within(objective, box), box, tolerance
        self.units = base(box, len(box))
        self.points: list[Verdict] = []
        self.hits: list[int] = []
        self.refused = np.zeros((0, len(box)))  # ends of Newton that are no critical points
        self.arrived = 0
        self.count = 0  # isolated points and degenerate sets
        self.kinks = False  # whether f is seen to have kinks

    def add(self, x: Float[np.ndarray, "m d"]) -> bool:
        """Starts Newton from x; whether anything new was found."""
        nobody = np.zeros(len(x), int)
        at = Derivatives([self.objective], nobody)
        far = np.full(len(x), np.inf)
        p = polish(at, x, nobody, far, far, relative=1e-2)
        with np.errstate(all="ignore"):
            kept = np.where(
                np.abs(p.eigenvalues) <= 1e-12 * np.abs(p.eigenvalues).max(axis=1)[:, None],
                0.0,
                p.eigenvalues,
            )
            step = np.abs(levenberg(p.g, kept, p.vectors, np.zeros(len(x))))
            close = np.all(step <= 1e-6 * lengths(self.box, p.x), axis=1)
            good = np.isfinite(p.x).all(axis=1) & close
        return self.take(p.x[good])

    def take(self, ends: Float[np.ndarray, "m d"]) -> bool:
        """Counts ends of Newton; judges those that are new."""
        slack = 1e-9 * lengths(self.box, self.box.T).max(axis=0)
        inside = (ends >= self.box[:, 0] - slack) & (ends <= self.box[:, 1] + slack)
        ends = ends[inside.all(axis=1)]
        new = self._count(ends)
        if not len(new):
            return False
        first = self._distinct(new)
        verdicts = judge(self.objective, first, "converged", np.inf, certified=False)
        before = self.count
        fine = [
            v.kind in CRITICAL
            and np.all((v.x >= self.box[:, 0] - slack) & (v.x <= self.box[:, 1] + slack))
            for v in verdicts
        ]
        self.kinks |= any("gradient jumps" in v.note for v in verdicts)
        self.refused = np.vstack([self.refused, first[~np.array(fine)]])
        for v in self._unknown([v for v, good in zip(verdicts, fine, strict=True) if good]):
            self.points.append(v)
            self.hits.append(0)
        self._count(new)
        self.count = len(self.rows()[0])
        return self.count != before

    def _unknown(self, verdicts: list[Verdict]) -> list[Verdict]:
        """Those that are near no known point and near no earlier one among themselves."""
        if not verdicts:
            return []
        x = np.array([v.x for v in verdicts])
        size = self._size(x)
        new = np.ones(len(x), bool)
        if self.points:
            new = nearest(np.array([v.x for v in self.points]), x, self.units)[0] > size
        for i, j in cKDTree(x / self.units).query_pairs(float(size.max()), p=np.inf):
            if new[i]:
                new[j] = False
        return [v for v, is_new in zip(verdicts, new, strict=True) if is_new]

    def _count(self, ends: np.ndarray) -> np.ndarray:
        """Adds to the hits of known points; returns the ends that are near none."""
        if not len(ends):
            return ends
        size = self._size(ends)
        near = np.zeros(len(ends), bool)
        if self.points:
            distance, which = nearest(np.array([v.x for v in self.points]), ends, self.units)
            reach = np.array([100.0 if v.nullity else 1.0 for v in self.points])[which]
            near = distance <= reach * size
            for k, count in zip(*np.unique(which[near], return_counts=True), strict=True):
                self.hits[k] += int(count)
            self.arrived += int(near.sum())
        if len(self.refused):
            near |= nearest(self.refused, ends, self.units)[0] <= size
        return ends[~near]

    def _size(self, x: np.ndarray) -> np.ndarray:
        """Distance within which points are one with x, in units."""
        return self.tolerance * np.max(lengths(self.box, x) / self.units, axis=1, initial=0.0)

    def _distinct(self, x: np.ndarray) -> np.ndarray:
        """One of each cluster of points: those on the same cell of a grid, cells four tolerances
        wide, shifted so that round numbers are not on its lines."""
        cell = 4 * self.units * self._size(x).max(initial=0.0)
        return one_a_cell(x, cell)

    def neighbours(
        self, points: Float[np.ndarray, "m d"], others: Float[np.ndarray, "k d"]
    ) -> Int[np.ndarray, "p 2"]:
        """Pairs (point, other) that the tolerance does not tell apart."""
        trees = cKDTree(points / self.units), cKDTree(others / self.units)
        size = self._size(points)
        near = trees[0].query_ball_tree(trees[1], float(size.max()), p=np.inf)
        pairs = np.array([(i, j) for i, row in enumerate(near) for j in row], int).reshape(-1, 2)
        apart = np.abs(points[pairs[:, 0]] - others[pairs[:, 1]]) / self.units
        return pairs[np.max(apart, axis=1, initial=0.0) <= size[pairs[:, 0]]]

    def _preference(self, k: int) -> tuple[int, bool, float]:
        """Who stands for a set: of the generic nullity, a known point, near the origin."""
        v = self.points[k]
        return v.nullity, v.reached is None, round(float(np.linalg.norm(v.x / self.units)), 6)

    def rows(self) -> tuple[list[Verdict], list[int], list[int]]:
        """Points and degenerate sets, lowest f first: verdicts, hits, distinct points.

        f is constant on a connected set of critical points. Degenerate points of one value and
        index that were hit hardly more than once each are samples of a set.
        """
        rows: list[tuple[Verdict, int, int]] = []
        rows += [(v, self.hits[k], 1) for k, v in enumerate(self.points) if not v.nullity]
        for members in degenerate_sets(self.points, height):
            hits = [self.hits[k] for k in members]
            if len(members) >= SET and np.median(hits) <= 2:
                least = min(members, key=self._preference)
                rows.append((self.points[least], sum(hits), len(members)))
            else:
                rows += [(self.points[k], self.hits[k], 1) for k in members]
        rows.sort(
            key=lambda row: (round(row[0].value, 9), tuple(np.round(row[0].x / self.units, 6)))
        )
        verdicts, counts, sets = zip(*rows, strict=True) if rows else ((), (), ())
        return list(verdicts), list(counts), list(sets)
