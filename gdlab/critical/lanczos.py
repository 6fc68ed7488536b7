"""Verdicts where d is too large for a dense Hessian: Hessian-vector products only.

Polishing solves H p = -g by MINRES, which takes indefinite and singular H. The extreme eigenvalues
come from Lanczos on H + s 1 with s above ||H||: ARPACK begins in the range of its matrix, which
must not leave out the null space. Null eigenvalues in between are looked for with MINRES: for a
random r, what is left of r after H y = H r is solved lies where H is nearly zero. Counts are lower
bounds, since Lanczos shows few copies of a multiple eigenvalue.

Reference: C. C. Paige and M. A. Saunders, SIAM J. Numer. Anal. 12 (1975) 617; Y. Saad, Numerical
Methods for Large Eigenvalue Problems, 2011, ch. 6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh, minres

from gdlab.critical.derivatives import EPS, Derivatives
from gdlab.critical.enclosures import Enclosures
from gdlab.critical.evidence import TINY, pattern
from gdlab.critical.lengths import scales
from gdlab.critical.optimum import judge_global, known_points
from gdlab.critical.polish import levenberg, norm
from gdlab.critical.smooth import WORDS, WRONG, Breaks, breaks_along, directions
from gdlab.types import Objective, Verdict

EACH = 6  # eigenvalues at each end
STEPS = 20
WHOLE = 2000  # largest dimension in which the whole Hessian is formed if nothing else decides
CLOSE = 1e-9  # as for dense Hessians
Product = Callable[[np.ndarray], np.ndarray]


@dataclass
class Spectrum:
    """Eigenvalues of a Hessian that are known, ascending, and what they leave open.

    Attributes:
        values: eigenvalues; all of them where `whole`.
        error: bound on the error of each.
        null_between: a null eigenvalue was found among those that are not known.
        sure: whether null eigenvalues among those that are not known can be ruled out.
    """

    values: Float[np.ndarray, " m"]
    error: float
    whole: bool
    null_between: bool = False
    sure: bool = True

    def classify(self, d: int, factor: float) -> tuple[str, int, int]:
        """Kind, index and nullity with the error times `factor`."""
        error = factor * self.error
        negative = int(np.sum(self.values < -error))
        null = int(np.sum(np.abs(self.values) <= error))
        if null or self.null_between:
            return "degenerate", negative, max(null, 1)
        if negative == 0:
            return "minimum", 0, 0
        if self.values[-1] < -error:
            return "maximum", d, 0
        return "saddle", negative, 0

    def note(self, kind: str, index: int, null: int) -> str:
        """What the counts are worth."""
        if self.whole:
            return ""
        text = f"Lanczos: only the {EACH} smallest and {EACH} largest eigenvalues are known"
        parts = []
        if index and kind != "maximum":
            parts.append(f"the index is {index} at least")
        if null:
            parts.append(f"the nullity is {null} at least")
        elif not self.sure and kind == "saddle":
            parts.append("null eigenvalues in between are not ruled out")
        return "; ".join([text, *parts])


def judge_large(
    at: Derivatives, objectives: Sequence[Objective], x: Float[np.ndarray, " d"], point: int,
    status: str, gtol: float,
) -> Verdict:  # fmt: skip
    """The verdict on one end point."""
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
    scale = float(scales(objectives, owner, x[None])[0])
    y, low, slope, step, left = _polish(at, x, float(value), g, point, scale)
    breaks = _breaks(at, objectives[0], (y, low, slope), point, scale)
    if breaks.value[0] or breaks.gradient[0]:
        return leave("not_critical", WORDS["f" if breaks.value[0] else "gradient"])
    if breaks.hessian[0]:
        return leave("degenerate", WORDS["Hessian"])
    g_error = _rounding(at, y, slope, point, scale)
    spectrum = _spectrum(at, y, point, step, scale)
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


def _operator(at: Derivatives, x: np.ndarray, point: int) -> LinearOperator:
    d = len(x)
    return LinearOperator((d, d), matvec=at.curvature(x, point), dtype=np.float64)


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
        p, _ = minres(_operator(at, x, point), -g / size, rtol=1e-12, maxiter=200)
        step = size * p
        rest = float(np.linalg.norm(at.curvature(x, point)(p) * size + g))
        if rest > 1e-6 * size and len(x) <= WHOLE and wholes:
            wholes -= 1
            H = _whole(at.curvature(x, point), len(x))
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


def _spectrum(
    at: Derivatives, x: np.ndarray, point: int, step: np.ndarray, scale: float
) -> Spectrum:
    """Eigenvalues of the Hessian, and how they change as far as the critical point may lie."""
    d, product = len(x), at.curvature(x, point)
    rng = np.random.default_rng(0)
    size = _largest(product, rng.standard_normal(d))
    if size == 0:
        return Spectrum(np.zeros(d), 0.0, True)
    if not np.isfinite(size):
        return Spectrum(np.full(2 * EACH, size), np.inf, False)
    values, vectors, rest = _extremes(product, size, d, rng)
    u = pattern(d)
    probes = np.column_stack([vectors, u, rng.standard_normal((d, 2)) / np.sqrt(d)])
    ulps = 8 * EPS * np.sign(u) * np.maximum(np.abs(x), scale)
    here = np.column_stack([product(v) for v in probes.T])
    changed = 0.0
    for way, weight in ((ulps, 2.0), (-ulps, 2.0), (3 * step, 2.0), (-3 * step, 2.0)):
        other = at.curvature(x + way, point)
        there = np.column_stack([other(v) for v in probes.T])
        changed = max(changed, weight * float(np.linalg.norm(there - here, axis=0).max()))
    error = rest + changed + 16 * np.sqrt(d) * EPS * size
    found = Spectrum(values, error, False)
    decided = np.isfinite(rest) and np.abs(values).min() > 10 * error
    if decided and error < 0.05 * size and (values[0] > 0 or values[-1] < 0):
        return found
    if d <= WHOLE:
        error = changed + 4 * np.sqrt(d) * EPS * size
        return Spectrum(np.linalg.eigvalsh(_whole(product, d)), error, True)
    if not np.isfinite(rest):
        return found
    found.null_between, found.sure = _null_between(at, x, point, error, rng)
    return found


def _whole(product: Product, d: int) -> Float[np.ndarray, "d d"]:
    H = np.column_stack([product(e) for e in np.eye(d)])
    return 0.5 * (H + H.T)


def _largest(product: Product, v: np.ndarray) -> float:
    """An upper estimate of ||H|| by power iterations."""
    size = 0.0
    for _ in range(20):
        v = v / np.linalg.norm(v)
        v = product(v)
        size = float(np.linalg.norm(v))
        if not np.isfinite(size) or size == 0:
            break
    return 2 * size


def _extremes(
    product: Product, size: float, d: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """Extreme eigenvalues, ascending, their vectors, and the largest residual (inf: not found)."""
    shifted = {
        "SA": LinearOperator((d, d), matvec=lambda v: product(v) / size - 2 * np.ravel(v)),
        "LA": LinearOperator((d, d), matvec=lambda v: product(v) / size + 2 * np.ravel(v)),
    }
    found, vectors = [], []
    for which, operator in shifted.items():
        operator.dtype = np.dtype(float)
        try:
            _, V = eigsh(
                operator, k=EACH, which=which, v0=rng.standard_normal(d), ncv=min(d, 60),
                maxiter=20 if d <= WHOLE else 300, tol=1e-13,
            )  # fmt: skip
        except ArpackNoConvergence as error:
            V = error.eigenvectors
            if V.shape[1] == 0:
                V = np.eye(d)[:, :1]
            found.append(np.inf)
        vectors.append(V)
    V = np.concatenate(vectors, axis=1)
    HV = np.column_stack([product(v) for v in V.T])
    values = np.einsum("ij,ij->j", V, HV)
    rest = float(np.linalg.norm(HV - V * values, axis=0).max())
    order = np.argsort(values)
    return values[order], V[:, order], max([rest, *found])


def _null_between(
    at: Derivatives, x: np.ndarray, point: int, error: float, rng: np.random.Generator
) -> tuple[bool, bool]:
    """Whether a null eigenvalue is found among the inner ones; whether none can be there.

    r minus the solution of H y = H r is the part of r in the null space. A vector n with
    ||H n|| <= error ||n|| proves an eigenvalue within the error of zero.
    """
    operator, product = _operator(at, x, point), at.curvature(x, point)
    n = r = rng.standard_normal(len(x))
    for _ in range(3):  # refined, as the solution of a linear system is
        y, failed = minres(operator, product(n), rtol=1e-14, maxiter=4 * len(x))
        n = n - y
        left = float(np.linalg.norm(n))
        if left <= 1e-6 * np.linalg.norm(r):
            return False, not failed
        if np.linalg.norm(product(n)) <= error * left:
            return True, True
    return False, False
