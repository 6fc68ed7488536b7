"""Whether f, its gradient or its Hessian jumps at a point.

What the program of f leaves open (`smooth.py`) is sampled in many directions on both sides of the
point, at distances of some units in the last place and 1e-5 of its length. What is smooth changes
far less over the short distance than over the long one; what jumps changes as much. Homogeneous
functions such as |x^2 - y^2| have another Hessian in each sector, which one direction does not
show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from gdlab import numerics
from gdlab.critical.derivatives import EPS, Derivatives, Expansion
from gdlab.critical.polish import norm
from gdlab.critical.smooth import has_rules, is_smooth
from gdlab.types import Objective

ULPS = 8 * EPS  # the shortest distance, relative to the point's length
# Pairs of short ones: polishing may end some units in the last place beside a jump.
SHORT = ((ULPS, 4 * ULPS), (1e-12, 4e-12))
MIDDLE, FAR, WIDE = 1e-7, 1e-5, 1e-3  # the long ones
WRONG = (
    "f rises otherwise than its gradient says: its derivative rule is not that of f, "
    "or f loses digits on the way"
)
WORDS = {
    "f": "f jumps here: it is not continuous",
    "gradient": "the gradient jumps here: f is not differentiable",
    "Hessian": "the gradient is small, but f is not twice differentiable here: no Hessian",
}
DIRECTIONS = 24  # at least, from two dimensions on


@dataclass
class Breaks:
    """What jumps at each point: f, its gradient, its Hessian; and whether f rises there otherwise
    than its gradient says (`rule`), as where a derivative rule of the user's own is wrong."""

    value: Bool[np.ndarray, " m"]
    gradient: Bool[np.ndarray, " m"]
    hessian: Bool[np.ndarray, " m"]
    rule: Bool[np.ndarray, " m"]


def directions(d: int, axes: int = 16, others: int = DIRECTIONS) -> Float[np.ndarray, "k d"]:
    """Unit vectors: some axes and directions that no symmetry singles out; their opposites too."""
    if d == 1:
        return np.array([[1.0], [-1.0]])
    along = np.eye(d)[np.linspace(0, d - 1, min(d, axes)).astype(int)]
    if d == 2:
        angle = np.pi * np.mod(0.6180339887 * np.arange(1, others - 1), 1.0)
        slanted = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    else:
        slanted = np.random.default_rng(0).standard_normal((others, d))
        slanted /= np.linalg.norm(slanted, axis=1)[:, None]
    u = np.concatenate([along, slanted])
    return np.concatenate([u, -u])


@numerics.computing()
def find_breaks(
    at: Derivatives,
    objective: Objective,
    here: Expansion,
    points: Int[np.ndarray, " m"],
    scale: Float[np.ndarray, " m"],
) -> Breaks:
    """Looks for jumps of f, of its gradient and of its Hessian at points.

    Args:
        objective: one of those that share the program of f.
        here: f at the points, to second order.
        scale: length over which f changes, of each point.
    """
    u = directions(here.x.shape[1])

    def bends(x: np.ndarray, v: np.ndarray, which: np.ndarray) -> np.ndarray:
        return np.einsum("mij,mj->mi", at.hessians(x, which)[2], v)

    one = here.x, here.value, here.g, np.einsum("mij,kj->mki", here.H, u)
    return breaks_along(at, objective, u, one, bends, points, scale)


def breaks_along(
    at: Derivatives,
    objective: Objective,
    u: Float[np.ndarray, "k d"],
    here: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    bends: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    points: Int[np.ndarray, " m"],
    scale: Float[np.ndarray, " m"],
) -> Breaks:
    """As `find_breaks`, in the directions u; whole Hessians are not needed.

    Args:
        here: the points `[m, d]`, f `[m]`, its gradient `[m, d]` and H u `[m, k, d]`.
        bends: (x, v, whose data) `[n, d]` each -> H(x) v.
    """
    x, here_f, here_g, along = here
    m, d = x.shape
    none = np.zeros(m, bool)
    if not m or is_smooth(objective):
        return Breaks(none, none.copy(), none.copy(), none.copy())
    k = len(u)
    nobody = np.repeat(points, k)
    value, slope, bent, ahead, short = {}, {}, {}, {}, {}
    shorts = [r for pair in SHORT for r in pair]
    steepest, ruled = norm(here_g), has_rules(objective)
    with np.errstate(all="ignore"):
        for r in (*shorts, MIDDLE, FAR, *([WIDE] if ruled else [])):
            way = r * scale[:, None, None] * u
            f, g = at.gradients((x[:, None] + way).reshape(-1, d), nobody)
            f, g = f.reshape(m, k), g.reshape(m, k, d)
            value[r] = f - here_f[:, None]
            ahead[r] = np.einsum("mkd,kd->mk", g, u)
            change = g - here_g[:, None]
            if r in shorts:
                short[r] = change
            slope[r] = _largest(_sizes(change))
            bent[r] = _largest(_sizes(change - r * scale[:, None, None] * along)) / (r * scale)
            size = _sizes(g if r <= FAR else here_g[:, None])
            steepest = np.fmax(steepest, _largest(np.where(np.isfinite(size), size, 0.0)))
        jump = _jumps(value, here_f, steepest * scale)
        kink = none.copy()
        for r, next_ in SHORT:
            bend = (slope[r] > 4e-3 * slope[FAR]) & (slope[FAR] > 0)
            bend &= slope[r] > 1e5 * EPS * np.abs(here_f) / scale
            # What no Hessian explains farther off either, and what is the same a little farther
            # off; else it is noise of cancellation.
            bend &= ~(bent[MIDDLE] * MIDDLE * scale < 0.3 * slope[r])
            kink |= bend & _lasts(_sizes(short[r]), _sizes(short[next_] - short[r]))
        # Where g is no better than H s: the Hessian explains no more at 1e-7 than at 1e-5, beyond
        # the noise of g.
        curved = np.maximum(_largest(_sizes(along)), slope[MIDDLE] / (MIDDLE * scale))
        noise = np.maximum(bent[ULPS], 4 * bent[4 * ULPS]) * (ULPS / MIDDLE)
        seen = bent[MIDDLE] > np.minimum(0.02 * curved, 10 * noise + 1e-10 * curved)
        suspect = seen & (bent[MIDDLE] > 0.1 * bent[FAR])
        suspect |= ~np.isfinite(bent[MIDDLE]) | ~np.isfinite(curved)
        wrong = none.copy()
        if ruled:
            wrong = contradicts(value, ahead, scale, np.abs(here_f))
            wrong |= bends_otherwise(ahead, np.einsum("mkd,kd->mk", along, u), scale, steepest)
    rough = none.copy()
    i = np.flatnonzero(suspect & ~jump & ~kink)
    if len(i):  # does the Hessian change at once, by as much?
        near = (x[i][:, None] + ULPS * scale[i][:, None, None] * u).reshape(-1, d)
        there = bends(near, np.tile(u, (len(i), 1)), np.repeat(points[i], k))
        with np.errstate(all="ignore"):
            apart = _sizes(there.reshape(len(i), k, d) - along[i]).max(axis=1)
            rough[i] = ~(apart <= 0.3 * bent[MIDDLE][i])
    return Breaks(jump, kink, rough, wrong)


def _sizes(a: Float[np.ndarray, "m k d"]) -> Float[np.ndarray, "m k"]:
    return np.asarray(np.sqrt(np.sum(a**2, axis=2)))


def contradicts(
    value: dict[float, np.ndarray],
    ahead: dict[float, np.ndarray],
    scale: Float[np.ndarray, " m"],
    size: Float[np.ndarray, " m"],
) -> Bool[np.ndarray, " m"]:
    """Whether f rises, or bends, otherwise than its gradient says, in some direction.

    The trapezoidal rule gives the slope of f from one side to the other, and its curvature, from
    the gradient. What it misses of a right gradient falls with the square of the distance; a wrong
    one is seen alike at two distances.

    Args:
        value, ahead: f and its slope `[m, 2 k]` in k directions and their opposites, away from
            the point by `MIDDLE`, `FAR` and `WIDE` of its scale.
        size: |f|.
    """
    out = np.zeros(len(size), bool)
    for sign, order, near, far in ((-1, 1, MIDDLE, FAR), (1, 2, FAR, WIDE)):
        wrong, seen = {}, True
        for r in (near, far):
            (up, down), (rise, fall) = np.split(value[r], 2, axis=1), np.split(ahead[r], 2, axis=1)
            step = r * scale[:, None]
            risen, said = up + sign * down, step / order * (rise + sign * fall)
            wrong[r] = np.abs(risen - said) / step**order
            most = np.maximum(np.abs(rise), np.abs(fall)) / step ** (order - 1)
            seen = seen & (wrong[r] > 0.1 * most + 1e3 * EPS * size[:, None] / step**order)
        out |= np.any(seen & (wrong[near] > 0.3 * wrong[far]), axis=1)
    return out


def bends_otherwise(
    ahead: dict[float, np.ndarray],
    said: Float[np.ndarray, "m k"],
    scale: Float[np.ndarray, " m"],
    steepest: Float[np.ndarray, " m"],
) -> Bool[np.ndarray, " m"]:
    """Whether the gradient changes otherwise than the Hessian says, in some direction and by the
    same at two distances: the derivative of a derivative rule may be wrong alone.

    Args:
        ahead: slopes as in `contradicts`.
        said: u'Hu in each direction.
        steepest: largest |g| that was seen.
    """
    wrong, seen = {}, True
    for r in (FAR, WIDE):
        rise, fall = np.split(ahead[r], 2, axis=1)
        step = r * scale[:, None]
        bent, says = (rise + fall) / (2 * step), said[:, : rise.shape[1]]
        wrong[r] = np.abs(bent - says)
        most = np.maximum(np.abs(bent), np.abs(says))
        seen = seen & (wrong[r] > 0.1 * most + 1e3 * EPS * steepest[:, None] / step)
    return np.asarray(np.any(seen & (np.abs(wrong[FAR] - wrong[WIDE]) < 0.1 * wrong[FAR]), axis=1))


def _largest(a: Float[np.ndarray, "m k"]) -> Float[np.ndarray, " m"]:
    return np.asarray(np.nanmax(np.where(np.isnan(a), -np.inf, a), axis=1))


def _jumps(
    value: dict[float, np.ndarray], here: np.ndarray, rise: np.ndarray
) -> Bool[np.ndarray, " m"]:
    """Whether f has another value on some side, by more than its slope and rounding explain, and
    by the same at two short distances: rounding errors differ from point to point."""
    out = np.zeros(len(here), bool)
    for r, next_ in SHORT:
        size = np.abs(value[r])
        most = _largest(np.where(np.isfinite(size), size, 0.0))
        same = _lasts(size, np.abs(value[r] - value[next_]))
        out |= same & (most > 1e3 * EPS * np.abs(here) + 40 * r * rise)
    return out


def _lasts(size: Float[np.ndarray, "m k"], change: Float[np.ndarray, "m k"]) -> np.ndarray:
    """Whether the largest of these sizes are the same at the next distance."""
    most = _largest(np.where(np.isfinite(size), size, 0.0))
    return np.asarray(np.all(~(size > 0.5 * most[:, None]) | (change <= 0.1 * size), axis=1))
