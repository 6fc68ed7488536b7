"""Extreme eigenvalues of a Hessian from its products alone.

Lanczos works on H + s 1 with s above ||H||: ARPACK begins in the range of its matrix, which must
not leave out the null space. Null eigenvalues in between are looked for with MINRES: for a random
r, what is left of r after H y = H r is solved lies where H is nearly zero. Counts are lower bounds,
since Lanczos shows few copies of a multiple eigenvalue.

Reference: Y. Saad, Numerical Methods for Large Eigenvalue Problems, 2011, ch. 6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh, minres

from gdlab.critical.derivatives import EPS, Derivatives, pattern

EACH = 6  # eigenvalues at each end
WHOLE = 2000  # largest dimension in which the whole Hessian is formed if nothing else decides
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


def as_operator(at: Derivatives, x: np.ndarray, point: int) -> LinearOperator:
    d = len(x)
    return LinearOperator((d, d), matvec=at.curvature(x, point), dtype=np.float64)


def spectrum_at(
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
        return Spectrum(np.linalg.eigvalsh(whole_hessian(product, d)), error, True)
    if not np.isfinite(rest):
        return found
    found.null_between, found.sure = _null_between(at, x, point, error, rng)
    return found


def whole_hessian(product: Product, d: int) -> Float[np.ndarray, "d d"]:
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
    operator, product = as_operator(at, x, point), at.curvature(x, point)
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
