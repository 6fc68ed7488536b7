"""Quadratics: all that a step size can do is seen on them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gdlab import registry
from gdlab.errors import UsageError
from gdlab.types import Array, CriticalPoints, Facts, Objective


def diagonal(data: Mapping[str, Array], x: Float[Array, " d"]) -> Float[Array, ""]:
    """1/2 sum_i h_i (x_i - c_i)^2."""
    h, c = data["H"], data["center"]
    if x.shape[0] <= 3:  # scalars fuse best
        terms = [h[i] * (x[i] - c[i]) * (x[i] - c[i]) for i in range(x.shape[0])]
        return 0.5 * sum(terms[1:], terms[0])
    return 0.5 * jnp.sum(h * (x - c) * (x - c))


def dense(data: Mapping[str, Array], x: Float[Array, " d"]) -> Float[Array, ""]:
    """1/2 (x - c)' H (x - c)."""
    H, c = data["H"], data["center"]
    if x.shape[0] == 2:
        u, v = x[0] - c[0], x[1] - c[1]
        return 0.5 * (H[0, 0] * u * u + 2.0 * H[0, 1] * u * v + H[1, 1] * v * v)
    return 0.5 * jnp.dot(x - c, jnp.dot(H, x - c))


@registry.objective
def quadratic(
    dim: int | None = None,
    condition: float | None = None,
    spectrum: list[float] | None = None,
    H: list[list[float]] | None = None,
    center: float | list[float] = 0.0,
    rotation: int | None = None,
) -> Objective:
    """A quadratic with given curvatures.

    f(x) = 1/2 (x - c)' H (x - c), H = Q' diag(spectrum) Q, on the cube c + [-10, 10]^d.

    Give the curvatures in one of three ways; without any, d = 2 and condition number 10.

    Args:
        dim: d; curvatures from 1 to `condition`, evenly spaced in the logarithm.
        condition: condition number L / mu >= 1 (default 10).
        spectrum: the d curvatures themselves; negative ones make a saddle.
        H: the symmetric matrix itself, as rows.
        center: the critical point c (one number for all coordinates, or d numbers).
        rotation: seed of a random rotation Q; none keeps the curvatures along the axes.

    Reference: Goodfellow, Bengio, Courville, Deep Learning, 2016, sec. 4.3.1, eq. 4.9.
    """
    matrix, curvatures = _curvatures(dim, condition, spectrum, H, rotation)
    d = len(curvatures)
    c = _center(center, d)
    facts = _facts(curvatures, c)
    if matrix is None:
        return Objective(diagonal, d, {"H": curvatures, "center": c}, (), "quadratic", facts)
    # Four numbers ride in lanes; a larger matrix is one copy for all of them.
    shared = () if d == 2 else ("H",)
    return Objective(dense, d, {"H": matrix, "center": c}, shared, "quadratic", facts)


def _curvatures(
    dim: int | None,
    condition: float | None,
    spectrum: list[float] | None,
    H: list[list[float]] | None,
    rotation: int | None,
) -> tuple[Float[np.ndarray, "d d"] | None, Float[np.ndarray, " d"]]:
    """H (None where diagonal) and its eigenvalues."""
    if H is not None:
        _alone("H", H, dim=dim, condition=condition, spectrum=spectrum, rotation=rotation)
        return _given(H)
    if spectrum is not None:
        _alone("spectrum", spectrum, condition=condition)
        curvatures = np.array(spectrum, float)
        if dim not in (None, len(curvatures)):
            raise UsageError(f"objective.dim={dim}: objective.spectrum has {len(spectrum)} numbers")
        if not len(curvatures) or not np.all(np.isfinite(curvatures)):
            raise UsageError(f"objective.spectrum={spectrum}: takes one or more finite numbers")
    else:
        d, kappa = 2 if dim is None else dim, 10.0 if condition is None else condition
        if d < 1:
            raise UsageError(f"objective.dim={d}: quadratic takes a dimension of 1 or more")
        if not 1.0 <= kappa < np.inf:
            raise UsageError(f"objective.condition={kappa}: takes a finite number >= 1")
        if d == 1 and kappa != 1 and condition is not None:
            raise UsageError(f"objective.condition={kappa}: one dimension has condition number 1")
        curvatures = np.geomspace(1.0, kappa, d)
    if rotation is None or len(curvatures) == 1:
        return None, curvatures
    return _rotated(tuple(curvatures), rotation), curvatures


def _alone(name: str, value: object, **others: object) -> None:
    for other, given in others.items():
        if given is not None:
            raise UsageError(
                f"objective.{other}={given}: objective.{name}={value} is given; leave one out"
            )


def _given(H: list[list[float]]) -> tuple[Float[np.ndarray, "d d"] | None, Float[np.ndarray, " d"]]:
    d = len(H)
    if d == 0 or any(len(row) != d for row in H):
        raise UsageError(f"objective.H={H}: takes a square matrix, as a list of rows")
    matrix = np.array(H, float)
    if not np.all(np.isfinite(matrix)) or not np.array_equal(matrix, matrix.T):
        raise UsageError(f"objective.H={H}: takes a finite symmetric matrix")
    if np.array_equal(matrix, np.diag(np.diag(matrix))):
        return None, np.diag(matrix).copy()
    return matrix, np.linalg.eigvalsh(matrix)


@lru_cache(maxsize=32)
def _rotated(spectrum: tuple[float, ...], seed: int) -> Float[np.ndarray, "d d"]:
    """Q' diag(spectrum) Q for a Haar-random rotation: QR of a normal matrix, signs fixed."""
    d = len(spectrum)
    Q, R = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))
    Q *= np.sign(np.diag(R))
    H = (Q * np.array(spectrum)) @ Q.T
    return (H + H.T) / 2


def _center(center: float | list[float], d: int) -> Float[np.ndarray, " d"]:
    if isinstance(center, list) and len(center) != d:
        raise UsageError(
            f"objective.center={center}: quadratic has dim {d}, got {len(center)} numbers"
        )
    c = np.broadcast_to(np.array(center, float), (d,)).copy()
    if not np.all(np.isfinite(c)):
        raise UsageError(f"objective.center={center}: takes finite numbers")
    return c


def _facts(curvatures: Float[np.ndarray, " d"], c: Float[np.ndarray, " d"]) -> Facts:
    """Closed form. mu only where it is positive; the minimizer only where it is unique."""
    size = np.abs(curvatures)
    lowest, convex = float(curvatures.min()), bool(curvatures.min() >= 0)
    singular = bool(size.min() <= 1e-12 * size.max())
    return Facts(
        f_star=0.0 if convex else None,
        minimizers=c[None] if convex and not singular else None,
        L=float(size.max()),
        mu=lowest if convex and not singular else None,
        domain=np.stack([c - 10.0, c + 10.0], axis=1),
        critical_points=CriticalPoints(
            c[None],
            np.zeros(1),
            np.array([-1 if singular else int((curvatures < 0).sum())]),
            complete=not singular,
        ),
        quadratic=True,
        source="closed form",
    )
