"""Hessians where automatic differentiation loses them to cancellation, as beside 0 in sin(x) / x.

There the gradient is noise within some units in the last place of the point, and exact enough a
little farther off. Where it is linear in all directions and at several distances, its slope is
the Hessian.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from gdlab.critical.breaks import directions
from gdlab.critical.derivatives import Derivatives, pattern
from gdlab.critical.evidence import Evidence
from gdlab.critical.polish import Polished, norm
from gdlab.critical.smooth import is_smooth
from gdlab.types import Objective

DISTANCES = (2e-4, 1e-4, 5e-5)  # of the gradients, relative to the point's length
NEAR = (1e-9, 1e-10, 1e-11, 1e-12)
TILT = 0.2  # of directions near an axis
LINEAR = 1e-3  # departure from a linear gradient, relative to the Hessian's norm


def replace_noise(
    at: Derivatives,
    objective: Objective,
    p: Polished,
    evidence: Evidence,
    points: Int[np.ndarray, " m"],
    scale: Float[np.ndarray, " m"],
) -> Bool[np.ndarray, " m"]:
    """Replaces, in place, Hessians that are noise by slopes of the gradient, where it is linear.

    Args:
        objective: one of those that share the program of f.
        scale: length over which f changes, of each point.

    Returns:
        Which Hessians were replaced.
    """
    replaced = np.zeros(len(p.x), bool)
    if is_smooth(objective):
        return replaced
    largest = np.abs(evidence.values).max(axis=1, initial=0.0)
    noise = evidence.rounding.max(axis=1, initial=0.0) >= 0.1 * largest
    noise |= _unconfirmed(at, p, points, scale)
    noise &= np.isfinite(p.value) & ~evidence.constant
    u = _off_axes(p.x.shape[1])
    for k in np.flatnonzero(noise):
        found = _linear(at, p.x[k], int(points[k]), float(scale[k]), u)
        if found is None:
            continue
        p.g[k], p.H[k], error = found
        values, p.vectors[k] = np.linalg.eigh(p.H[k])
        p.eigenvalues[k] = evidence.values[k] = values
        evidence.error[k] = error
        evidence.value_error[k] = evidence.rounding[k] = error
        replaced[k] = True
    return replaced


def _off_axes(d: int) -> Float[np.ndarray, "k d"]:
    """Directions of no symmetry, and some near axes: in many dimensions no random one lies there,
    where |x_1^2 - sum x_i^2| has another Hessian. None is an axis itself: along one, the other
    coordinates would stay where their slopes are noise."""
    slanted = directions(d, axes=0)
    if d == 1:
        return slanted
    axes = np.eye(d)[np.linspace(0, d - 1, min(d, 16)).astype(int)]
    near = axes + TILT * pattern(d)
    near /= norm(near)[:, None]
    return np.concatenate([slanted, near, -near])


def _unconfirmed(
    at: Derivatives, p: Polished, points: np.ndarray, scale: np.ndarray
) -> Bool[np.ndarray, " m"]:
    """Whether the gradient changes as the Hessian says over none of several short distances."""
    out, v = np.ones(len(p.x), bool), pattern(p.x.shape[1])
    for r in NEAR:
        way = r * scale[:, None] * v
        _, g = at.gradients(p.x + way, points)
        expected = np.einsum("mij,mj->mi", p.H, way)
        out &= ~(norm(g - p.g - expected) <= 0.5 * norm(expected))
    return out


def _linear(
    at: Derivatives, x: np.ndarray, point: int, scale: float, u: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """The gradient's mean around x, its slope by least squares, and how far it is from linear."""
    means, slopes, worst = [], [], 0.0
    for r in DISTANCES:
        way = r * scale * u
        _, g = at.gradients(x + way, np.full(len(u), point))
        if not np.isfinite(g).all():
            return None
        mean = g.mean(axis=0)
        H = np.linalg.lstsq(way, g - mean, rcond=None)[0]
        H = 0.5 * (H + H.T)
        # The root itself lies here: that a gradient has a part that is even is a kink's mark.
        off = max(float(norm(g - mean - way @ H).max()), float(norm(mean[None])[0]))
        worst = max(worst, off / (r * scale))
        means.append(mean)
        slopes.append(H)
    H = slopes[-1]
    worst += max(float(norm((other - H)[None])[0]) for other in slopes)
    if not 0 < worst <= LINEAR * float(norm(H[None])[0]):
        return None
    return means[-1], H, 4 * worst
