"""Whether f, its gradient or its Hessian jumps at a point.

What the program of f leaves open (`smooth.py`) is sampled in many directions on both sides of the
point, at distances of some units in the last place and 1e-5 of its length. What is smooth changes
far less over the short distance than over the long one; what jumps changes as much. Homogeneous
functions such as |x^2 - y^2| have another Hessian in each sector, which one direction does not
show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from gdlab import numerics
from gdlab.critical.derivatives import EPS, Derivatives
from gdlab.critical.polish import Polished, norm
from gdlab.critical.smooth import has_rules, is_smooth
from gdlab.types import Objective

ULPS = 8 * EPS  # the short distance, relative to the point's length
MIDDLE, FAR = 1e-7, 1e-5  # the long ones
WRONG = "f rises otherwise than its gradient says: its derivative rule is not that of f"
DIRECTIONS = 24  # at least, from two dimensions on


@dataclass
class Breaks:
    """What jumps at each point: f, its gradient, its Hessian; and whether f rises there otherwise
    than its gradient says (`rule`), as where a derivative rule of the user's own is wrong."""

    value: Bool[np.ndarray, " m"]
    gradient: Bool[np.ndarray, " m"]
    hessian: Bool[np.ndarray, " m"]
    rule: Bool[np.ndarray, " m"]


def directions(d: int) -> Float[np.ndarray, "k d"]:
    """Unit vectors: axes and directions that no symmetry singles out; their opposites as well."""
    if d == 1:
        return np.array([[1.0], [-1.0]])
    axes = np.eye(d)[np.linspace(0, d - 1, min(d, 16)).astype(int)]
    if d == 2:
        angle = np.pi * np.mod(0.6180339887 * np.arange(1, DIRECTIONS - 1), 1.0)
        others = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    else:
        others = np.random.default_rng(0).standard_normal((DIRECTIONS, d))
        others /= np.linalg.norm(others, axis=1)[:, None]
    u = np.concatenate([axes, others])
    return np.concatenate([u, -u])


@numerics.computing()
def find_breaks(
    at: Derivatives,
    objective: Objective,
    p: Polished,
    points: Int[np.ndarray, " m"],
    scale: Float[np.ndarray, " m"],
) -> Breaks:
    """Looks for jumps of f, of its gradient and of its Hessian at polished points.

    Args:
        objective: one of those that share the program of f.
        scale: length over which f changes, of each point.
    """
    m, d = p.x.shape
    none = np.zeros(m, bool)
    if not m or is_smooth(objective):
        return Breaks(none, none.copy(), none.copy(), none.copy())
    u = directions(d)
    k = len(u)
    nobody = np.repeat(points, k)
    value, slope, bent, ahead = {}, {}, {}, {}
    steepest = norm(p.g)
    along = np.einsum("mij,kj->mki", p.H, u)
    with np.errstate(all="ignore"):
        for r in (ULPS, 4 * ULPS, MIDDLE, FAR):
            way = r * scale[:, None, None] * u
            f, g = at.gradients((p.x[:, None] + way).reshape(-1, d), nobody)
            f, g = f.reshape(m, k), g.reshape(m, k, d)
            value[r] = f - p.value[:, None]
            ahead[r] = np.einsum("mkd,kd->mk", g, u)
            change = g - p.g[:, None]
            slope[r] = _largest(np.sqrt(np.sum(change**2, axis=2)))
            bend = change - r * scale[:, None, None] * along
            bent[r] = _largest(np.sqrt(np.sum(bend**2, axis=2))) / (r * scale)
            size = np.sqrt(np.sum(g**2, axis=2))
            steepest = np.fmax(steepest, _largest(np.where(np.isfinite(size), size, 0.0)))
        jump = _jumps(value, p.value, steepest * scale)
        kink = (slope[ULPS] > 4e-3 * slope[FAR]) & (slope[FAR] > 0)
        kink &= slope[ULPS] > 1e5 * EPS * np.abs(p.value) / scale
        # What no Hessian explains farther off either; else it is noise of cancellation.
        kink &= ~(bent[MIDDLE] * MIDDLE * scale < 0.3 * slope[ULPS])
        # Where g is no better than H s: the Hessian explains no more at 1e-7 than at 1e-5.
        curved = np.maximum(norm(p.H), slope[MIDDLE] / (MIDDLE * scale))
        suspect = (bent[MIDDLE] > 0.02 * curved) & (bent[MIDDLE] > 0.1 * bent[FAR])
        suspect |= ~np.isfinite(bent[MIDDLE]) | ~np.isfinite(curved)
        size = np.abs(p.value)
        wrong = contradicts(value, ahead, scale, size) if has_rules(objective) else none.copy()
    rough = none.copy()
    i = np.flatnonzero(suspect & ~jump & ~kink)
    if len(i):
        near = (p.x[i][:, None] + ULPS * scale[i][:, None, None] * u).reshape(-1, d)
        _, _, H = at.hessians(near, np.repeat(points[i], k))
        with np.errstate(all="ignore"):
            size = norm(H).reshape(len(i), k)
            apart = norm(H.reshape(len(i), k, d, d).reshape(-1, d, d) - np.repeat(p.H[i], k, 0))
            rough[i] = ~(apart.reshape(len(i), k).max(axis=1) <= 0.02 * size.max(axis=1))
    return Breaks(jump, kink, rough, wrong)


def contradicts(
    value: dict[float, np.ndarray],
    ahead: dict[float, np.ndarray],
    scale: Float[np.ndarray, " m"],
    size: Float[np.ndarray, " m"],
) -> Bool[np.ndarray, " m"]:
    """Whether f rises otherwise than its gradient says, in some direction and at both distances.

    What the trapezoidal rule misses of a right gradient falls with the square of the distance.

    Args:
        value, ahead: f and its slope `[m, 2 k]` in k directions and their opposites, away from
            the point by `MIDDLE` and by `FAR` of its scale.
        size: |f|.
    """
    wrong, seen = {}, True
    for r in (MIDDLE, FAR):
        (up, down), (rise, fall) = np.split(value[r], 2, axis=1), np.split(ahead[r], 2, axis=1)
        step = r * scale[:, None]
        wrong[r] = np.abs((up - down) - step * (rise - fall)) / step
        most = np.maximum(np.abs(rise), np.abs(fall))
        seen = seen & (wrong[r] > 0.1 * most + 1e3 * EPS * size[:, None] / step)
    return np.asarray(np.any(seen & (wrong[MIDDLE] > 0.1 * wrong[FAR]), axis=1))


def _largest(a: Float[np.ndarray, "m k"]) -> Float[np.ndarray, " m"]:
    return np.asarray(np.nanmax(np.where(np.isnan(a), -np.inf, a), axis=1))


def _jumps(
    value: dict[float, np.ndarray], here: np.ndarray, rise: np.ndarray
) -> Bool[np.ndarray, " m"]:
    """Whether f has another value on some side, by more than its slope and rounding explain, and
    by the same at two short distances: rounding errors differ from point to point."""
    near, next_ = value[ULPS], value[4 * ULPS]
    size = np.abs(near)
    most = _largest(np.where(np.isfinite(size), size, 0.0))
    large = size > 0.5 * most[:, None]
    same = np.all(~large | (np.abs(near - next_) <= 0.1 * size), axis=1)
    return same & (most > 1e3 * EPS * np.abs(here) + 40 * ULPS * rise)
