"""Newton's method on the gradient, from an end point to the critical point beside it.

The step is Levenberg's, with a damping that fades with the gradient:

    p = -(H^2 + m^2)^-1 H g,    m = c |g|,

which is Newton's step -H^-1 g once |g| is small against the eigenvalues of H, heads for saddles
and maxima as well, and does not move along null directions: it converges quadratically to a line
of critical points too. The damping stays above the rounding errors of null eigenvalues, which
would otherwise carry the point along the line. A trial point counts only if |g| falls. Where H
vanishes with the gradient, Newton's step falls short by a fixed factor, p_k+1 = rho p_k; the sum
of the geometric series, p / (1 - rho), is tried first.

Reference: N. Yamashita and M. Fukushima, Computing Suppl. 15 (2001) 239 (m from |g|);
R. F. Ortega and W. C. Rheinboldt, 1970, sec. 10.2 (linear convergence at singular roots).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from gdlab.critical.derivatives import EPS, Derivatives

STEPS = 60
NULL = 1e-13  # eigenvalues below this part of the largest are as good as zero
STRIDES = 25  # Newton steps to a root of order k: k, and a tail has none
STALLED = 4  # steps that hardly lower |g|: at a root of any order each leaves 0.4 of it or less
BEYOND = 8.0
VANISHES = 1e-3  # what must be left of |g| at most, farther away than the neighbourhood


@dataclass
class Polished:
    """Where polishing ended; rows belong to the points that were given.

    Attributes:
        x, value, g, H: the end of polishing and the derivatives there.
        eigenvalues, vectors: of H, ascending.
        left: polishing left the neighbourhood (the point is where it was last inside).
    """

    x: Float[np.ndarray, "m d"]
    value: Float[np.ndarray, " m"]
    g: Float[np.ndarray, "m d"]
    H: Float[np.ndarray, "m d d"]
    eigenvalues: Float[np.ndarray, "m d"]
    vectors: Float[np.ndarray, "m d d"]
    left: Bool[np.ndarray, " m"]


def norm(a: Float[np.ndarray, " m *s"]) -> Float[np.ndarray, " m"]:
    """Euclidean norm of each row, safe against overflow and underflow."""
    flat = np.abs(a.reshape(len(a), math.prod(a.shape[1:])))
    largest = flat.max(axis=1, initial=0.0)
    safe = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    with np.errstate(over="ignore"):  # in rows that are not finite
        return safe * np.sqrt(np.sum((flat / safe[:, None]) ** 2, axis=1))


def eigen(H: Float[np.ndarray, "m d d"]) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues ascending and eigenvectors; NaN where H is not finite."""
    bad = ~np.isfinite(H).all(axis=(1, 2))
    safe = np.where(bad[:, None, None], 0.0, H)
    values, vectors = np.linalg.eigh(safe)
    values[bad] = np.nan
    return values, vectors


def levenberg(
    g: Float[np.ndarray, "m d"],
    eigenvalues: Float[np.ndarray, "m d"],
    vectors: Float[np.ndarray, "m d d"],
    damping: Float[np.ndarray, " m"],
) -> Float[np.ndarray, "m d"]:
    """-(H^2 + m^2)^-1 H g from the eigenvalues of H, scaled so that nothing under- or overflows."""
    size = np.abs(eigenvalues).max(axis=1)
    size = np.where(size > 0, size, 1.0)[:, None]
    lam, m = eigenvalues / size, damping[:, None] / size
    along = np.einsum("mij,mi->mj", vectors, g / size)
    with np.errstate(all="ignore"):
        step = along / (lam + m * (m / lam))
    return -np.einsum("mij,mj->mi", vectors, np.where((lam == 0) | np.isnan(step), 0.0, step))


def polish(
    at: Derivatives,
    x: Float[np.ndarray, "m d"],
    points: Int[np.ndarray, " m"],
    reach: Float[np.ndarray, " m"],
    most: Float[np.ndarray, " m"],
    steps: int = STEPS,
    relative: float | None = None,
    units: Float[np.ndarray, "m d"] | None = None,
) -> Polished:
    """Polishes the points x.

    Args:
        points: whose data each row is evaluated with.
        reach: the neighbourhood is at least this wide, and `STRIDES` Newton steps if that is more;
        most: but at most this wide. A full step that leads farther, up to `BEYOND` as far, counts
            if the gradient all but vanishes there: a long narrow valley, not a tail.
        steps: trial points at most.
        relative: for starts far from any critical point: the damping at the start, as a part of
            the largest |eigenvalue| there (default: c = 1).
        units: of each coordinate, in which the steps are computed (default: 1).
    """
    n, start = len(x), x.copy()

    def hessians(x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        value, g, H = at.hessians(x, points[rows])
        if units is None:
            return value, g, H
        u = units[rows]
        return value, g * u, H * u[:, :, None] * u[:, None, :]

    value, g, H = hessians(x, np.arange(n))
    eigenvalues, vectors = eigen(H)
    now = Polished(x.copy(), value, g, H, eigenvalues, vectors, np.zeros(n, bool))
    size = norm(g)
    largest = np.abs(eigenvalues).max(axis=1, initial=0.0)
    one = np.ones_like(x) if units is None else units
    first = norm(one * levenberg(g, eigenvalues, vectors, NULL * largest))
    radius = np.clip(STRIDES * first, reach, most)
    least = np.ones(n)
    if relative is not None:
        with np.errstate(all="ignore"):
            least = relative * largest / size
        least[~np.isfinite(least)] = 1.0
    if units is not None:  # they are chosen so that Newton's step is good
        with np.errstate(all="ignore"):
            least = np.nan_to_num(1e-6 * largest / size, posinf=1.0)
    c, rho, before = least.copy(), np.zeros(n), np.zeros(n)
    alive = np.isfinite(size) & np.isfinite(eigenvalues).all(axis=1) & (size > 0)
    boosted, slow = np.zeros(n, bool), np.zeros(n, int)
    for _ in range(steps):
        i = np.flatnonzero(alive)
        if not len(i):
            break
        floor = NULL * np.abs(now.eigenvalues[i]).max(axis=1, initial=0.0)
        damping = np.maximum(c[i] * size[i], floor)
        p = one[i] * levenberg(now.g[i], now.eigenvalues[i], now.vectors[i], damping)
        length, ulp = norm(p / one[i]), 4 * EPS * norm(now.x[i] / one[i])
        boost = (rho[i] > 0.25) & (rho[i] < 0.97) & ~boosted[i]
        boosted[i] = boost
        trial = now.x[i] + p / np.where(boost, 1 - rho[i], 1.0)[:, None]
        away = norm(trial - start[i])
        outside = ~(away <= radius[i])
        left = ~(away <= np.where(boost, 2.0, BEYOND) * most[i])
        done = (length <= ulp) | left
        now.left[i[left & ~boost]] = True
        alive[i[done & ~(left & boost)]] = False
        i, length, trial, outside = (a[~done] for a in (i, length, trial, outside))
        boost = boost[~done]
        value, g, H = hessians(trial, i)
        fell = np.where(outside, VANISHES, 1.0) * size[i]
        better = (norm(g) < fell) & np.isfinite(H).all(axis=(1, 2)) & np.isfinite(value)
        gone = outside & ~better & ~boost
        now.left[i[gone]], alive[i[gone]] = True, False
        hit, miss = i[better], i[~better & ~boost & ~gone]
        now.x[hit], now.value[hit] = trial[better], value[better]
        now.g[hit], now.H[hit] = g[better], H[better]
        now.eigenvalues[hit], now.vectors[hit] = eigen(H[better])
        if relative is None:
            slow[hit] += norm(g[better]) > 0.8 * size[hit]
        size[hit] = norm(g[better])
        alive[hit[slow[hit] >= STALLED]] = False
        radius[hit] = np.maximum(radius[hit], 1.5 * away[~done][better])
        plain = better & ~boost
        with np.errstate(all="ignore"):
            ratio = length / before[i]
        rho[i] = np.where(plain & np.isfinite(ratio), ratio, 0.0)
        before[i] = np.where(plain, length, 0.0)
        c[hit] = np.maximum(c[hit] / 4, least[hit])
        c[miss] *= 16
        alive[miss[c[miss] > 1e12 * least[miss]]] = False
        alive[hit[size[hit] == 0]] = False
    if units is not None:
        now.g, now.H = now.g / units, now.H / units[:, :, None] / units[:, None, :]
        now.eigenvalues, now.vectors = eigen(now.H)
    return now
