"""Sums of one function of each coordinate: critical points are tuples of critical points.

f(x) = sum_i h(x_i): the gradient vanishes where every h'(x_i) does, and the Hessian is diagonal.
With m roots of h' there are m^d critical points; up to `MOST` of them are listed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gdlab import registry
from gdlab.errors import UsageError
from gdlab.objectives.inventory import Numbers, box, separable
from gdlab.types import Array, CriticalPoints, Facts, Objective

MOST = 20_000


def total(h: Callable[[Array], Array], x: Float[Array, " d"]) -> Float[Array, ""]:
    """sum_i h(x_i)."""
    if x.shape[0] <= 4:  # scalars fuse best
        return sum((h(x[i]) for i in range(1, x.shape[0])), h(x[0]))
    return jnp.sum(h(x))


def known(dim: int, roots: Numbers, values: Numbers, curvatures: Numbers) -> CriticalPoints:
    """Every tuple of the roots; where these are too many, the one of the lowest root alone."""
    if dim < 1:
        raise UsageError(f"objective.dim={dim}: takes a dimension of 1 or more")
    table = np.array([roots, values, curvatures], float)
    if table.shape[1] ** dim <= MOST:
        return separable(dim, *table)
    root, value, curvature = table[:, np.argmin(table[1]), None]
    return separable(dim, root, value, curvature, complete=False)


# Roots of 4 t^3 - 32 t + 5, counted by Sturm's theorem, at 50 digits (mpmath).
STYBLINSKI = (-2.9035340277711771, 0.1567312567803401, 2.746802770990837)
STYBLINSKI_VALUES = (-39.166165703771415, 0.19561235905535807, -25.029446655283943)


def _styblinski(t: Array) -> Array:
    p = t * t
    return 0.5 * ((p - 16.0) * p + 5.0 * t)


def _styblinski_tang(x: Float[Array, " d"]) -> Float[Array, ""]:
    return total(_styblinski, x)


@registry.objective
def styblinski_tang(dim: int = 2) -> Objective:
    """The Styblinski-Tang function: 3^d critical points, 2^d of them minima.

    f(x) = 1/2 sum_i (x_i^4 - 16 x_i^2 + 5 x_i) on [-5, 5]^d; one global minimum.

    Args:
        dim: d; the inventory lists all 3^d points up to d = 9.

    Reference: M. A. Styblinski and T.-S. Tang, Neural Networks 3 (1990) 467.
    """
    curvatures = [6 * t * t - 16 for t in STYBLINSKI]
    points = known(dim, STYBLINSKI, STYBLINSKI_VALUES, curvatures)
    facts = Facts(
        f_star=dim * STYBLINSKI_VALUES[0],
        minimizers=np.full((1, dim), STYBLINSKI[0]),
        L=134.0,  # h'' = 6 t^2 - 16 at t = 5
        domain=box(dim, -5.0, 5.0),
        critical_points=points,
        source="separable; Sturm count, roots at 50 digits",
    )
    return Objective(_styblinski_tang, dim, name="styblinski_tang", facts=facts)


def _rastrigin(data: Mapping[str, Array], x: Float[Array, " d"]) -> Float[Array, ""]:
    A = data["A"]
    return total(lambda t: t * t + A * (1.0 - jnp.cos(2 * np.pi * t)), x)


@registry.objective
def rastrigin(dim: int = 2, A: float = 10.0) -> Objective:
    """Rastrigin's function: a parabola with a lattice of minima.

    f(x) = sum_i x_i^2 + A (1 - cos 2 pi x_i) on [-5.12, 5.12]^d; 21^d critical points for A = 10,
    11^d of them minima.

    Args:
        dim: d; the inventory lists all points up to d = 3.
        A: height of the waves, >= 0.

    Reference: L. A. Rastrigin, Systems of Extremal Control, 1974 (in Russian).
    """
    if not 0 <= A < np.inf:
        raise UsageError(f"objective.A={A}: rastrigin takes a finite number >= 0")
    roots = waves(A, 5.12)
    facts = Facts(
        f_star=0.0,
        minimizers=np.zeros((1, dim)),
        L=2 + 4 * np.pi**2 * A,
        mu=2 - 4 * np.pi**2 * A if 4 * np.pi**2 * A < 2 else None,
        domain=box(dim, -5.12, 5.12),
        critical_points=known(
            dim,
            roots,
            roots**2 + A * (1 - np.cos(2 * np.pi * roots)),
            2 + 4 * np.pi**2 * A * np.cos(2 * np.pi * roots),
        ),
        source="separable; h' is monotone between the zeros of h'', so every root is bracketed",
    )
    return Objective(_rastrigin, dim, {"A": np.float64(A)}, name="rastrigin", facts=facts)


@lru_cache(maxsize=256)
def waves(A: float, side: float) -> Float[np.ndarray, " m"]:
    """All roots of h'(t) = 2 t + 2 pi A sin(2 pi t) in [-side, side].

    h'' = 2 + 4 pi^2 A cos(2 pi t) vanishes at t = k +- arccos(-1 / (2 pi^2 A)) / (2 pi).
    """
    turns = np.array([])
    if 2 * np.pi**2 * A > 1:
        turn = np.arccos(-1 / (2 * np.pi**2 * A)) / (2 * np.pi)
        k = np.arange(0, int(side) + 2)
        turns = np.concatenate([k + turn, k + 1 - turn])
    return odd_roots(lambda t: 2 * t + 2 * np.pi * A * np.sin(2 * np.pi * t), turns, side)


def odd_roots(
    slope: Callable[[np.ndarray], np.ndarray], turns: Float[np.ndarray, " k"], side: float
) -> Float[np.ndarray, " m"]:
    """All roots in [-side, side] of an odd function, monotone between its turning points.

    Between two neighbouring turns there is one root if the ends differ in sign, else none. 0 is a
    root, and the only one before the first turn.

    Args:
        slope: the function.
        turns: all its turning points t > 0 (more beyond `side` do no harm).
    """
    ends = np.sort(np.concatenate([turns[turns < side], [side]]))
    low, high = ends[:-1], ends[1:]
    crossing = slope(low) * slope(high) < 0
    positive = bisect(slope, low[crossing], high[crossing])
    return np.concatenate([-positive[::-1], [0.0], positive])


def bisect(
    g: Callable[[np.ndarray], np.ndarray],
    low: Float[np.ndarray, " m"],
    high: Float[np.ndarray, " m"],
) -> Float[np.ndarray, " m"]:
    """The root of g in each bracket [low, high], to the last bit."""
    rising = g(high) > g(low)
    for _ in range(80):
        middle = (low + high) / 2
        below = (g(middle) < 0) == rising
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def _double_well(data: Mapping[str, Array], x: Float[Array, " d"]) -> Float[Array, ""]:
    return total(lambda t: 0.25 * (t * t) * (t * t) - 0.5 * t * t + data["tilt"] * t, x)


@registry.objective
def double_well(dim: int = 1, tilt: float = 0.0) -> Objective:
    """Two wells, which a tilt makes unequal; 3^d critical points.

    f(x) = sum_i x_i^4/4 - x_i^2/2 + tilt x_i on [-2, 2]^d.

    Args:
        dim: d; the inventory lists all points up to d = 9.
        tilt: |tilt| < 2 / (3 sqrt 3) = 0.3849, beyond which one well is gone.
    """
    if not abs(tilt) < 2 / 27**0.5:
        raise UsageError(f"objective.tilt={tilt}: double_well takes |tilt| < 0.3849 (two wells)")
    # t^3 - t + tilt = 0 has three real roots: Viete's cosines.
    angle = np.arccos(-tilt * 27**0.5 / 2) / 3
    roots = np.sort(2 / 3**0.5 * np.cos(angle - 2 * np.pi * np.arange(3) / 3))
    if tilt == 0:
        roots = np.array([-1.0, 0.0, 1.0])
    values = (0.25 * roots**2 - 0.5) * roots**2 + tilt * roots
    lowest = roots[values <= values.min() + 1e-15]
    facts = Facts(
        f_star=float(dim * values.min()),
        minimizers=separable(dim, lowest, lowest, lowest).x if len(lowest) ** dim <= MOST else None,
        L=11.0,  # h'' = 3 t^2 - 1 at t = 2
        domain=box(dim, -2.0, 2.0),
        critical_points=known(dim, roots, values, 3 * roots**2 - 1),
        source="separable; the cubic's roots in closed form",
    )
    return Objective(_double_well, dim, {"tilt": np.float64(tilt)}, name="double_well", facts=facts)
