"""What rounding, and not knowing the point exactly, do to a gradient and to eigenvalues.

Nothing is proved here (that is the certificate's part): errors are measured where they arise, by
evaluating the derivatives again at points that differ from x by a few units in the last place,
and by as much as Newton's step says that x may be off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from gdlab.critical.derivatives import EPS, Derivatives
from gdlab.critical.polish import Polished, levenberg, norm

# Slopes 0.05 scales apart fall to this or less in a tail: exp(-y) at y = 5, y^-5.
FADES = 0.8
UNDER = 1e-200  # slopes of a tail that is about to underflow


@dataclass
class Evidence:
    """Errors and symptoms at polished points; one row each.

    Attributes:
        g_error: rounding error of the gradient.
        error: bound on the error of each eigenvalue.
        step: Newton's step, without the directions whose eigenvalue is within rounding of zero.
        g_null: norm of the gradient along those directions.
        kink: the gradient jumps.
        rough: the Hessian jumps.
        constant: gradient and Hessian are zero throughout a neighbourhood.
    """

    g_error: Float[np.ndarray, " m"]
    error: Float[np.ndarray, " m"]
    step: Float[np.ndarray, " m"]
    g_null: Float[np.ndarray, " m"]
    kink: Bool[np.ndarray, " m"]
    rough: Bool[np.ndarray, " m"]
    constant: Bool[np.ndarray, " m"]


def pattern(d: int) -> Float[np.ndarray, " d"]:
    """A direction with no zero in it and no symmetry: fractional parts of golden multiples."""
    golden = (1 + 5**0.5) / 2
    v = np.mod(golden * np.arange(1, d + 1), 1.0) + 0.5
    v *= np.where(np.arange(d) % 3 == 1, -1.0, 1.0)
    return v / np.linalg.norm(v)


def weigh(
    at: Derivatives, p: Polished, points: Int[np.ndarray, " m"], scale: Float[np.ndarray, " m"]
) -> Evidence:
    """The evidence at polished points.

    Args:
        scale: length over which f changes, of each point.
    """
    d = p.x.shape[1]
    size_x, size_H = norm(p.x), norm(p.H)
    ulps = 8 * EPS * np.sign(pattern(d)) * np.maximum(np.abs(p.x), scale[:, None])
    with np.errstate(invalid="ignore"):
        g_error, H_error = 32 * EPS * size_H * size_x, 4 * d * EPS * size_H
        for sign in (1, -1):
            _, g, H = at.hessians(p.x + sign * ulps, points)
            g_error = np.fmax(g_error, 4 * norm(g - p.g))
            H_error = np.fmax(H_error, 2 * norm(H - p.H))
    null = np.abs(p.eigenvalues) <= H_error[:, None]
    along = np.einsum("mij,mi->mj", p.vectors, p.g)
    g_null = norm(np.where(null, along, 0.0))
    kept = np.where(null, 0.0, p.eigenvalues)
    step = levenberg(p.g, kept, p.vectors, np.zeros(len(kept)))
    # At a root of order k Newton's step covers 1/k of the way: three steps reach where H has
    # changed by all of itself (k <= 4) or by most of itself.
    _, _, H = at.hessians(p.x + 3 * step, points)
    with np.errstate(invalid="ignore"):
        moved = 2 * norm(H - p.H)
    step_length = norm(step)
    error = np.where(np.isfinite(moved), H_error + moved, np.inf)
    rough = _rough(at, p, points, scale, g_error, H_error)
    return Evidence(g_error, error, step_length, g_null, *rough, _constant(at, p, points, scale))


def _rough(
    at: Derivatives,
    p: Polished,
    points: np.ndarray,
    scale: np.ndarray,
    g_error: np.ndarray,
    H_error: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Whether the gradient, and the Hessian, jump.

    Between points some units in the last place apart a smooth function changes 1e10 times less
    than between points 1e-5 apart; a kink changes it as much.
    """
    g_far, H_far = np.zeros(len(p.x)), np.full(len(p.x), np.inf)
    way = 1e-5 * scale[:, None] * pattern(p.x.shape[1])
    with np.errstate(invalid="ignore"):
        for sign in (1, -1):
            _, g, H = at.hessians(p.x + sign * way, points)
            g_far = np.fmax(g_far, norm(g - p.g))
            H_far = np.fmin(H_far, norm(H))
        kink = (g_error > 4e-3 * g_far) & (g_error > 1e5 * EPS * np.abs(p.value) / scale)
        return kink & (g_far > 0), H_error > 0.1 * H_far


def _constant(
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
