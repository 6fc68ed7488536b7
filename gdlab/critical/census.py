"""All critical points of an objective in its domain, saddles and maxima included.

1. Multistart: Newton on the gradient from Sobol starts, in blocks of lanes, until no new point has
   appeared for `patience` starts. Every point is judged (`verdict.py`).
2. For d <= 3, branch and prune (`prune.py`) proves "exactly n in this box", where it can.
3. Checks: the Euler characteristic (`euler.py`), and an estimate of what was missed from how often
   each point was hit.

Points that are no isolated points (a line of minima, an orbit of a symmetry) are reported as one
set, with the dimension of the null space.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.spatial import cKDTree
from scipy.stats import qmc

from gdlab.critical.derivatives import DENSE, Derivatives
from gdlab.critical.euler import Euler, euler_check
from gdlab.critical.lengths import base, lengths, within
from gdlab.critical.polish import levenberg, polish
from gdlab.critical.proof.branch_and_prune import Proof, prune
from gdlab.critical.proof.enclosure import NotCertifiable
from gdlab.critical.proof.krawczyk import certify
from gdlab.critical.verdict import CRITICAL, judge
from gdlab.errors import UsageError
from gdlab.types import Objective, Verdict

BATCH = 512  # starts of a round
PROVE = 3  # largest dimension of branch and prune
CERTIFY = 8  # largest dimension in which single points are certified
SET = 4  # distinct degenerate points of one value that make a set


@dataclass(eq=False)
class Census:
    """What a census found, and how surely.

    Attributes:
        objective: its name.
        domain: the box `[d, 2]`.
        points: verdicts, one a critical point (or set), lowest f first.
        hits: how many starts led to each.
        sets: how many distinct points of a degenerate set were seen; 1 for a point.
        starts: how many starts were made; `arrived` of them led to a critical point in the domain.
        since: starts since the last new point.
        exhausted: why the search ended before `patience` starts without a new point; "" if it did
            not.
        proof: what branch and prune proved; None where it was not tried.
        why: why nothing or not all is proved.
        euler: the check of the Euler characteristic.
        known, found, misclassified: of the objective's inventory (None: it has none).
        complete: whether that inventory is complete.
    """

    objective: str
    domain: Float[np.ndarray, "d 2"]
    points: list[Verdict]
    hits: list[int]
    sets: list[int]
    starts: int
    arrived: int
    since: int
    exhausted: str = ""
    proof: Proof | None = None
    why: str = ""
    euler: Euler = field(default_factory=Euler)
    known: int | None = None
    found: int = 0
    misclassified: int = 0
    complete: bool = False

    @property
    def exact(self) -> bool:
        """Whether the points are proved to be all critical points in the domain."""
        return self.proof is not None and self.proof.complete

    @property
    def unseen(self) -> tuple[float, float]:
        """Good and Turing's chance that the next start that arrives finds a new point, n_1 / N (at
        least the rule of three's bound 3 / N if n_1 = 0), and Chao's lower bound on how many points
        are unseen, n_1 (n_1 - 1) / (2 (n_2 + 1)).

        Reference: I. J. Good, Biometrika 40 (1953) 237; A. Chao, Biometrics 43 (1987) 783.
        """
        if self.exact:
            return 0.0, 0.0
        hits = np.array(self.hits)
        once, twice = int(np.sum(hits == 1)), int(np.sum(hits == 2))
        total = max(int(hits.sum()), 1)
        return min(max(once, 3) / total, 1.0), once * (once - 1) / (2 * (twice + 1))

    @property
    def table(self) -> pd.DataFrame:
        """One row a point: x0 ..., f, grad_norm, index, kind, nullity, hits, certified, reached."""
        d = len(self.domain)
        x = np.array([v.x for v in self.points]).reshape(-1, d)
        columns: dict[str, Any] = {f"x{i}": x[:, i] for i in range(d)}
        columns["f"] = np.array([v.value for v in self.points], float)
        columns["grad_norm"] = np.array([v.grad_norm for v in self.points], float)
        columns["index"] = pd.array([v.index for v in self.points], dtype="Int64")
        columns["kind"] = pd.Series([self._kind(k) for k in range(len(self.points))], dtype="str")
        columns["nullity"] = np.array([v.nullity for v in self.points], int)
        columns["hits"] = np.array(self.hits, int)
        columns["certified"] = np.array([v.certified for v in self.points], bool)
        columns["reached"] = pd.array([v.reached for v in self.points], dtype="Int64")
        table = pd.DataFrame(columns)
        table.attrs["summary"] = self.summary()
        return table

    def _kind(self, k: int) -> str:
        return "degenerate set" if self.sets[k] > 1 else self.points[k].kind

    def summary(self) -> str:
        """A short text: what is certified, what is numerical, the checks."""
        kinds = [self._kind(k) for k in range(len(self.points))]
        plural = {"minimum": "minima", "maximum": "maxima"}
        parts = [
            f"{n} {k if n == 1 else plural.get(k, k + ('s' if k != 'degenerate' else ''))}"
            for k in ("minimum", "saddle", "maximum", "degenerate", "degenerate set")
            if (n := kinds.count(k))
        ]
        box = " x ".join(f"[{low:g}, {high:g}]" for low, high in self.domain[:4])
        box += " x ..." if len(self.domain) > 4 else ""
        noun = "critical point" if len(self.points) == 1 else "critical points"
        lines = [f"{self.objective}: {len(self.points)} {noun} in {box}: {', '.join(parts)}"]
        proved = sum(v.certified for v in self.points)
        if self.exact:
            n = len(self.points)
            lines.append(f"certified: exactly {n} critical point{'s' * (n != 1)} in this box")
        else:
            lines.append(
                f"numerical: completeness is not proved ({self.why}); {proved} of "
                f"{len(self.points)} points certified one by one"
            )
            chance, more = self.unseen
            lines.append(
                f"unseen: the next start finds a new point with a chance of about {chance:.2g}; "
                f"at least {more:.0f} more by Chao's estimate"
            )
        lines.append(
            f"{self.starts:,} starts, {self.arrived:,} arrived, the last {self.since:,} found "
            f"nothing new{'; ' + self.exhausted if self.exhausted else ''}"
        )
        lines.append(str(self.euler))
        if self.known is not None:
            lines.append(
                f"inventory: {self.found} of {self.known} known points found"
                f"{'' if self.complete else ' (it is not complete)'}, "
                f"{self.misclassified} misclassified"
            )
        return "\n".join(lines)


def census(objective: Objective, domain: Any = None, **options: Any) -> pd.DataFrame:
    """All critical points in the domain, as a table; see `take_census` for the options.

    Returns:
        One row a point: `x0 ...`, `f`, `grad_norm`, `index`, `kind`, `nullity`, `hits`,
        `certified`, `reached` (position in the known points); lowest f first.
        `table.attrs["summary"]` says what is certified and what is numerical.
    """
    return take_census(objective, domain, **options).table


def take_census(
    objective: Objective,
    domain: Any = None,
    *,
    starts: int = 2**15,
    patience: int = 1024,
    certified: bool | str = "auto",
    tolerance: float = 1e-6,
    most_points: int = 2000,
    seconds: float = 20.0,
    seed: int = 0,
) -> Census:
    """Finds and classifies all critical points in the domain.

    Args:
        domain: box `[d, 2]` of (low, high) pairs; default: the objective's own.
        starts: at most.
        patience: ends after so many starts without a new point.
        certified: whether to try proofs; `auto`: branch and prune for d <= 3, single points for
            d <= 8.
        tolerance: points closer than this, relative to their lengths (`lengths.py`), are one.
        most_points: ends once so many points are known.
        seconds: of each of the two searches, at most.
        seed: of the Sobol sequence.

    Raises:
        UsageError: no domain, or one of the wrong shape.
    """
    box = check_domain(objective, domain)
    if objective.dim > DENSE:
        raise UsageError(f"objective.dim={objective.dim}: a census takes at most {DENSE}")
    pool = _Pool(objective, box, tolerance)
    sobol = qmc.Sobol(objective.dim, seed=seed)
    begin, made, since, exhausted = time.monotonic(), 0, 0, ""
    while since < patience:
        if made >= starts:
            exhausted = f"ended at starts={starts}"
        elif pool.count >= most_points:
            exhausted = f"ended at most_points={most_points}"
        elif time.monotonic() - begin > seconds:
            exhausted = f"ended at seconds={seconds:g}"
        if exhausted:
            break
        x = box[:, 0] + sobol.random(BATCH) * (box[:, 1] - box[:, 0])
        made += BATCH
        since = 0 if pool.add(x) else since + BATCH
    result = Census(objective.name, box, [], [], [], made, pool.arrived, since, exhausted)
    _prove(result, objective, pool, certified, seconds)
    result.points, result.hits, result.sets = pool.rows()
    result.euler = euler_check(objective, box, result.points, pool.kinks)
    _score(result, objective)
    return result


def check_domain(objective: Objective, domain: Any) -> Float[np.ndarray, "d 2"]:
    """The box as an array; the objective's own by default."""
    if domain is None:
        if objective.facts.domain is None:
            raise UsageError(
                f"domain is missing: {objective.name} has none; give domain=[[low, high], ...]"
            )
        domain = objective.facts.domain
    try:
        box = np.array(domain, float)
    except (TypeError, ValueError):  # words, rows of different lengths
        box = np.zeros(0)
    if box.shape != (objective.dim, 2) or not np.all(np.isfinite(box)):
        raise UsageError(
            f"domain={domain}: takes {objective.dim} pairs of finite numbers, [[low, high], ...]"
        )
    if not np.all(box[:, 0] < box[:, 1]):
        raise UsageError(f"domain={box.tolist()}: takes low < high in every pair")
    return box


class _Pool:
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
            new = self._nearest(np.array([v.x for v in self.points]), x)[0] > size
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
            distance, which = self._nearest(np.array([v.x for v in self.points]), ends)
            reach = np.array([100.0 if v.nullity else 1.0 for v in self.points])[which]
            near = distance <= reach * size
            for k, count in zip(*np.unique(which[near], return_counts=True), strict=True):
                self.hits[k] += int(count)
            self.arrived += int(near.sum())
        if len(self.refused):
            near |= self._nearest(self.refused, ends)[0] <= size
        return ends[~near]

    def _size(self, x: np.ndarray) -> np.ndarray:
        """Distance within which points are one with x, in units."""
        return self.tolerance * np.max(lengths(self.box, x) / self.units, axis=1, initial=0.0)

    def _nearest(self, points: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance to the nearest of the points, in units, and which it is."""
        distance, which = cKDTree(points / self.units).query(x / self.units, p=np.inf)
        return np.asarray(distance), np.asarray(which)

    def _distinct(self, x: np.ndarray) -> np.ndarray:
        """One of each cluster of points: those on the same cell of a grid, cells four tolerances
        wide, shifted so that round numbers are not on its lines."""
        cell = 4 * self.units * self._size(x).max(initial=0.0)
        return x[np.sort(np.unique(np.floor(x / cell + 0.3819), axis=0, return_index=True)[1])]

    def near(self, points: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Whether each x is one with one of the points."""
        return self._nearest(points, x)[0] <= self._size(x)

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
        groups: dict[float, list[int]] = {}
        for k, v in enumerate(self.points):
            if v.nullity:
                level = float(f"{v.value:.8e}") if abs(v.value) > 1e-9 else 0.0
                groups.setdefault(level, []).append(k)
            else:
                rows.append((v, self.hits[k], 1))
        for members in groups.values():
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


def _prove(
    result: Census, objective: Objective, pool: _Pool, certified: bool | str, seconds: float
) -> None:
    """Branch and prune where d <= 3, else the certificate of each point."""
    d = objective.dim
    if certified is False or (certified == "auto" and d > CERTIFY):
        result.why = "no proof was asked for" if certified is False else f"d = {d} is too large"
        return
    try:
        if d <= PROVE:
            result.proof = prune(objective, result.domain, seconds=seconds)
            if len(result.proof.roots):  # what Newton missed
                hits = list(pool.hits)
                pool.take(result.proof.roots.mean(axis=2))
                pool.hits[: len(hits)] = hits
            result.why = _open_questions(result.proof)
        else:
            result.why = f"branch and prune takes d <= {PROVE}"
        _mark(objective, pool, result.proof)
    except NotCertifiable as reason:
        result.why = f"no interval form of {reason}"
    proof = result.proof
    if proof is not None and proof.complete and len(proof.roots) != len(pool.points):
        result.proof, result.why = None, (
            f"{len(proof.roots)} points are proved, {len(pool.points)} were found"
        )  # fmt: skip


def _open_questions(proof: Proof) -> str:
    if not proof.complete and not len(proof.unresolved):
        return "a point lies on the border"
    if not len(proof.unresolved):
        return ""
    low, high = proof.unresolved[..., 0].min(axis=0), proof.unresolved[..., 1].max(axis=0)
    where = ", ".join(f"{a:.4g} to {b:.4g}" for a, b in zip(low, high, strict=True))
    n = len(proof.unresolved)
    return f"{n:,} small box{'es' * (n != 1)} unresolved, within ({where})"


def _mark(objective: Objective, pool: _Pool, proof: Proof | None) -> None:
    """Marks as certified the points that lie in a proved enclosure, or pass the test alone."""
    isolated = [k for k, v in enumerate(pool.points) if not v.nullity]
    if not isolated:
        return
    x = np.array([pool.points[k].x for k in isolated])
    radius = 1e-7 * lengths(pool.box, x)
    proved = np.zeros(len(x), bool)
    if proof is not None and len(proof.roots):
        proved = pool.near(proof.roots.mean(axis=2), x)
    for begin in range(0, len(x), 4096):
        rest = begin + np.flatnonzero(~proved[begin : begin + 4096])
        if len(rest):
            proved[rest] = certify(objective, x[rest], radius[rest])
    for k, sure in zip(isolated, proved, strict=True):
        pool.points[k] = replace(pool.points[k], certified=bool(sure))


def _score(result: Census, objective: Objective) -> None:
    """Counts the known points in the domain that were found, and those classified otherwise.

    A known degenerate point is found, too, if it lies on a set that was: one of its value.
    """
    known = objective.facts.critical_points
    if known is None:
        return
    low, high = result.domain.T
    slack = 1e-9 * base(result.domain, objective.dim)
    here = np.all((known.x >= low - slack) & (known.x <= high + slack), axis=1)
    reached = {v.reached: v for v in result.points if v.reached is not None}
    levels = [v.value for v, many in zip(result.points, result.sets, strict=True) if many > 1]
    result.known, result.complete = int(here.sum()), known.complete
    for k in np.flatnonzero(here):
        index, value = int(known.index[k]), float(known.value[k])
        if int(k) in reached:
            v = reached[int(k)]
            result.found += 1
            result.misclassified += (index < 0) != (v.kind == "degenerate") or (
                0 <= index != v.index
            )
        elif index < 0 and any(abs(value - f) <= 1e-8 * max(1.0, abs(f)) for f in levels):
            result.found += 1
