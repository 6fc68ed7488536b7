"""The camels: polynomials of degree 6 whose critical points are counted exactly."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from gdlab import registry
from gdlab.objectives.inventory import box, critical, minimizers
from gdlab.types import Array, Facts, Objective

# df/dx2 = 0 gives x1 = 8 x2 - 16 x2^3 (six humps) and x2 = -x1 / 2 (three humps); what is left is
# one polynomial, whose real roots were counted by Sturm's theorem in exact fractions and solved
# at 50 digits (mpmath).
SIX = critical(
    [
        # x, y, f, Morse index
        (0.089842013100318062, -0.71265640302073963, -1.0316284534898774, 0),
        (-0.089842013100318062, 0.71265640302073963, -1.0316284534898774, 0),
        (1.7036067149699808, -0.79608356867262512, -0.21546382438371764, 0),
        (-1.7036067149699808, 0.79608356867262512, -0.21546382438371764, 0),
        (1.6071047529201972, 0.56865145488413137, 2.1042503103112583, 0),
        (-1.6071047529201972, -0.56865145488413137, 2.1042503103112583, 0),
        (0.0, 0.0, 0.0, 1),
        (1.1092053368047864, -0.76826809250953984, 0.54371860097818514, 1),
        (-1.1092053368047864, 0.76826809250953984, 0.54371860097818514, 1),
        (1.6380679841897786, 0.22867406904439407, 2.2293571975307147, 1),
        (-1.6380679841897786, -0.22867406904439407, 2.2293571975307147, 1),
        (1.2960702671671092, 0.6050843880386585, 2.2294708180298599, 1),
        (-1.2960702671671092, -0.6050843880386585, 2.2294708180298599, 1),
        (1.2302298765166526, 0.16233458445899497, 2.4962953510235769, 2),
        (-1.2302298765166526, -0.16233458445899497, 2.4962953510235769, 2),
    ]
)
THREE = critical(
    [
        (0.0, 0.0, 0.0, 0),
        (1.7475523458302889, -0.87377617291514445, 0.29863844223685982, 0),
        (-1.7475523458302889, 0.87377617291514445, 0.29863844223685982, 0),
        (1.07054229182366, -0.53527114591182999, 0.87736155776314018, 1),
        (-1.07054229182366, 0.53527114591182999, 0.87736155776314018, 1),
    ]
)


def _six(x: Float[Array, " d"]) -> Float[Array, ""]:
    p, q = x[0] * x[0], x[1] * x[1]
    return (4.0 - 2.1 * p + p * p / 3.0) * p + x[0] * x[1] + (4.0 * q - 4.0) * q


def _three(x: Float[Array, " d"]) -> Float[Array, ""]:
    p = x[0] * x[0]
    return (2.0 - 1.05 * p + p * p / 6.0) * p + x[0] * x[1] + x[1] * x[1]


def _corner_curvature(h11: float, h22: float) -> float:
    """Largest eigenvalue where both diagonal entries are largest; the other entry is always 1."""
    return float(np.linalg.eigvalsh(np.array([[h11, 1.0], [1.0, h22]]))[-1])


@registry.objective
def six_hump_camel() -> Objective:
    """The six-hump camel function.

    f(x) = (4 - 2.1 x1^2 + x1^4/3) x1^2 + x1 x2 + (4 x2^2 - 4) x2^2 on [-3, 3] x [-2, 2].

    Fifteen critical points: six minima (two of them global), seven saddles, two maxima.

    Reference: L. C. W. Dixon and G. P. Szegoe, Towards Global Optimisation 2, 1978.
    """
    facts = Facts(
        f_star=float(SIX.value[0]),
        minimizers=minimizers(SIX),
        L=_corner_curvature(8 - 25.2 * 9 + 10 * 81.0, 48.0 * 4 - 8),
        domain=np.array([[-3.0, 3.0], [-2.0, 2.0]]),
        critical_points=SIX,
        source="exact elimination, Sturm count, roots at 50 digits",
    )
    return Objective(_six, dim=2, name="six_hump_camel", facts=facts)


@registry.objective
def three_hump_camel() -> Objective:
    """The three-hump camel function.

    f(x) = 2 x1^2 - 1.05 x1^4 + x1^6/6 + x1 x2 + x2^2 on [-5, 5]^2.

    Five critical points: three minima (the global one at 0) and two saddles.

    Reference: F. H. Branin, IBM J. Res. Dev. 16 (1972) 504.
    """
    facts = Facts(
        f_star=0.0,
        minimizers=minimizers(THREE),
        L=_corner_curvature(4 - 12.6 * 25 + 5 * 625.0, 2.0),
        domain=box(2, -5.0, 5.0),
        critical_points=THREE,
        source="exact elimination, Sturm count, roots at 50 digits",
    )
    return Objective(_three, dim=2, name="three_hump_camel", facts=facts)
