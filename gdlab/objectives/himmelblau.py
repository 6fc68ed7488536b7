"""Himmelblau's function: four global minima, four saddles, one maximum."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from gdlab import registry
from gdlab.objectives.inventory import box, critical
from gdlab.types import Array, Facts, Objective

# Roots of the gradient by Newton at 50 digits (mpmath), rounded to 17; a Groebner basis and Sturm's
# theorem count nine.
POINTS = critical(
    [
        # x, y, f, Morse index
        (3.0, 2.0, 0.0, 0),
        (3.5844283403304917, -1.8481265269644036, 0.0, 0),
        (-3.7793102533777469, -3.2831859912861694, 0.0, 0),
        (-2.8051180869527449, 3.131312518250573, 0.0, 0),
        (3.3851541836070209, 0.073851879837749288, 13.31192627040559, 1),
        (0.086677504555396352, 2.8842547011747761, 67.71915008752614, 1),
        (-3.0730257507643896, -0.081353044287967512, 104.01516291755811, 1),
        (-0.12796134673068007, -1.9537149802445764, 178.33723920192746, 1),
        (-0.27084459066734761, -0.92303855647998146, 181.6165215225827, 2),
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
