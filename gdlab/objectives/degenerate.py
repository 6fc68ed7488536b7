"""Where the Hessian fails to decide, and the strict saddle where it decides."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from gdlab import registry
from gdlab.errors import UsageError
from gdlab.objectives.inventory import box, critical
from gdlab.objectives.separable import total
from gdlab.types import Array, CriticalPoints, Facts, Objective


def _monkey(x: Float[Array, " d"]) -> Float[Array, ""]:
    return x[0] * (x[0] * x[0] - 3.0 * x[1] * x[1])


@registry.objective
def monkey_saddle() -> Objective:
    """The monkey saddle: three ways down, and a Hessian that is zero.

    f(x) = x1^3 - 3 x1 x2^2 on [-2, 2]^2. The origin is the only critical point, and degenerate.

    Reference: D. Hilbert and S. Cohn-Vossen, Anschauliche Geometrie, 1932, sec. 28.
    """
    facts = Facts(
        L=6 * 8**0.5,  # eigenvalues +-6 |x|, largest in the corners
        domain=box(2, -2.0, 2.0),
        critical_points=critical([(0.0, 0.0, 0.0, -1)]),
        source="closed form",
    )
    return Objective(_monkey, dim=2, name="monkey_saddle", facts=facts)


def _quartic(x: Float[Array, " d"]) -> Float[Array, ""]:
    return total(lambda t: (t * t) * (t * t), x)


@registry.objective
def quartic(dim: int = 1) -> Objective:
    """A minimum that is flatter than any quadratic: descent slows to 1/sqrt(t).

    f(x) = sum_i x_i^4 on [-2, 2]^d. The origin is the only critical point; its Hessian is zero.

    Args:
        dim: d.
    """
    if dim < 1:
        raise UsageError(f"objective.dim={dim}: quartic takes a dimension of 1 or more")
    facts = Facts(
        f_star=0.0,
        minimizers=np.zeros((1, dim)),
        L=48.0,  # 12 t^2 at t = 2
        domain=box(dim, -2.0, 2.0),
        critical_points=CriticalPoints(
            np.zeros((1, dim)), np.zeros(1), np.array([-1]), complete=True
        ),
        source="closed form",
    )
    return Objective(_quartic, dim, name="quartic", facts=facts)


def _crossing(x: Float[Array, " d"]) -> Float[Array, ""]:
    return (x[0] * x[0]) * (x[1] * x[1])


@registry.objective
def crossed_valleys() -> Objective:
    """Two flat valleys that cross: whole lines of critical points, all of them minima.

    f(x) = x1^2 x2^2 on [-2, 2]^2. Both axes are critical; the Hessian has a zero eigenvalue along
    them and vanishes where they cross.

    The inventory names five points of these lines; as there are infinitely many minimizers, the
    facts list none.
    """
    rows = [(x, y, 0.0, -1) for x, y in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))]
    facts = Facts(
        f_star=0.0,
        L=24.0,  # H = [[2 x2^2, 4 x1 x2], [., 2 x1^2]] in a corner
        domain=box(2, -2.0, 2.0),
        critical_points=critical(rows, complete=False),
        source="closed form; five points of two lines of critical points",
    )
    return Objective(_crossing, dim=2, name="crossed_valleys", facts=facts)


def _strict(x: Float[Array, " d"]) -> Float[Array, ""]:
    y = x[1] * x[1]
    return 0.5 * x[0] * x[0] + 0.25 * y * y - 0.5 * y


@registry.objective
def strict_saddle() -> Objective:
    """A strict saddle between two minima: descent misses it from almost every start.

    f(x) = x1^2/2 + x2^4/4 - x2^2/2 on [-2, 2]^2: a saddle at 0, minima at (0, +-1) with f = -1/4.
    Only starts with x2 = 0 end in the saddle.

    Reference: J. D. Lee, M. Simchowitz, M. I. Jordan, B. Recht, Gradient descent only converges
    to minimizers, COLT 2016.
    """
    points = critical([(0.0, 0.0, 0.0, 1), (0.0, 1.0, -0.25, 0), (0.0, -1.0, -0.25, 0)])
    facts = Facts(
        f_star=-0.25,
        minimizers=points.x[1:],
        L=11.0,  # 3 x2^2 - 1 at x2 = 2
        domain=box(2, -2.0, 2.0),
        critical_points=points,
        source="closed form",
    )
    return Objective(_strict, dim=2, name="strict_saddle", facts=facts)
