"""Classical test functions of two variables, with all their critical points."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gdlab import registry
from gdlab.objectives.inventory import box, critical, minimizers
from gdlab.types import Array, Facts, Objective


def _booth(x: Float[Array, " d"]) -> Float[Array, ""]:
    p, q = x[0] + 2.0 * x[1] - 7.0, 2.0 * x[0] + x[1] - 5.0
    return p * p + q * q


@registry.objective
def booth() -> Objective:
    """Booth's function, a quadratic with condition number 9.

    f(x) = (x1 + 2 x2 - 7)^2 + (2 x1 + x2 - 5)^2 on [-10, 10]^2; minimum at (1, 3).

    Reference: M. Jamil and X.-S. Yang, Int. J. Math. Model. Numer. Optim. 4 (2013) 150, no. 17.
    """
    facts = Facts(
        f_star=0.0,
        minimizers=np.array([[1.0, 3.0]]),
        L=18.0,  # H = [[10, 8], [8, 10]]
        mu=2.0,
        domain=box(2, -10.0, 10.0),
        critical_points=critical([(1.0, 3.0, 0.0, 0)]),
        quadratic=True,
        source="closed form",
    )
    return Objective(_booth, dim=2, name="booth", facts=facts)


def _matyas(x: Float[Array, " d"]) -> Float[Array, ""]:
    return 0.26 * (x[0] * x[0] + x[1] * x[1]) - 0.48 * x[0] * x[1]


@registry.objective
def matyas() -> Objective:
    """Matyas's function, a quadratic with condition number 25.

    f(x) = 0.26 (x1^2 + x2^2) - 0.48 x1 x2 on [-10, 10]^2; minimum at 0.

    Reference: J. Matyas, Autom. Remote Control 26 (1965) 246.
    """
    facts = Facts(
        f_star=0.0,
        minimizers=np.zeros((1, 2)),
        L=1.0,  # H = [[0.52, -0.48], [-0.48, 0.52]]
        mu=0.04,
        domain=box(2, -10.0, 10.0),
        critical_points=critical([(0.0, 0.0, 0.0, 0)]),
        quadratic=True,
        source="closed form",
    )
    return Objective(_matyas, dim=2, name="matyas", facts=facts)


# f is quadratic in x1, so df/dx1 = 0 gives x1 as a rational function of x2 (or x2 = 1, x1 = 0);
# the polynomial in x2 that is left has two real roots besides x2 = 1 by Sturm's theorem, solved at
# 50 digits (mpmath).
BEALE = critical(
    [
        (3.0, 0.5, 0.0, 0),
        (0.0, 1.0, 14.203125, 1),
        (0.10053793732415836, -2.644513585023125, 9.8645122847555602, 1),
    ]
)


def _beale(x: Float[Array, " d"]) -> Float[Array, ""]:
    y = x[1]
    p = 1.5 - x[0] * (1.0 - y)
    q = 2.25 - x[0] * (1.0 - y * y)
    r = 2.625 - x[0] * (1.0 - y * y * y)
    return p * p + q * q + r * r


@registry.objective
def beale() -> Objective:
    """Beale's function: a narrow curved valley with flat ends.

    f(x) = sum_{i=1..3} (c_i - x1 (1 - x2^i))^2, c = (1.5, 2.25, 2.625), on [-4.5, 4.5]^2.

    Three critical points: the minimum at (3, 0.5) and two saddles.

    Reference: E. M. L. Beale, Princeton technical report 25, 1958.
    """
    facts = Facts(
        f_star=0.0,
        minimizers=BEALE.x[:1],
        domain=box(2, -4.5, 4.5),
        critical_points=BEALE,
        source="exact elimination, Sturm count, roots at 50 digits",
    )
    return Objective(_beale, dim=2, name="beale", facts=facts)


def _mccormick(x: Float[Array, " d"]) -> Float[Array, ""]:
    off = x[0] - x[1]
    return jnp.sin(x[0] + x[1]) + off * off - 1.5 * x[0] + 2.5 * x[1] + 1.0


@registry.objective
def mccormick() -> Objective:
    """McCormick's function: a wave along one diagonal, a parabola along the other.

    f(x) = sin(x1 + x2) + (x1 - x2)^2 - 1.5 x1 + 2.5 x2 + 1 on [-1.5, 4] x [-3, 4].

    In s = x1 + x2 and u = x1 - x2 the gradient vanishes where cos s = -1/2 and u = 1. Three such
    points lie in the domain: the global minimum (s = -2 pi/3), a saddle (2 pi/3) and a local
    minimum (4 pi/3). Beyond the domain f is unbounded below.

    Reference: G. P. McCormick, Math. Program. 10 (1976) 147.
    """
    third, half = math.pi / 3, math.sqrt(0.75)
    rows = []
    for s, sine, index in ((-2 * third, -half, 0), (2 * third, half, 1), (4 * third, -half, 0)):
        # -1.5 x1 + 2.5 x2 = s/2 - 2 u
        rows.append(((s + 1) / 2, (s - 1) / 2, sine + s / 2, index))
    points = critical(rows)
    facts = Facts(
        f_star=float(points.value[0]),
        minimizers=minimizers(points),
        L=4.0,  # eigenvalues -2 sin s along (1, 1) and 4 along (1, -1)
        domain=np.array([[-1.5, 4.0], [-3.0, 4.0]]),
        critical_points=points,
        source="closed form; f_star is the minimum over the domain",
    )
    return Objective(_mccormick, dim=2, name="mccormick", facts=facts)


B, C, R, S, T = 5.1 / (4 * math.pi**2), 5 / math.pi, 6.0, 10.0, 1 / (8 * math.pi)


def _branin(x: Float[Array, " d"]) -> Float[Array, ""]:
    p = x[1] - B * x[0] * x[0] + C * x[0] - R
    return p * p + S * (1.0 - T) * jnp.cos(x[0]) + S


@registry.objective
def branin() -> Objective:
    """Branin's function: three global minima in a row.

    f(x) = (x2 - b x1^2 + c x1 - 6)^2 + 10 (1 - t) cos x1 + 10 on [-5, 10] x [0, 15],
    b = 5.1 / (4 pi^2), c = 5 / pi, t = 1 / (8 pi).

    df/dx2 = 0 makes the first term vanish, and then df/dx1 = 0 means sin x1 = 0: x1 = k pi, a
    minimum with f = 10 t for odd k, a saddle with f = 10 (2 - t) for even k; k = -1, ..., 3.

    Reference: F. H. Branin, IBM J. Res. Dev. 16 (1972) 504.
    """
    rows = []
    for k in range(-1, 4):
        x1 = k * math.pi
        low = k % 2 == 1
        rows.append((x1, 1.275 * k * k - 5 * k + R, S * T if low else S * (2 - T), 0 if low else 1))
    points = critical(rows)
    facts = Facts(
        f_star=S * T,
        minimizers=minimizers(points),
        domain=np.array([[-5.0, 10.0], [0.0, 15.0]]),
        critical_points=points,
        source="closed form",
    )
    return Objective(_branin, dim=2, name="branin", facts=facts)
