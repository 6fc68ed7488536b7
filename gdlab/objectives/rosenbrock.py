"""Rosenbrock's valley, in any dimension."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gdlab import registry
from gdlab.errors import UsageError
from gdlab.objectives.inventory import box, critical
from gdlab.types import Array, CriticalPoints, Facts, Objective


def f(data: Mapping[str, Array], x: Float[Array, " d"]) -> Float[Array, ""]:
    """sum_i b (x_{i+1} - x_i^2)^2 + (a - x_i)^2."""
    a, b = data["a"], data["b"]
    if x.shape[0] == 2:  # scalars fuse best
        return b * (x[1] - x[0] ** 2) ** 2 + (a - x[0]) ** 2
    return jnp.sum(b * (x[1:] - x[:-1] ** 2) ** 2 + (a - x[:-1]) ** 2)


@registry.objective
def rosenbrock(dim: int = 2, a: float = 1.0, b: float = 100.0) -> Objective:
    """Rosenbrock's curved valley.

    f(x) = sum_{i<d} b (x_{i+1} - x_i^2)^2 + (a - x_i)^2 on [-2.048, 2.048]^d (wider where the
    minimizer needs it). The classical start is (-1.2, 1).

    Args:
        dim: d >= 2.
        a: the minimizer is (a, a^2) for d = 2 and (1, ..., 1) for a = 1; for other a in d > 2
            neither minimizer nor f_star is known.
        b: steepness of the valley's walls, > 0.

    The minimizer is the only critical point for d = 2, and for d = 3 with a = 1, b = 100; there
    d = 4 and d = 5 add a local minimum near (-1, 1, ..., 1) and a saddle of index 1.

    Reference: H. H. Rosenbrock, Comput. J. 3 (1960) 175; Y.-W. Shang and Y.-H. Qiu, Evol.
    Comput. 14 (2006) 119, for the local minimum.
    """
    if dim < 2:
        raise UsageError(f"objective.dim={dim}: rosenbrock takes a dimension of 2 or more")
    if not b > 0:
        raise UsageError(f"objective.b={b}: rosenbrock takes a number > 0")
    side = 2.048 * max(1.0, abs(a), a * a)
    star = np.array([a, a * a]) if dim == 2 else np.full(dim, a)
    known = dim == 2 or a in (0.0, 1.0)
    facts = Facts(
        f_star=0.0 if known else None,
        minimizers=star[None] if known else None,
        L=_corner_curvature(dim, b, side),
        domain=box(dim, -side, side),
        critical_points=_points(star, a, b) if known else None,
        source="closed form; a sum of squares that vanishes at one point only",
    )
    data = {"a": np.float64(a), "b": np.float64(b)}
    return Objective(f, dim, data, name="rosenbrock", facts=facts)


# a = 1, b = 100. df/dx_i = 0 gives x_{i+1} as a rational function of x_1, ..., x_i, and the last
# equation a polynomial in x_1: its real roots, counted by Sturm's theorem in exact fractions and
# solved at 50 digits (mpmath), are all critical points.
CHAINS: dict[int, list[tuple[float, ...]]] = {
    3: [],
    4: [
        (-0.77565922656535262, 0.61309336548504346, 0.38206284633839315, 0.14597201855219461,
         3.7014286104300173, 0),
        (-0.6561246357194459, 0.44312004097157237, 0.20431224822836433, 0.041743494776128765,
         3.7082419966472615, 1),
    ],
    5: [
        (-0.96205102069475016, 0.93573939597671001, 0.88071360419432059, 0.77787767585440633,
         0.60509367859265284, 3.9308394341330281, 0),
        (-0.55746831589884883, 0.32474004283377625, 0.11656732144533992, 0.023354396464298222,
         0.00054542783421162527, 4.6573714282005743, 1),
    ],
}  # fmt: skip


def _points(star: Float[np.ndarray, " d"], a: float, b: float) -> CriticalPoints:
    """All critical points where they are known, else the minimizer alone."""
    d, usual = len(star), (a, b) == (1.0, 100.0)
    rows = CHAINS.get(d, []) if usual else []
    return critical([(*star.tolist(), 0.0, 0), *rows], complete=d == 2 or (usual and d in CHAINS))


def _corner_curvature(dim: int, b: float, side: float) -> float:
    """Largest eigenvalue of the Hessian over the cube.

    H is tridiagonal: H_ii = b (12 x_i^2 - 4 x_{i+1}) + 2 for i < d, plus 2 b for i > 1, and
    H_{i,i+1} = -4 b x_i. Every |entry| is largest at x = (-side, ..., -side), where all of them
    are positive; so lambda_max is largest there too (Perron-Frobenius).
    """
    diagonal = np.full(dim, b * (12 * side**2 + 4 * side) + 2)
    diagonal[-1] = 0.0
    diagonal[1:] += 2 * b
    beside = np.full(dim - 1, 4 * b * side)
    if dim <= 100:
        dense = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
        return float(np.linalg.eigvalsh(dense)[-1])
    from scipy.linalg import eigvalsh_tridiagonal  # a fifth of a second of import

    largest = eigvalsh_tridiagonal(diagonal, beside, select="i", select_range=(dim - 1, dim - 1))
    return float(largest[0])
