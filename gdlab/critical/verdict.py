"""What an end point is: polished, its Hessian's eigenvalues against their errors, a verdict.

0. Ends of descents that stopped short (`short.py`) are not critical, and get a note.
1. Polish (`polish.py`): Newton on the gradient, staying in the neighbourhood.
2. Evidence (`evidence.py`, `breaks.py`): errors of the gradient and of the eigenvalues, jumps.
3. Kind (`rules.py`): the first rule that applies to what was measured.
4. Again with every tolerance ten times larger and ten times smaller: `stable`.
5. Global or not (`optimum.py`); for few dimensions an interval Krawczyk test: `certified`.

Quick verdicts (`quick.py`) take the place of 1 to 5 where they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gdlab import numerics
from gdlab.critical.cycles import as_cycle, periods
from gdlab.critical.dense import judge_dense
from gdlab.critical.derivatives import DENSE, Derivatives
from gdlab.critical.enclosures import Enclosures
from gdlab.critical.lengths import scales
from gdlab.critical.proof.certificate import certify_verdicts
from gdlab.critical.quick import judge_quick
from gdlab.types import Objective, Verdict

CERTIFY = 3  # largest dimension for which `certified="auto"` tries the certificate


@numerics.computing()
def judge(
    objective: Objective | Sequence[Objective],
    x: Float[np.ndarray, "*n d"],
    status: Any,
    gtol: Any = 1e-8,
    *,
    owner: Int[np.ndarray, " points"] | None = None,
    tail: Float[np.ndarray, "points m d"] | None = None,
    certified: bool | str = "auto",
    how: str = "full",
) -> list[Verdict]:
    """Judges n end points at once.

    Args:
        objective: of all points; or several of one structure (the same f and shapes, their own
            numbers and facts), with `owner` saying whose each point is.
        x: the end points, or one.
        status: how each descent ended `[n]`: `converged`, `budget` or `diverged`.
        gtol: tolerance on ||grad f|| that the descents had, one number or `[n]`.
        owner: position in the objectives of each point's.
        tail: the last m iterates of each descent, oldest first (NaN rows: none); cycles of period
            p <= 16 are looked for in those of descents that used up their steps. m >= 3 p.
        certified: whether to try the interval certificate; `auto`: for d <= 3.
        how: `full`, or `quick`: nothing is polished or proved.

    Returns:
        One verdict a point.
    """
    objectives = [objective] if isinstance(objective, Objective) else list(objective)
    x = np.atleast_2d(np.asarray(x, float))
    n, d = x.shape
    status = np.broadcast_to(np.asarray(status), (n,))
    owner = np.zeros(n, int) if owner is None else np.asarray(owner)
    gtol = np.broadcast_to(np.asarray(gtol, float), (n,))
    quick = how == "quick"
    at = Derivatives(objectives, owner)
    enclosures = Enclosures(at, objectives[0])
    verdicts: list[Any] = [None] * n
    gone = (status == "diverged") | ~np.isfinite(x).all(axis=1)
    for i in np.flatnonzero(gone):
        nan = float("nan")
        verdicts[i] = Verdict("diverged", x[i], nan, nan, nan, method="none")
    points = np.flatnonzero(~gone)
    with np.errstate(all="ignore"):
        if d > DENSE:
            from gdlab.critical.large import judge_large

            for i in points:
                verdicts[i] = judge_large(
                    at, objectives, x[i], int(i), str(status[i]), gtol[i], quick
                )
        elif len(points):
            judged = (
                judge_quick(at, objectives, x, points, status, gtol)
                if quick
                else judge_dense(at, enclosures, objectives, x, points, status, gtol)
            )
            for i, verdict in zip(points, judged, strict=True):
                verdicts[i] = verdict
        if tail is not None:
            _find_cycles(objectives, owner, status, tail, verdicts)
        if not quick and (certified is True or (certified == "auto" and d <= CERTIFY)):
            certify_verdicts(enclosures, objectives, verdicts)
    return verdicts


def _find_cycles(
    objectives: Sequence[Objective],
    owner: np.ndarray,
    status: np.ndarray,
    tail: np.ndarray,
    verdicts: list[Verdict],
) -> None:
    """Replaces the verdicts, in place, of descents whose last iterates repeat."""
    budget = np.flatnonzero(status == "budget")
    iterates = np.asarray(tail[budget], float)
    length = scales(objectives, owner[budget], np.nan_to_num(iterates[:, -1]))
    found = periods(iterates, length=length)  # 0 where a row is not finite: it went off
    for k in np.flatnonzero(found[:, 0]):
        i, period = budget[k], int(found[k, 0])
        stable = bool((found[k] == period).all())
        verdicts[i] = as_cycle(verdicts[i], iterates[k, -1], period, stable)
