"""Ripples on a bowl that do not separate: Ackley's and Griewank's functions."""

from __future__ import annotations

import math
from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gdlab import registry
from gdlab.errors import UsageError
from gdlab.objectives.inventory import box, separable
from gdlab.objectives.separable import bisect, odd_roots
from gdlab.types import Array, CriticalPoints, Facts, Objective


def _ackley(x: Float[Array, " d"]) -> Float[Array, ""]:
    mean = jnp.sum(x * x) / x.shape[0]
    # The root has no derivative at 0; there the gradient is set to 0, one of its subgradients.
    away = mean > 0
    r = jnp.where(away, jnp.sqrt(jnp.where(away, mean, 1.0)), 0.0)
    ripple = jnp.sum(jnp.cos(2 * np.pi * x)) / x.shape[0]
    return 20.0 * (1.0 - jnp.exp(-0.2 * r)) + (math.e - jnp.exp(ripple))


@registry.objective
def ackley(dim: int = 2) -> Objective:
    """Ackley's function: ripples that drown the slope far out, and a cone at the minimum.

    f(x) = -20 exp(-0.2 r) - exp(1/d sum_i cos 2 pi x_i) + 20 + e, r = |x| / sqrt(d), on
    [-32.768, 32.768]^d.

    The global minimum x = 0 is no critical point: f has a cone there and no gradient (gdlab sets
    it to 0, a subgradient). For d = 1 all 130 critical points are listed, for larger d none.

    Args:
        dim: d.

    Reference: D. H. Ackley, A Connectionist Machine for Genetic Hillclimbing, 1987.
    """
    if dim < 1:
        raise UsageError(f"objective.dim={dim}: ackley takes a dimension of 1 or more")
    facts = Facts(
        f_star=0.0,
        minimizers=np.zeros((1, dim)),
        domain=box(dim, -32.768, 32.768),
        critical_points=ackley_line() if dim == 1 else None,
        source="closed form; not differentiable at its minimum 0, which is therefore not among "
        "the critical points",
    )
    return Objective(_ackley, dim, name="ackley", facts=facts)


@lru_cache(maxsize=1)
def ackley_line(side: float = 32.768) -> CriticalPoints:
    """All critical points for d = 1: f'(t) = 4 e^(-t/5) + 2 pi sin(2 pi t) e^(cos 2 pi t), t > 0.

    f' = 0 needs sin < 0, so k - 1/2 < t < k. There
        p(t) = log(2 pi) + log(-sin 2 pi t) + cos 2 pi t + t/5 - log 4
    has the sign of -f' and is concave: p'' = -4 pi^2 (1/sin^2 + cos) <= 0. So there is at most
    one root on either side of p's peak.
    """
    w = 2 * np.pi

    def slope(t: np.ndarray) -> np.ndarray:
        return 4 * np.exp(-t / 5) + w * np.sin(w * t) * np.exp(np.cos(w * t))

    k = np.arange(1, int(side) + 2)
    left, right = k - 0.5 + 1e-9, k - 1e-9
    peak = bisect(lambda t: w / np.tan(w * t) - w * np.sin(w * t) + 0.2, left, right)
    assert np.all(slope(peak) < 0)  # p > 0 at its peak: every ripple has both its roots
    # f' > 0 before the first root and after the second: a maximum, then a minimum.
    t = np.concatenate([bisect(slope, left, peak), bisect(slope, peak, right)])
    index = np.repeat([1, 0], len(k))
    t, index = t[t <= side], index[t <= side]
    t, index = np.concatenate([-t, t]), np.tile(index, 2)
    value = 20 * (1 - np.exp(-np.abs(t) / 5)) + np.e - np.exp(np.cos(w * t))
    return CriticalPoints(t[:, None], value, index, complete=True)


def _griewank(x: Float[Array, " d"]) -> Float[Array, ""]:
    d = x.shape[0]
    if d <= 4:
        bowl, product = x[0] * x[0], jnp.cos(x[0])
        for i in range(1, d):
            bowl, product = bowl + x[i] * x[i], product * jnp.cos(x[i] / math.sqrt(i + 1))
        return bowl / 4000.0 - product + 1.0
    roots = jnp.sqrt(jnp.arange(1, d + 1, dtype=x.dtype))
    return jnp.sum(x * x) / 4000.0 - jnp.prod(jnp.cos(x / roots)) + 1.0


@registry.objective
def griewank(dim: int = 2) -> Objective:
    """Griewank's function: a very wide bowl, full of ripples.

    f(x) = 1 + sum_i x_i^2 / 4000 - prod_i cos(x_i / sqrt(i)) on [-600, 600]^d.

    For d = 1 all critical points are listed; for larger d, where there are thousands, the global
    minimum alone.

    Args:
        dim: d.

    Reference: A. O. Griewank, J. Optim. Theory Appl. 34 (1981) 11.
    """
    if dim < 1:
        raise UsageError(f"objective.dim={dim}: griewank takes a dimension of 1 or more")
    origin = CriticalPoints(np.zeros((1, dim)), np.zeros(1), np.zeros(1, int), complete=False)
    facts = Facts(
        f_star=0.0,
        minimizers=np.zeros((1, dim)),
        # The product is the mean of cos(v.x) over v = (+-1/sqrt(i)), and the mean of (v.z)^2 is
        # sum_i z_i^2 / i <= |z|^2: its curvature is at most 1, attained at 0 along x_1.
        L=1.0 + 1 / 2000,
        domain=box(dim, -600.0, 600.0),
        critical_points=griewank_line() if dim == 1 else origin,
        source="closed form; d = 1: every root is bracketed between zeros of f''",
    )
    return Objective(_griewank, dim, name="griewank", facts=facts)


@lru_cache(maxsize=1)
def griewank_line(side: float = 600.0) -> CriticalPoints:
    """All critical points for d = 1: f'(t) = t/2000 + sin t, with f'' = 1/2000 + cos t."""
    turn = math.acos(-1 / 2000)
    k = 2 * np.pi * np.arange(0, int(side / 6) + 2)
    turns = np.concatenate([k + turn, k + 2 * np.pi - turn])
    t = odd_roots(lambda t: t / 2000 + np.sin(t), turns, side)
    return separable(1, t, t * t / 4000 - np.cos(t) + 1, 1 / 2000 + np.cos(t))
