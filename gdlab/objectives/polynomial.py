"""Classical polynomials with several minima: Goldstein and Price, Freudenstein and Roth."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from gdlab import registry
from gdlab.objectives.inventory import box, critical, minimizers
from gdlab.types import Array, CriticalPoints, Facts, Objective

GOLDSTEIN_PRICE = CriticalPoints(
    np.array([[0.0, -1.0], [-0.6, -0.4], [1.8, 0.2], [1.2, 0.8]]),
    np.array([3.0, 30.0, 84.0, 840.0]),
    np.zeros(4, int),
    complete=False,
)


def _goldstein_price(x: Float[Array, " d"]) -> Float[Array, ""]:
    a, b = x[0], x[1]
    p, q = a + b + 1.0, 2.0 * a - 3.0 * b
    u = 19.0 - 14.0 * a + 3.0 * a * a - 14.0 * b + 6.0 * a * b + 3.0 * b * b
    v = 18.0 - 32.0 * a + 12.0 * a * a + 48.0 * b - 36.0 * a * b + 27.0 * b * b
    return (1.0 + p * p * u) * (30.0 + q * q * v)


@registry.objective
def goldstein_price() -> Objective:
    """Goldstein and Price's function: four minima in a steep polynomial of degree 8.

    f(x) = (1 + (x1 + x2 + 1)^2 (19 - 14 x1 + 3 x1^2 - 14 x2 + 6 x1 x2 + 3 x2^2))
    (30 + (2 x1 - 3 x2)^2 (18 - 32 x1 + 12 x1^2 + 48 x2 - 36 x1 x2 + 27 x2^2)) on [-2, 2]^2;
    minima 3, 30, 84 and 840. The saddles between them are not listed.

    Reference: A. A. Goldstein and J. F. Price, Math. Comput. 25 (1971) 569; L. C. W. Dixon and
    G. P. Szegoe, Towards Global Optimisation 2, 1978.
    """
    facts = Facts(
        f_star=3.0,
        minimizers=GOLDSTEIN_PRICE.x[:1],
        domain=box(2, -2.0, 2.0),
        critical_points=GOLDSTEIN_PRICE,
        source="published, exact in decimals",
    )
    return Objective(_goldstein_price, 2, name="goldstein_price", facts=facts)


def _freudenstein_roth(x: Float[Array, " d"]) -> Float[Array, ""]:
    a, b = x[0], x[1]
    p = a - 13.0 + ((5.0 - b) * b - 2.0) * b
    q = a - 29.0 + ((b + 1.0) * b - 14.0) * b
    return p * p + q * q


@registry.objective
def freudenstein_roth() -> Objective:
    """Freudenstein and Roth's function: a local minimum, 48.984, that descent falls for.

    f(x) = (x1 - 13 + ((5 - x2) x2 - 2) x2)^2 + (x1 - 29 + ((x2 + 1) x2 - 14) x2)^2 on
    [-30, 30]^2; minimum 0 at (5, 4).

    With residuals p and q, df/dx1 = 0 gives p = -q, and then df/dx2 = 0 means p = 0 or p' = q',
    that is x2 = (2 +- sqrt 22)/3: a saddle and a local minimum. p = q = 0 has the one real root.

    Reference: F. Freudenstein and B. Roth, J. ACM 10 (1963) 550; J. J. More, B. S. Garbow, K. E.
    Hillstrom, ACM Trans. Math. Softw. 7 (1981) 17, no. 2.
    """
    rows = [(5.0, 4.0, 0.0, 0)]
    for sign, index in ((1, 1), (-1, 0)):
        b = (2 + sign * math.sqrt(22)) / 3
        p, q = ((5 - b) * b - 2) * b - 13, ((b + 1) * b - 14) * b - 29
        rows.append((-(p + q) / 2, b, (p - q) ** 2 / 2, index))
    points = critical(rows)
    facts = Facts(
        f_star=0.0,
        minimizers=minimizers(points),
        domain=box(2, -30.0, 30.0),
        critical_points=points,
        source="closed form, by elimination",
    )
    return Objective(_freudenstein_roth, 2, name="freudenstein_roth", facts=facts)
