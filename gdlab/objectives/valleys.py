"""Classical sums of squares in any dimension or four: convex ones, and curved valleys."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gdlab import registry
from gdlab.errors import UsageError
from gdlab.objectives.inventory import box, critical
from gdlab.types import Array, CriticalPoints, Facts, Objective


def _at_least(dim: int, least: int) -> None:
    if dim < least:
        raise UsageError(f"objective.dim={dim}: takes a dimension of {least} or more")


def _only(x: Float[np.ndarray, " d"], value: float, complete: bool) -> CriticalPoints:
    """One minimum."""
    return CriticalPoints(x[None], np.array([value]), np.zeros(1, int), complete)


def _sum_squares(x: Float[Array, " d"]) -> Float[Array, ""]:
    return jnp.sum(jnp.arange(1, x.shape[0] + 1, dtype=x.dtype) * x * x)


@registry.objective
def sum_squares(dim: int = 2) -> Objective:
    """Weighted squares, a quadratic with condition number d.

    f(x) = sum_i i x_i^2 on [-10, 10]^d; minimum at 0.

    Args:
        dim: d.

    Reference: M. Jamil and X.-S. Yang, Int. J. Math. Model. Numer. Optim. 4 (2013) 150, no. 145.
    """
    _at_least(dim, 1)
    facts = Facts(
        f_star=0.0,
        minimizers=np.zeros((1, dim)),
        L=2.0 * dim,
        mu=2.0,
        domain=box(dim, -10.0, 10.0),
        critical_points=_only(np.zeros(dim), 0.0, True),
        quadratic=True,
        source="closed form",
    )
    return Objective(_sum_squares, dim, name="sum_squares", facts=facts)


def _trid(x: Float[Array, " d"]) -> Float[Array, ""]:
    return jnp.sum((x - 1.0) ** 2) - jnp.sum(x[1:] * x[:-1])


@registry.objective
def trid(dim: int = 2) -> Objective:
    """The Trid function, a quadratic whose condition number grows with d^2.

    f(x) = sum_i (x_i - 1)^2 - sum_(i > 1) x_i x_(i-1) on [-d^2, d^2]^d. The minimum is
    -d (d + 4)(d - 1)/6 at x_i = i (d + 1 - i); H = tridiag(-1, 2, -1).

    Args:
        dim: d, >= 2.

    Reference: A. Neumaier's collection; S. Surjanovic and D. Bingham, Virtual Library of
    Simulation Experiments, Trid function.
    """
    _at_least(dim, 2)
    i, side = np.arange(1.0, dim + 1), float(dim**2)
    x, value = i * (dim + 1 - i), -dim * (dim + 4) * (dim - 1) / 6
    wave = 2 * math.cos(math.pi / (dim + 1))
    facts = Facts(
        f_star=value,
        minimizers=x[None],
        L=2 + wave,
        mu=2 - wave,
        domain=box(dim, -side, side),
        critical_points=_only(x, value, True),
        quadratic=True,
        source="closed form",
    )
    return Objective(_trid, dim, name="trid", facts=facts)


def _zakharov(x: Float[Array, " d"]) -> Float[Array, ""]:
    s = 0.5 * jnp.sum(jnp.arange(1, x.shape[0] + 1, dtype=x.dtype) * x)
    return jnp.sum(x * x) + s * s + (s * s) * (s * s)


@registry.objective
def zakharov(dim: int = 2) -> Objective:
    """Zakharov's function: convex, a plate that is bent up steeply along one direction.

    f(x) = |x|^2 + s^2 + s^4, s = sum_i i x_i/2, on [-5, 10]^d; minimum at 0.

    H = 2 I + (2 + 12 s^2) v v', v_i = i/2: mu = 2, and L where |s| is largest, at (10, ..., 10).

    Args:
        dim: d, >= 2.

    Reference: S. Surjanovic and D. Bingham, Virtual Library of Simulation Experiments, Zakharov
    function.
    """
    _at_least(dim, 2)
    v = np.arange(1.0, dim + 1) / 2
    facts = Facts(
        f_star=0.0,
        minimizers=np.zeros((1, dim)),
        L=float(2 + (2 + 12 * (10 * v.sum()) ** 2) * (v @ v)),
        mu=2.0,
        domain=box(dim, -5.0, 10.0),
        critical_points=_only(np.zeros(dim), 0.0, True),
        source="closed form; strictly convex",
    )
    return Objective(_zakharov, dim, name="zakharov", facts=facts)


def _dixon_price(x: Float[Array, " d"]) -> Float[Array, ""]:
    off = 2.0 * x[1:] * x[1:] - x[:-1]
    weight = jnp.arange(2, x.shape[0] + 1, dtype=x.dtype)
    return (x[0] - 1.0) ** 2 + jnp.sum(weight * off * off)


@registry.objective
def dixon_price(dim: int = 2) -> Objective:
    """Dixon and Price's function: a valley that folds in two along the last coordinate.

    f(x) = (x_1 - 1)^2 + sum_(i > 1) i (2 x_i^2 - x_(i-1))^2 on [-10, 10]^d.

    f = 0 where x_i = 2^(-(1 - 2^(1-i))), with either sign of x_d. For d = 2 the third and last
    critical point is a saddle at (1/3, 0), f = 2/3.

    Args:
        dim: d, >= 2.

    Reference: L. C. W. Dixon and R. C. Price, J. Optim. Theory Appl. 60 (1989) 261.
    """
    _at_least(dim, 2)
    x = 2.0 ** -(1 - 2.0 ** (1 - np.arange(1.0, dim + 1)))
    both = np.stack([x, np.append(x[:-1], -x[-1])])
    points = CriticalPoints(both, np.zeros(2), np.zeros(2, int), complete=False)
    if dim == 2:
        points = critical([(*both[0], 0.0, 0), (*both[1], 0.0, 0), (1 / 3, 0.0, 2 / 3, 1)])
    facts = Facts(
        f_star=0.0,
        minimizers=both,
        domain=box(dim, -10.0, 10.0),
        critical_points=points,
        source="closed form",
    )
    return Objective(_dixon_price, dim, name="dixon_price", facts=facts)


def _powell_singular(x: Float[Array, " d"]) -> Float[Array, ""]:
    p, q = x[0] + 10.0 * x[1], x[2] - x[3]
    r, s = x[1] - 2.0 * x[2], x[0] - x[3]
    return p * p + 5.0 * q * q + (r * r) * (r * r) + 10.0 * (s * s) * (s * s)


@registry.objective
def powell_singular() -> Objective:
    """Powell's singular function: convex, with a minimum of nullity 2.

    f(x) = (x1 + 10 x2)^2 + 5 (x3 - x4)^2 + (x2 - 2 x3)^4 + 10 (x1 - x4)^4 on [-4, 5]^4; minimum
    at 0. It is where Newton's method is only linear.

    Reference: M. J. D. Powell, Comput. J. 5 (1962) 147; J. J. More, B. S. Garbow, K. E.
    Hillstrom, ACM Trans. Math. Softw. 7 (1981) 17, no. 13.
    """
    facts = Facts(
        f_star=0.0,
        minimizers=np.zeros((1, 4)),
        domain=box(4, -4.0, 5.0),
        critical_points=critical([(0.0, 0.0, 0.0, 0.0, 0.0, -1)]),
        source="closed form; convex, and 0 at the origin alone",
    )
    return Objective(_powell_singular, 4, name="powell_singular", facts=facts)


def _wood(x: Float[Array, " d"]) -> Float[Array, ""]:
    p, q = x[1] - x[0] * x[0], x[3] - x[2] * x[2]
    a, b, c, d = 1.0 - x[0], 1.0 - x[1], 1.0 - x[2], 1.0 - x[3]
    valleys = 100.0 * p * p + a * a + 90.0 * q * q + c * c
    return valleys + 10.1 * (b * b + d * d) + 19.8 * b * d


@registry.objective
def wood() -> Objective:
    """Wood's function: two Rosenbrock valleys, coupled; a saddle near (-1, 1, -1, 1) holds back.

    f(x) = 100 (x2 - x1^2)^2 + (1 - x1)^2 + 90 (x4 - x3^2)^2 + (1 - x3)^2
    + 10.1 ((1 - x2)^2 + (1 - x4)^2) + 19.8 (1 - x2)(1 - x4) on [-10, 10]^4; minimum at
    (1, 1, 1, 1).

    Reference: A. R. Colville, IBM report 320-2949, 1968; J. J. More, B. S. Garbow, K. E.
    Hillstrom, ACM Trans. Math. Softw. 7 (1981) 17, no. 14.
    """
    facts = Facts(
        f_star=0.0,
        minimizers=np.ones((1, 4)),
        domain=box(4, -10.0, 10.0),
        critical_points=_only(np.ones(4), 0.0, False),
        source="closed form: a sum of squares, since 19.8 < 2 x 10.1",
    )
    return Objective(_wood, 4, name="wood", facts=facts)
