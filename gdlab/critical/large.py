"""Verdicts where d is too large for a dense Hessian: Hessian-vector products only.

Polishing solves H p = -g by MINRES, which takes indefinite and singular H; the extreme eigenvalues
come from `lanczos`.

Reference: C. C. Paige and M. A. Saunders, SIAM J. Numer. Anal. 12 (1975) 617.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import minres

from gdlab.critical.breaks import WORDS, WRONG, Breaks, breaks_along, directions
from gdlab.critical.derivatives import EPS, Derivatives, pattern
from gdlab.critical.enclosures import Enclosures
from gdlab.critical.evidence import TINY
from gdlab.critical.lanczos import WHOLE, as_operator, spectrum_at, whole_hessian
from gdlab.critical.lengths import scales
from gdlab.critical.optimum import judge_global, known_points
from gdlab.critical.polish import levenberg, norm
from gdlab.critical.rules import UNDECIDED
from gdlab.types import Objective, Verdict

STEPS = 20
CLOSE = 1e-9  # as for dense Hessians


def judge_large(
    at: Derivatives, objectives: Sequence[Objective], x: Float[np.ndarray, " d"], point: int,
    status: str, gtol: float, quick: bool = False,
) -> Verdict:  # fmt: skip
    """The verdict on one end point; a quick one decides no kind."""
    which, owner, d = np.array([point]), at.owner[[point]], len(x)
    value, g = (a[0] for a in at.gradients(x[None], which))
    before = float(norm(g[None])[0])

    def leave(kind: str, note: str, moved: float = 0.0) -> Verdict:
        return Verdict(kind, x, float(value), before, before, moved=moved, method="none", note=note)

    if not np.isfinite(value):
        return leave("not_critical", "f is not finite here")
    if not np.isfinite(before):
        return leave("not_critical", "the gradient is not a number here")
    if status != "converged" and not before <= gtol and not _is_rounding(at, x, g, point):
        return leave("not_critical", f"descent had not converged; d = {d}: not polished")
    if quick:
        note = f"quick: no Hessian is formed at d = {d}"
        return replace(leave(UNDECIDED, note), stable=False, method="quick")
    scale = float(scales(objectives, owner, x[None])[0])
    y, low, slope, step, left = _polish(at, x, float(value), g, point, scale)
    breaks = _breaks(at, objectives[0], (y, low, slope), point, scale)
    if breaks.value[0] or breaks.gradient[0]:
        return leave("not_critical", WORDS["f" if breaks.value[0] else "gradient"])
    if breaks.hessian[0]:
        return leave("degenerate", WORDS["Hessian"])
    g_error = _rounding(at, y, slope, point, scale)
    spectrum = spectrum_at(at, y, point, step, scale)
    moved, size = float(np.linalg.norm(y - x)), float(norm(slope[None])[0])
    if size == 0 and spectrum.whole and not spectrum.values.any() and _level(at, y, point, scale):
        return leave("plateau", "gradient and Hessian are zero throughout a neighbourhood")
    close = 10 * float(np.linalg.norm(step)) <= CLOSE * scale and left <= 1e-3 * size
    if not np.isfinite(spectrum.error) or not (size <= g_error or close):
        note = "the gradient is small, but polishing finds no critical point beside it"
        return leave("plateau", note, moved)
    kind, index, null = spectrum.classify(d, 1.0)
    wrong = bool(breaks.rule[0])
    stable = all(spectrum.classify(d, t) == (kind, index, null) for t in (0.1, 10.0))
    sides = np.abs(spectrum.values)
    rise = float(sides[sides > spectrum.error].min(initial=np.inf)) * scale**2
    reached = known_points(objectives, owner, y[None], np.array([scale]))
    is_low = None
    if kind in ("minimum", "degenerate"):
        (is_low,) = judge_global(
            objectives, owner, Enclosures(at, objectives[0]), which, y[None], np.array([scale]),
            np.array([3 * np.linalg.norm(step)]), np.array([rise if rise < np.inf else abs(low)]),
            reached,
        )  # fmt: skip
        is_low = None if kind == "degenerate" and is_low is False else is_low
    return Verdict(
        kind, y, low, size, before, index, moved, spectrum.values, spectrum.error, null, is_low,
        int(reached[0]) if reached[0] >= 0 else None,
        stable=stable and (spectrum.sure or kind != "saddle") and not wrong,
        method="dense" if spectrum.whole else "lanczos",
        note=WRONG if wrong else spectrum.note(kind, index, null),
    )  # fmt: skip


def _is_rounding(at: Derivatives, x: np.ndarray, g: np.ndarray, point: int) -> bool:
    """Whether the gradient is no larger than its rounding error."""
    return bool(norm(g[None])[0] <= _rounding(at, x, g, point, float(np.abs(x).max())))


def _rounding(at: Derivatives, x: np.ndarray, g: np.ndarray, point: int, scale: float) -> float:
    """Rounding error of the gradient: its changes over some units in the last place."""
    d, worst = len(x), TINY
    for k in (-3, -1, 1, 2):
        way = 8 * EPS * k * np.sign(pattern(d)) * np.maximum(np.abs(x), scale)
        _, other = at.gradients((x + way)[None], np.array([point]))
        worst = max(worst, 4 * float(norm(other - g)[0]))
    return worst


def _breaks(
    at: Derivatives,
    objective: Objective,
    here: tuple[np.ndarray, float, np.ndarray],
    point: int,
    scale: float,
) -> Breaks:
    """What jumps at the point, along a few directions: x, f and g are `here`."""
    u, (x, value, g) = directions(len(here[0]), 4, 8), here
    product = at.curvature(x, point)
    along = np.stack([product(v) for v in u])

    def bends(x: np.ndarray, v: np.ndarray, which: np.ndarray) -> np.ndarray:
        return np.stack([at.curvature(*a)(v) for *a, v in zip(x, which, v, strict=True)])

    one = x[None], np.array([value]), g[None], along[None]
    return breaks_along(at, objective, u, one, bends, np.array([point]), np.array([scale]))


def _level(at: Derivatives, x: np.ndarray, point: int, scale: float) -> bool:
    """Whether the gradient is zero a little farther off, too."""
    way = 1e-2 * scale * pattern(len(x))
    return not at.gradients(np.stack([x + way, x - way]), np.array([point, point]))[1].any()


def _polish(
    at: Derivatives, x: np.ndarray, value: float, g: np.ndarray, point: int, scale: float
) -> tuple[np.ndarray, float, np.ndarray, np.ndarray, float]:
    """Newton by MINRES, as long as |g| falls and the point stays within a quarter of its length.

    Where steps shrink by a fixed factor, the sum of their geometric series is tried first, as in
    `polish.py`.

    Returns:
        The point, f, the gradient, Newton's step, and what the step leaves of the gradient: the
        part along null directions.
    """
    enough = _rounding(at, x, g, point, scale)
    wholes = 3  # Hessians formed where MINRES does not converge
    start, reach, which, step = x, 0.25 * scale, np.array([point]), np.zeros_like(x)
    before, rest = 0.0, np.inf
    for _ in range(STEPS):
        size = float(norm(g[None])[0])
        if size == 0:
            return x, value, g, np.zeros_like(x), 0.0
        if size <= enough and step.any():
            enough = _rounding(at, x, g, point, scale)
            if size <= enough:
                break
        p, _ = minres(as_operator(at, x, point), -g / size, rtol=1e-12, maxiter=200)
        step = size * p
        rest = float(np.linalg.norm(at.curvature(x, point)(p) * size + g))
        if rest > 1e-6 * size and len(x) <= WHOLE and wholes:
            wholes -= 1
            H = whole_hessian(at.curvature(x, point), len(x))
            values, vectors = np.linalg.eigh(H)
            floor = np.full(1, 1e-13 * np.abs(values).max())
            step = levenberg(g[None], values[None], vectors[None], floor)[0]
            rest = float(np.linalg.norm(H @ step + g))
        length = float(np.linalg.norm(step))
        rho = length / before if before else 0.0
        stretch = 1 / (1 - rho) if 0.25 < rho < 0.97 else 1.0
        before = length if stretch == 1 else 0.0
        for factor in (stretch, 1.0, 0.25, 0.0625):
            trial = x + factor * step
            new_value, new_g = (a[0] for a in at.gradients(trial[None], which))
            if norm(new_g[None])[0] < size and np.linalg.norm(trial - start) <= reach:
                x, value, g = trial, float(new_value), new_g
                break
        else:
            break
        if length <= 4 * EPS * np.linalg.norm(x):
            break
    return x, value, g, step, rest
