"""What rounding, and not knowing the point exactly, do to a gradient and to eigenvalues.

Errors are measured where they arise, by evaluating the derivatives again at points that differ
from x by a few units in the last place; in few dimensions an enclosure of the gradient bounds its
rounding error. The critical point then lies within

    |<v, g>| + error of <v, g>, over |lambda|

of x along each eigenvector v, and the Hessian is evaluated at both ends of that range: an
eigenvalue that changes there by as much as itself is no evidence.

What is within the error of zero is looked at once more in scaled variables, in which each
coordinate has the same curvature (the signs stay, by Sylvester's law of inertia): rounding errors
of a stiff coordinate say nothing about a soft one.

Reference: N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2002, sec. 1.5 and 7.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from gdlab.critical.derivatives import EPS, Derivatives, pattern
from gdlab.critical.enclosures import Enclosures
from gdlab.critical.flat import is_constant
from gdlab.critical.polish import Polished, levenberg, norm

TINY = 1e-306  # below this, numbers lose digits to underflow
ENCLOSED = 3  # largest dimension in which enclosing every point's gradient is cheap
UNITS = 1e-8  # smallest unit of a coordinate, relative to the largest
OFFSETS = (-3, -2, 2, 3)  # further gradients, in units of the perturbation


@dataclass
class Evidence:
    """Errors and symptoms at polished points; one row each.

    Attributes:
        g_error: rounding error of each component of the gradient.
        error: bound on the error of each eigenvalue of the Hessian.
        values, value_error: what the signs of the eigenvalues are read from, and its error: the
            eigenvalues themselves, or those of the scaled Hessian.
        rounding: the part of that error that rounding makes; the rest is that the point may be off.
        scaled: whether the signs are read from the scaled Hessian.
        step: length of Newton's step, without the directions whose eigenvalue is zero as far as
            rounding tells.
        null_slope: the gradient along those directions, relative to its error.
        off: distance within which the critical point lies.
        constant: gradient and Hessian are zero throughout a neighbourhood.
    """

    g_error: Float[np.ndarray, "m d"]
    error: Float[np.ndarray, " m"]
    values: Float[np.ndarray, "m d"]
    value_error: Float[np.ndarray, "m d"]
    rounding: Float[np.ndarray, "m d"]
    scaled: Bool[np.ndarray, " m"]
    step: Float[np.ndarray, " m"]
    null_slope: Float[np.ndarray, " m"]
    off: Float[np.ndarray, " m"]
    constant: Bool[np.ndarray, " m"]


def weigh(
    at: Derivatives,
    enclosures: Enclosures,
    p: Polished,
    points: Int[np.ndarray, " m"],
    scale: Float[np.ndarray, " m"],
) -> Evidence:
    """The evidence at polished points.

    Args:
        scale: length over which f changes, of each point.
    """
    d = p.x.shape[1]
    ulps = 8 * EPS * np.sign(pattern(d)) * np.maximum(np.abs(p.x), scale[:, None])
    size_H = norm(p.H)
    g_error = 32 * EPS * np.einsum("mij,mj->mi", np.abs(p.H), np.abs(p.x)) + TINY
    apart = np.zeros_like(p.H)
    for sign in (1, -1):
        _, g, H = at.hessians(p.x + sign * ulps, points)
        g_error = np.fmax(g_error, 4 * np.abs(g - p.g))
        apart = np.fmax(apart, np.abs(H - p.H))
    if d <= ENCLOSED:
        box = enclosures("g", p.x, p.x, points)
        if box is not None:
            wrong = np.maximum(box.hi - p.g, p.g - box.lo)
            g_error = np.where(np.isfinite(wrong), np.fmax(g_error, wrong), g_error)
    else:
        for k in OFFSETS:
            _, g = at.gradients(p.x + k * ulps, points)
            g_error = np.fmax(g_error, 4 * np.abs(g - p.g))
    H_error = np.fmax(4 * d * EPS * size_H, 2 * norm(apart)) + TINY
    values, vectors, one = p.eigenvalues, p.vectors, np.ones_like(p.x)
    off = _uncertainty(p.g, g_error, values, vectors, H_error[:, None], one, 0.1 * scale)
    ends = [at.hessians(p.x + s * off, points)[2] for s in (1, -1)]
    moved = np.maximum(*(norm(H - p.H) for H in ends))
    error = np.where(np.isfinite(moved), H_error + 2 * moved, np.inf)
    out = Evidence(
        g_error, error, values.copy(), np.repeat(error[:, None], d, 1),
        np.repeat(H_error[:, None], d, 1), np.zeros(len(p.x), bool),
        *_rest(p.g, g_error, values, vectors, H_error[:, None], one),
        norm(off), is_constant(at, p, points, scale),
    )  # fmt: skip
    _rescale(at, p, points, scale, apart, ends, out)
    return out


def _uncertainty(
    g: Float[np.ndarray, "m d"],
    g_error: Float[np.ndarray, "m d"],
    values: Float[np.ndarray, "m d"],
    vectors: Float[np.ndarray, "m d d"],
    null: Float[np.ndarray, "m _"],
    units: Float[np.ndarray, "m d"],
    most: Float[np.ndarray, " m"],
) -> Float[np.ndarray, "m d"]:
    """How far the critical point may lie from x: three Newton steps and the gradient's error over
    the eigenvalue, along each eigenvector whose eigenvalue is not null.

    At a root of order k Newton's step covers 1/k of the way: three steps reach where H has changed
    by all of itself (k <= 4) or by most of itself.
    """
    along = np.einsum("mij,mi->mj", vectors, g * units)
    rounding = np.einsum("mij,mi->mj", np.abs(vectors), g_error * units)
    reach = np.where(np.abs(values) <= null, 0.0, (3 * along + np.copysign(rounding, along)))
    reach = reach / np.where(values == 0, 1.0, values)
    off = -np.einsum("mij,mj->mi", vectors, np.where(np.isfinite(reach), reach, 0.0)) * units
    length = norm(off)
    return off * np.minimum(1.0, most / np.where(length > 0, length, 1.0))[:, None]


def _rest(
    g: Float[np.ndarray, "m d"],
    g_error: Float[np.ndarray, "m d"],
    values: Float[np.ndarray, "m d"],
    vectors: Float[np.ndarray, "m d d"],
    error: Float[np.ndarray, "m _"],
    units: Float[np.ndarray, "m d"],
) -> tuple[np.ndarray, np.ndarray]:
    """Length of Newton's step, and the slope along null directions relative to its error."""
    null = np.abs(values) <= error
    along = np.abs(np.einsum("mij,mi->mj", vectors, g * units))
    rounding = np.einsum("mij,mi->mj", np.abs(vectors), g_error * units)
    kept = np.where(null, 0.0, values)
    step = units * levenberg(g * units, kept, vectors, np.zeros(len(kept)))
    slope = np.where(null, along / rounding, 0.0).max(axis=1)
    return norm(step), slope


def _rescale(
    at: Derivatives,
    p: Polished,
    points: np.ndarray,
    scale: np.ndarray,
    apart: np.ndarray,
    ends: list[np.ndarray],
    out: Evidence,
) -> None:
    """Reads the signs in scaled variables where they are not decided otherwise, in place.

    Points where scaling decides more are measured again, by perturbations that are relative to
    each coordinate's own unit and by the ends of the range in scaled variables.
    """
    doubtful = (np.abs(p.eigenvalues) <= 10 * out.error[:, None]).any(axis=1)
    doubtful &= np.isfinite(p.H).all(axis=(1, 2)) & (norm(p.H) > 0)
    i = np.flatnonzero(doubtful)
    if not len(i):
        return
    d = p.x.shape[1]
    u = coordinate_units(p.H[i])
    both = u[:, :, None] * u[:, None, :]
    values, vectors = np.linalg.eigh(p.H[i] * both)
    rounding = 4 * d * EPS * np.abs(values).max(axis=1) + 2 * norm(apart[i] * both)
    error = rounding[:, None] + 1.5 * _changes(values, [H[i] for H in ends], both)
    nulls = np.sum(np.abs(p.eigenvalues[i]) <= 10 * out.error[i, None], axis=1)
    more = np.sum(np.abs(values) <= 10 * error, axis=1) < nulls
    i, u, both = i[more], u[more], both[more]
    values, vectors, rounding = values[more], vectors[more], rounding[more]
    if not len(i):
        return
    apart = apart[i]
    reach = u / u.max(axis=1)[:, None] * scale[i, None]
    for k in (-7, -2, -1, 1, 2, 7):
        signs = np.sign(np.roll(pattern(d), k))
        ulps = 8 * EPS * k * signs * np.maximum(np.abs(p.x[i]), reach)
        apart = np.fmax(apart, np.abs(at.hessians(p.x[i] + ulps, points[i])[2] - p.H[i]))
    rounding = np.fmax(rounding, 4 * norm(apart * both))
    off = _uncertainty(
        p.g[i], out.g_error[i], values, vectors, rounding[:, None], u, 0.1 * scale[i]
    )
    far = [at.hessians(p.x[i] + s * off, points[i])[2] for s in (1, -1)]
    error = rounding[:, None] + 1.5 * _changes(values, far, both)
    out.values[i], out.value_error[i], out.scaled[i] = values, error, True
    out.rounding[i] = rounding[:, None]
    out.step[i], out.null_slope[i] = _rest(p.g[i], out.g_error[i], values, vectors, error, u)
    out.off[i] = norm(off)


def coordinate_units(H: Float[np.ndarray, "m d d"]) -> Float[np.ndarray, "m d"]:
    """Units of the coordinates in which the diagonal of H is even, 1 the largest."""
    h = np.abs(np.einsum("mii->mi", H))
    h = np.maximum(h, UNITS**2 * h.max(axis=1, initial=0.0)[:, None])
    u = 1 / np.sqrt(np.where(h > 0, h, 1.0))
    return u / u.max(axis=1)[:, None]


def _changes(
    values: np.ndarray, ends: list[np.ndarray], both: np.ndarray
) -> Float[np.ndarray, "m d"]:
    """By how much each eigenvalue changes to the ends of the range, at most."""
    change = np.zeros_like(values)
    for H in ends:
        bad = ~np.isfinite(H).all(axis=(1, 2))
        there = np.linalg.eigvalsh(np.where(bad[:, None, None], 0.0, H * both))
        change = np.maximum(change, np.where(bad[:, None], np.inf, np.abs(there - values)))
    return change
