"""All critical points of an objective in its domain, saddles and maxima included.

1. Newton on the gradient from Sobol starts (`multistart.py`), until no new point has appeared for
   `patience` starts. Every point is judged (`verdict.py`).
2. For d <= 3, branch and prune proves "exactly n in this box", where it can (`completeness.py`).
3. Checks: the Euler characteristic (`euler.py`), and an estimate of what was missed from how often
   each point was hit.

Points that are no isolated points (a line of minima, an orbit of a symmetry) are reported as one
set, with the dimension of the null space.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import qmc

from gdlab import numerics
from gdlab.critical.census_result import Census
from gdlab.critical.completeness import is_smooth, prove
from gdlab.critical.derivatives import DENSE
from gdlab.critical.euler import euler_check
from gdlab.critical.lengths import base
from gdlab.critical.multistart import Multistart
from gdlab.errors import UsageError
from gdlab.types import Objective

BATCH = 512  # starts of a round


def census(objective: Objective, domain: Any = None, **options: Any) -> pd.DataFrame:
    """All critical points in the domain, as a table; see `take_census` for the options.

    Returns:
        One row a point: `x0 ...`, `f`, `grad_norm`, `index`, `kind`, `nullity`, `hits`,
        `certified`, `reached` (position in the known points); lowest f first.
        `table.attrs["summary"]` says what is certified and what is numerical.
    """
    return take_census(objective, domain, **options).table


@numerics.computing()
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
    numbers = {"starts": starts, "patience": patience, "tolerance": tolerance, "seconds": seconds}
    for key, value in numbers.items():
        if not value > 0:
            raise UsageError(f"{key}={value}: takes a number > 0")
    if objective.dim > DENSE:
        raise UsageError(f"objective.dim={objective.dim}: a census takes at most {DENSE}")
    seen = Multistart(objective, box, tolerance)
    sobol = qmc.Sobol(objective.dim, seed=seed)
    begin, made, since, exhausted = time.monotonic(), 0, 0, ""
    while since < patience:
        if made >= starts:
            exhausted = f"ended at starts={starts}"
        elif seen.count >= most_points:
            exhausted = f"ended at most_points={most_points}"
        elif time.monotonic() - begin > seconds:
            exhausted = f"ended at seconds={seconds:g}"
        if exhausted:
            break
        x = box[:, 0] + sobol.random(BATCH) * (box[:, 1] - box[:, 0])
        made += BATCH
        since = 0 if seen.add(x) else since + BATCH
    result = Census(objective.name, box, [], [], [], made, seen.arrived, since, exhausted)
    prove(result, objective, seen, certified, seconds)
    result.points, result.hits, result.sets = seen.rows()
    rough = seen.kinks or not is_smooth(objective, box, result.proof)
    result.euler = euler_check(objective, box, result.points, rough)
    _score(result, objective)
    return result


def check_domain(objective: Objective, domain: Any) -> Float[np.ndarray, "d 2"]:
    """The box as an array; the objective's own by default."""
    if not isinstance(objective, Objective):
        raise UsageError(
            f"objective={objective!r}: takes a gdlab.Objective, e.g. gdlab.objectives.booth()"
        )
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
