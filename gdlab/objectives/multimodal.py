"""Classical test functions with several minima, or one that is hard to find."""

from __future__ import annotations

import math
from functools import lru_cache, partial

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gdlab import registry
from gdlab.errors import UsageError
from gdlab.objectives.inventory import box
from gdlab.objectives.separable import bisect, known, odd_roots, total
from gdlab.types import Array, CriticalPoints, Facts, Objective


def _one_minimum(x: Float[np.ndarray, " d"], value: float) -> CriticalPoints:
    """The global minimum alone, of many critical points."""
    return CriticalPoints(x[None], np.array([value]), np.zeros(1, int), complete=False)


def _levy(x: Float[Array, " d"]) -> Float[Array, ""]:
    w = 0.75 + 0.25 * x
    off = w - 1.0
    inner = (off * off) * (1.0 + 10.0 * jnp.sin(np.pi * w + 1.0) ** 2)
    last = off[-1] * off[-1] * (1.0 + jnp.sin(2 * np.pi * w[-1]) ** 2)
    return jnp.sin(np.pi * w[0]) ** 2 + jnp.sum(inner[:-1]) + last


@registry.objective
def levy(dim: int = 2) -> Objective:
    """Levy's function: waves on a bowl.

    f(x) = sin^2 pi w_1 + sum_(i < d) (w_i - 1)^2 (1 + 10 sin^2(pi w_i + 1))
    + (w_d - 1)^2 (1 + sin^2 2 pi w_d), w = 1 + (x - 1)/4, on [-10, 10]^d; minimum at 1. The
    inventory names the global minimum alone.

    Args:
        dim: d.

    Reference: A. V. Levy and A. Montalvo, SIAM J. Sci. Stat. Comput. 6 (1985) 15; S. Surjanovic
    and D. Bingham, Virtual Library of Simulation Experiments, Levy function.
    """
    if dim < 1:
        raise UsageError(f"objective.dim={dim}: levy takes a dimension of 1 or more")
    facts = Facts(
        f_star=0.0,
        minimizers=np.ones((1, dim)),
        domain=box(dim, -10.0, 10.0),
        critical_points=_one_minimum(np.ones(dim), 0.0),
        source="closed form: a sum of squares, all 0 at x = 1 alone",
    )
    return Objective(_levy, dim, name="levy", facts=facts)


def _michalewicz(x: Float[Array, " d"]) -> Float[Array, ""]:
    i = jnp.arange(1, x.shape[0] + 1, dtype=x.dtype)
    return -jnp.sum(jnp.sin(x) * jnp.sin(i * x * x / np.pi) ** 20)


@lru_cache(maxsize=256)
def _valley(i: int) -> float:
    """Where -sin t sin^20(i t^2/pi) is least on [0, pi]: between neighbours of a grid's least."""

    def slope(t: np.ndarray) -> np.ndarray:
        u = i * t * t / np.pi
        return -(np.cos(t) * np.sin(u) + np.sin(t) * 20 * np.cos(u) * 2 * i * t / np.pi)

    grid = np.linspace(0, np.pi, 4000 * i + 1)
    at = int(np.argmin(-np.sin(grid) * np.sin(i * grid * grid / np.pi) ** 20))
    # slope lacks the factor sin^19 u, which has one sign near the minimum.
    return float(bisect(slope, grid[at - 1, None], grid[at + 1, None])[0])


@registry.objective
def michalewicz(dim: int = 2) -> Objective:
    """Michalewicz's function: steep valleys in plains, d! minima.

    f(x) = -sum_i sin x_i sin^20(i x_i^2/pi) on [0, pi]^d. The inventory names the global minimum
    alone: -1.80130341009855 at (2.20290552017261, 1.57079632679490) for d = 2.

    Args:
        dim: d, 1 to 100.

    Reference: Z. Michalewicz, Genetic Algorithms + Data Structures = Evolution Programs, 1992; C.
    Vanaret et al., arXiv:2003.09867, for certified minima.
    """
    if not 1 <= dim <= 100:
        raise UsageError(f"objective.dim={dim}: michalewicz takes a dimension of 1 to 100")
    x = np.array([_valley(i) for i in range(1, dim + 1)])
    i = np.arange(1, dim + 1)
    value = -float(np.sum(np.sin(x) * np.sin(i * x * x / np.pi) ** 20))
    facts = Facts(
        f_star=value,
        minimizers=x[None],
        domain=box(dim, 0.0, math.pi),
        critical_points=_one_minimum(x, value),
        source="separable: each coordinate's least value on a grid, bisected to the last bit",
    )
    return Objective(_michalewicz, dim, name="michalewicz", facts=facts)


def _easom(x: Float[Array, " d"]) -> Float[Array, ""]:
    p, q = x[0] - np.pi, x[1] - np.pi
    return -jnp.cos(x[0]) * jnp.cos(x[1]) * jnp.exp(-(p * p + q * q))


@registry.objective
def easom() -> Objective:
    """Easom's function: one narrow well in a plain where the slope underflows to zero.

    f(x) = -cos x1 cos x2 exp(-(x1 - pi)^2 - (x2 - pi)^2); minimum -1 at (pi, pi), which the
    inventory names alone. It is usually posed on [-100, 100]^2, of which the gradient is zero to
    the last bit nearly everywhere; the domain here, [0, 2 pi]^2, is where descent moves.

    Reference: E. Easom, A Survey of Global Optimization Techniques, University of Louisville, 1990.
    """
    x = np.array([math.pi, math.pi])
    facts = Facts(
        f_star=-1.0,
        minimizers=x[None],
        domain=box(2, 0.0, 2.0 * math.pi),
        critical_points=_one_minimum(x, -1.0),
        source="closed form: |f| <= 1, which is attained at (pi, pi) alone",
    )
    return Objective(_easom, 2, name="easom", facts=facts)


def _bohachevsky(x: Float[Array, " d"]) -> Float[Array, ""]:
    a, b = x[0], x[1]
    waves = 0.3 * (1.0 - jnp.cos(3 * np.pi * a)) + 0.4 * (1.0 - jnp.cos(4 * np.pi * b))
    return a * a + 2.0 * b * b + waves


def _slope(c: float, a: float, w: float, t: np.ndarray) -> np.ndarray:
    return 2 * c * t + a * w * np.sin(w * t)


@lru_cache(maxsize=1)
def _bohachevsky_points(side: float) -> CriticalPoints:
    """Pairs of roots of 2 c t + a w sin(w t), whose turns are where a w^2 cos(w t) = -2 c."""
    roots, values, curvatures = [], [], []
    for c, a, w in ((1.0, 0.3, 3 * np.pi), (2.0, 0.4, 4 * np.pi)):
        turn, k = np.arccos(-2 * c / (a * w * w)), 2 * np.pi * np.arange(40)
        turns = np.concatenate([k + turn, k + 2 * np.pi - turn]) / w
        t = odd_roots(partial(_slope, c, a, w), turns, side)
        roots.append(t)
        values.append(c * t * t + a * (1 - np.cos(w * t)))
        curvatures.append(2 * c + a * w * w * np.cos(w * t))
    i, j = np.indices((len(roots[0]), len(roots[1]))).reshape(2, -1)
    return CriticalPoints(
        np.stack([roots[0][i], roots[1][j]], axis=1),
        values[0][i] + values[1][j],
        (curvatures[0][i] < 0).astype(int) + (curvatures[1][j] < 0),
        complete=True,
    )


@registry.objective
def bohachevsky() -> Objective:
    """Bohachevsky's first function: an elliptic bowl with ripples near its minimum.

    f(x) = x1^2 + 2 x2^2 - 0.3 cos 3 pi x1 - 0.4 cos 4 pi x2 + 0.7 on [-10, 10]^2; minimum at 0.
    All critical points are listed; beyond |x| = 2 the bowl is steeper than the ripples.

    Reference: I. O. Bohachevsky, M. E. Johnson, M. L. Stein, Technometrics 28 (1986) 209.
    """
    facts = Facts(
        f_star=0.0,
        minimizers=np.zeros((1, 2)),
        L=4.0 + 6.4 * math.pi**2,  # along x2 at 0
        domain=box(2, -10.0, 10.0),
        critical_points=_bohachevsky_points(10.0),
        source="separable; every root is bracketed between zeros of the second derivative",
    )
    return Objective(_bohachevsky, 2, name="bohachevsky", facts=facts)


def _egg_crate(x: Float[Array, " d"]) -> Float[Array, ""]:
    return total(lambda t: t * t + 25.0 * jnp.sin(t) ** 2, x)


@registry.objective
def egg_crate(dim: int = 2) -> Objective:
    """The egg crate: a bowl with a lattice of minima, 7^d critical points.

    f(x) = sum_i x_i^2 + 25 sin^2 x_i on [-5, 5]^d; minimum at 0.

    Args:
        dim: d; the inventory lists all points up to d = 5.

    Reference: M. Jamil and X.-S. Yang, Int. J. Math. Model. Numer. Optim. 4 (2013) 150, no. 52.
    """
    turn = np.arccos(-1 / 25) / 2
    turns = np.concatenate([np.pi * np.arange(3) + turn, np.pi * np.arange(1, 4) - turn])
    t = odd_roots(lambda t: 2 * t + 25 * np.sin(2 * t), turns, 5.0)
    values, curvatures = t * t + 25 * np.sin(t) ** 2, 2 + 50 * np.cos(2 * t)
    facts = Facts(
        f_star=0.0,
        minimizers=np.zeros((1, dim)),
        L=52.0,  # at 0
        domain=box(dim, -5.0, 5.0),
        critical_points=known(dim, t, values, curvatures),
        source="separable; every root is bracketed between zeros of the second derivative",
    )
    return Objective(_egg_crate, dim, name="egg_crate", facts=facts)
