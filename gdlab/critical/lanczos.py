"""Verdicts where d is too large for a dense Hessian: Hessian-vector products only.

Polishing solves H p = -g by MINRES, which takes indefinite and singular H; the extreme eigenvalues
come from Lanczos. Eigenvalues in between are not seen: a minimum or maximum is decided by the
smallest or largest one, the index of a saddle is a lower bound if all the smallest ones computed
are negative.

Reference: C. C. Paige and M. A. Saunders, SIAM J. Numer. Anal. 12 (1975) 617; Y. Saad, Numerical
Methods for Large Eigenvalue Problems, 2011, ch. 6.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh, minres

from gdlab.critical.derivatives import EPS, Derivatives
from gdlab.types import Objective, Verdict

EACH = 6  # eigenvalues at each end
STEPS = 20
ONLY = f"Lanczos: only the {EACH} smallest and {EACH} largest eigenvalues are known"


def judge_large(
    at: Derivatives, objective: Objective, x: Float[np.ndarray, " d"], point: int, status: str,
    gtol: float,
) -> Verdict:  # fmt: skip
    """The verdict on one end point."""
    which = np.array([point])
    value, g = (a[0] for a in at.gradients(x[None], which))
    before = float(np.linalg.norm(g))
    if status != "converged" and not before <= gtol:
        note = f"descent had not converged; d = {len(x)}: not polished"
        return Verdict(
            "not_critical", x, float(value), before, before, method="none", note=note
        )  # fmt: skip
    y, value, g = _polish(at, x, float(value), g, point)
    grad_norm, moved = float(np.linalg.norm(g)), float(np.linalg.norm(y - x))
    eigenvalues, error = _extremes(at, y, point)
    scale = max(1.0, float(np.abs(x).max()))
    size = float(np.abs(eigenvalues).max())
    rounding = 32 * EPS * size * max(float(np.linalg.norm(y)), 1.0)
    if not np.isfinite(error) or not grad_norm <= max(rounding, 1e-9 * size * scale):
        note = "the gradient is small, but polishing finds no critical point beside it"
        return Verdict("plateau", x, value, before, before, moved=moved, method="none", note=note)

    def classify(error: float) -> tuple[str, int, int]:
        negative = int(np.sum(eigenvalues < -error))
        null = int(np.sum(np.abs(eigenvalues) <= error))
        if null:
            return "degenerate", negative, null
        if eigenvalues[0] > error:
            return "minimum", 0, 0
        if eigenvalues[-1] < -error:
            return "maximum", len(x), 0
        return "saddle", negative, 0

    kind, index, null = classify(error)
    note = ONLY
    if index and not (eigenvalues[EACH - 1] >= -error) and kind != "maximum":
        note += f"; the index is {index} at least"
    low = None
    f_star = objective.facts.f_star
    if f_star is not None and kind in ("minimum", "degenerate"):
        low = value <= f_star + 1e-9 * max(1.0, abs(f_star))
        low = None if kind == "degenerate" and not low else low
    return Verdict(
        kind, y, value, grad_norm, before, index, moved, eigenvalues, error, null, low,
        stable=all(classify(error * t) == (kind, index, null) for t in (0.1, 10.0)),
        method="lanczos", note=note,
    )  # fmt: skip


def _operator(at: Derivatives, x: np.ndarray, point: int) -> LinearOperator:
    d = len(x)
    return LinearOperator((d, d), matvec=at.curvature(x, point), dtype=np.float64)


def _polish(
    at: Derivatives, x: np.ndarray, value: float, g: np.ndarray, point: int
) -> tuple[np.ndarray, float, np.ndarray]:
    """Newton by MINRES, as long as |g| falls and the point stays within a tenth of its size."""
    start, reach, which = x, 0.1 * max(1.0, float(np.abs(x).max())), np.array([point])
    for _ in range(STEPS):
        size = float(np.linalg.norm(g))
        if size == 0:
            break
        p, _ = minres(_operator(at, x, point), -g, rtol=1e-8, maxiter=200)
        for shrink in (1.0, 0.25, 0.0625):
            trial = x + shrink * p
            new_value, new_g = (a[0] for a in at.gradients(trial[None], which))
            if np.linalg.norm(new_g) < size and np.linalg.norm(trial - start) <= reach:
                x, value, g = trial, float(new_value), new_g
                break
        else:
            break
        if np.linalg.norm(p) <= 4 * EPS * np.linalg.norm(x):
            break
    return x, value, g


def _extremes(at: Derivatives, x: np.ndarray, point: int) -> tuple[np.ndarray, float]:
    """Extreme eigenvalues, ascending, and a bound on their error: the residuals and rounding."""
    H, d = _operator(at, x, point), len(x)
    begin = np.random.default_rng(0).standard_normal(d)
    try:
        ends = [
            eigsh(H, k=EACH, which=which, v0=begin, maxiter=20 * d, ncv=min(d, 40))
            for which in ("SA", "LA")
        ]
    except ArpackNoConvergence:
        return np.full(2 * EACH, np.nan), float("inf")
    values = np.concatenate([v for v, _ in ends])
    vectors = np.concatenate([V for _, V in ends], axis=1)
    rest = [np.linalg.norm(H @ V - v * V) for v, V in zip(values, vectors.T, strict=True)]
    error = float(max(rest)) + 4 * np.sqrt(d) * EPS * float(np.abs(values).max())
    order = np.argsort(values)
    return values[order], 4 * error
