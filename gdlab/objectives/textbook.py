"""The functions in the figures of Goodfellow, Bengio, Courville, Deep Learning, 2016, sec. 4.3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gdlab import registry
from gdlab.errors import UsageError
from gdlab.objectives.inventory import box, critical
from gdlab.objectives.quadratic import quadratic
from gdlab.types import Array, CriticalPoints, Facts, Objective


def _half_square(x: Float[Array, " d"]) -> Float[Array, ""]:
    return 0.5 * x[0] * x[0]


@registry.objective
def half_square() -> Objective:
    """Half the square, the first picture of descent (Fig. 4.1).

    f(x) = x^2 / 2 on [-2, 2]; f'(x) = x, so that gradient descent contracts by 1 - eta.

    Reference: Deep Learning, Fig. 4.1.
    """
    facts = Facts(
        f_star=0.0,
        minimizers=np.zeros((1, 1)),
        L=1.0,
        mu=1.0,
        domain=box(1, -2.0, 2.0),
        critical_points=critical([(0.0, 0.0, 0)]),
        quadratic=True,
        source="closed form",
    )
    return Objective(_half_square, dim=1, name="half_square", facts=facts)


def square(data: Mapping[str, Array], x: Float[Array, " d"]) -> Float[Array, ""]:
    """c x^2."""
    return data["coefficient"] * x[0] * x[0]


def cube(data: Mapping[str, Array], x: Float[Array, " d"]) -> Float[Array, ""]:
    """c x^3."""
    return data["coefficient"] * x[0] * x[0] * x[0]


def fourth(data: Mapping[str, Array], x: Float[Array, " d"]) -> Float[Array, ""]:
    """c x^4."""
    return data["coefficient"] * (x[0] * x[0]) * (x[0] * x[0])


@registry.objective
def monomial(power: Literal[2, 3, 4] = 2, coefficient: float = 1.0) -> Objective:
    """One critical point in one dimension, of each kind (Fig. 4.2).

    f(x) = c x^p on [-2, 2]: a minimum (c = 1, p = 2), a maximum (c = -1, p = 2), the critical
    point with a rise on one side and a fall on the other that Fig. 4.2 calls a saddle (p = 3,
    an inflection: f'' = 0), a degenerate minimum (p = 4).

    Args:
        power: p.
        coefficient: c, not 0.

    Reference: Deep Learning, Fig. 4.2.
    """
    c, p = coefficient, power
    if c == 0 or not np.isfinite(c):
        raise UsageError(f"objective.coefficient={c}: monomial takes a finite number, not 0")
    bowl = c > 0 and p != 3
    facts = Facts(
        f_star=0.0 if bowl else None,
        minimizers=np.zeros((1, 1)) if bowl else None,
        L=p * (p - 1) * abs(c) * 2.0 ** (p - 2),  # |f''| = p (p-1) |c| |x|^(p-2), largest at 2
        mu=2.0 * c if bowl and p == 2 else None,
        domain=box(1, -2.0, 2.0),
        critical_points=critical([(0.0, 0.0, (0 if c > 0 else 1) if p == 2 else -1)]),
        quadratic=p == 2,
        source="closed form",
    )
    f = {2: square, 3: cube, 4: fourth}[p]
    return Objective(f, 1, {"coefficient": np.float64(c)}, name="monomial", facts=facts)


def fig4_2_minimum() -> Objective:
    """x^2, the left of Fig. 4.2: `monomial(2)`."""
    return monomial(2, 1.0)


def fig4_2_maximum() -> Objective:
    """-x^2, the middle of Fig. 4.2: `monomial(2, -1.0)`."""
    return monomial(2, -1.0)


def fig4_2_saddle() -> Objective:
    """x^3, the right of Fig. 4.2: `monomial(3)`."""
    return monomial(3, 1.0)


def fig4_6() -> Objective:
    """The canyon of Fig. 4.6, condition number 5: `quadratic(H=[[3, 2], [2, 3]])`."""
    return quadratic(H=[[3.0, 2.0], [2.0, 3.0]])


# Fig. 4.3. A strictly increasing change of variable u(x) that nearly stands still on [-1, 1],
#   u(x) = w log(1 + e^((x-1)/w)) - w log(1 + e^(-(x+1)/w)),
#   u'(x) = sigma((x-1)/w) + sigma(-(x+1)/w) > 0,   sigma(z) = 1 / (1 + e^-z),
# in a polynomial q with q'(u) = (u + 5/2)(u + 3/2)(u - 1)(u - 5/2)(u - 7/2) / 10. Since u' > 0
# everywhere, f' = q'(u) u' vanishes at the five roots of q' and nowhere else; around x = 0, where
# u' = 2 e^(-1/w) = 2.8e-11, f falls towards the global minimum too slowly to be noticed.
WIDTH = 0.04
Q = (0.0, -3.28125, 1.015625, 0.8, -0.2375, -0.06, 1 / 60)

# u(x) = root, solved at 50 digits (mpmath); q there is rational.
THREE_MINIMA = critical(
    [
        # x, f, Morse index
        (-3.5, 2.7018229166666666667, 0),
        (-2.4999999999999999979, 3.95015625, 1),
        (1.9999999999994444822, -1.7464583333333333333, 0),
        (3.5, -0.42317708333333333333, 1),
        (4.5, -1.2581770833333333333, 0),
    ]
)


def _three_minima(x: Float[Array, " d"]) -> Float[Array, ""]:
    u = WIDTH * (jnp.logaddexp(0.0, (x[0] - 1) / WIDTH) - jnp.logaddexp(0.0, -(x[0] + 1) / WIDTH))
    value = Q[-1] * u + Q[-2]
    for coefficient in reversed(Q[:-2]):  # Horner
        value = value * u + coefficient
    return value


@registry.objective
def three_minima() -> Objective:
    """A global minimum, a good local minimum, a poor one, and a plateau (Fig. 4.3).

    f = q(u(x)) on [-4.25, 5.25]: q a polynomial of degree 6, u a smooth increasing change of
    variable that is almost constant on [-1, 1].

    From left to right: a poor local minimum at -3.5 (f = 2.70), a maximum at -2.5, the plateau on
    [-1, 1] (f = 0; the slope falls to 1e-10 but is nowhere 0), the global minimum at 2
    (f = -1.75), a maximum at 3.5, a good local minimum at 4.5 (f = -1.26). There are no other
    critical points.

    Reference: Deep Learning, Fig. 4.3 (the picture's kind of function; the book gives none).
    """
    facts = Facts(
        f_star=float(THREE_MINIMA.value[2]),
        minimizers=THREE_MINIMA.x[2:3],
        L=53.305078125,  # f'' = q''(u) at the left end, u = -3.25
        domain=box(1, -4.25, 5.25),
        critical_points=THREE_MINIMA,
        source="f' = q'(u) u' with u' > 0: its zeros are the five roots of q'",
    )
    return Objective(_three_minima, dim=1, name="three_minima", facts=facts)


def _saddle(x: Float[Array, " d"]) -> Float[Array, ""]:
    return x[0] * x[0] - x[1] * x[1]


@registry.objective
def saddle() -> Objective:
    """A saddle: up along one axis, down along the other (Fig. 4.5).

    f(x) = x1^2 - x2^2 on [-2, 2]^2. Unbounded below; descent leaves along x2 unless it starts
    with x2 = 0.

    Reference: Deep Learning, Fig. 4.5.
    """
    facts = Facts(
        L=2.0,
        domain=box(2, -2.0, 2.0),
        critical_points=CriticalPoints(
            np.zeros((1, 2)), np.zeros(1), np.ones(1, int), complete=True
        ),
        quadratic=True,
        source="closed form",
    )
    return Objective(_saddle, dim=2, name="saddle", facts=facts)
