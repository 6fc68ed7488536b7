"""Where f is flat about a point: constant throughout a neighbourhood, or only levelling out."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from gdlab.critical.derivatives import Derivatives, pattern
from gdlab.critical.polish import Polished, norm

# Slopes 0.05 scales apart fall to this or less in a tail: exp(-y) at y = 5, y^-5.
FADES = 0.8
UNDER = 1e-200  # slopes of a tail that is about to underflow


def is_constant(
    at: Derivatives, p: Polished, points: np.ndarray, scale: np.ndarray
) -> Bool[np.ndarray, " m"]:
    """Whether gradient and Hessian are zero throughout a neighbourhood."""
    flat = (norm(p.g) == 0) & (norm(p.H) == 0)
    v, which = pattern(p.x.shape[1]), np.flatnonzero(flat)
    for h in (1e-2, -1e-2):
        _, g = at.gradients(p.x[which] + h * scale[which, None] * v, points[which])
        flat[which] &= norm(g) == 0
    return flat


def fading(
    at: Derivatives,
    p: Polished,
    points: Int[np.ndarray, " m"],
    scale: Float[np.ndarray, " m"],
    null: Bool[np.ndarray, "m d"],
) -> Bool[np.ndarray, " m"]:
    """Whether f only levels out along a null direction, as exp(-y^2) does far out, without a
    critical point there.

    Along the direction, the slope then has one sign and falls from step to step, faster than any
    small power would; along a line of critical points it is zero or rounding noise, at an
    inflection it falls on one side and rises on the other.
    """
    out = np.zeros(len(p.x), bool)
    for k in range(null.shape[1]):
        i = np.flatnonzero(null[:, k] & ~out)
        if not len(i):
            continue
        v = p.vectors[i, :, k]
        slopes = []
        for h in (-0.1, -0.05, 0.0, 0.05, 0.1):
            _, g = at.gradients(p.x[i] + h * scale[i, None] * v, points[i])
            slopes.append(np.einsum("mi,mi->m", g, v))
        s = np.stack(slopes)
        # Where a tail underflows, its last slopes are zero: they count as ever smaller ones.
        under = np.abs(s).max(axis=0) < UNDER
        for side in (s, s[::-1]):
            for j in range(1, len(s)):
                gone = (side[j] == 0) & under
                side[j, gone] = 0.5 * FADES * side[j - 1, gone]
        one_sign = np.all(s > 0, axis=0) | np.all(s < 0, axis=0)
        with np.errstate(all="ignore"):
            ratio = np.abs(s[1:] / s[:-1])
        falls = np.all(ratio < FADES, axis=0) | np.all(ratio > 1 / FADES, axis=0)
        out[i] = one_sign & falls
    return out
