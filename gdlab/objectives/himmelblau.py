"""Himmelblau's function: four global minima, four saddles, one maximum."""

from __future__ import annotations

import numpy as np
from jaxtyping import Array, Float

from gdlab import registry
from gdlab.objectives.inventory import box, critical
from gdlab.types import Facts, Objective

# Roots of the gradient, solved by Newton at 50 digits (mpmath) and rounded to double.
POINTS = critical(
    [
        # x, y, f, Morse index
        (3.0, 2.0, 0.0, 0),
        (3.58442834033049, -1.8481265269644, 0.0, 0),
        (-3.77931025337775, -3.28318599128617, 0.0, 0),
        (-2.80511808695274, 3.13131251825057, 0.0, 0),
        (3.38515418360702, 0.0738518798377493, 13.3119262704056, 1),
        (0.0866775045553964, 2.88425470117478, 67.7191500875261, 1),
        (-3.07302575076439, -0.0813530442879675, 104.015162917558, 1),
        (-0.12796134673068, -1.95371498024458, 178.337239201927, 1),
        (-0.270844590667348, -0.923038556479981, 181.616521522583, 2),
    ]
)


def f(x: Float[Array, " d"]) -> Float[Array, ""]:
    """(x1^2 + x2 - 11)^2 + (x1 + x2^2 - 7)^2."""
    p = x[0] * x[0] + x[1] - 11.0
    q = x[0] + x[1] * x[1] - 7.0
    return p * p + q * q


@registry.objective
def himmelblau() -> Objective:
    """Himmelblau's function of two variables.

    f(x) = (x1^2 + x2 - 11)^2 + (x1 + x2^2 - 7)^2 on [-5, 5]^2.

    Nine critical points: four minima, all global with f = 0, four saddles, one maximum.

    Reference: D. M. Himmelblau, Applied Nonlinear Programming, 1972.
    """
    # Each entry of H = [[12 x1^2 + 4 x2 - 42, 4 (x1 + x2)], [., 12 x2^2 + 4 x1 - 26]] is largest
    # in the corner (5, 5), so lambda_max is too.
    corner = np.array([[278.0, 40.0], [40.0, 294.0]])
    facts = Facts(
        f_star=0.0,
        minimizers=POINTS.x[:4],
        L=float(np.linalg.eigvalsh(corner)[-1]),
        domain=box(2, -5.0, 5.0),
        critical_points=POINTS,
        source="Himmelblau 1972; all nine roots of the gradient at 50 digits",
    )
    return Objective(f, dim=2, name="himmelblau", facts=facts)
