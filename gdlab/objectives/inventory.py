"""Builds facts: boxes, and inventories of critical points from tables of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from gdlab.types import CriticalPoints

Numbers = Sequence[float] | Float[np.ndarray, " m"]


def box(dim: int, low: float, high: float) -> Float[np.ndarray, "d 2"]:
    """The cube [low, high]^dim as `[d, 2]`."""
    return np.tile(np.array([low, high], float), (dim, 1))


def critical(rows: Sequence[Sequence[float | int]], complete: bool = True) -> CriticalPoints:
    """Critical points from rows `(x1, ..., xd, value, index)`."""
    table = np.array(rows, float)
    return CriticalPoints(
        x=table[:, :-2].copy(),
        value=table[:, -2].copy(),
        index=table[:, -1].astype(int),
        complete=complete,
    )


def separable(
    dim: int,
    roots: Numbers,
    values: Numbers,
    curvatures: Numbers,
    complete: bool = True,
) -> CriticalPoints:
    """Critical points of sum_i h(x_i): every tuple of critical points of h, `n^dim` of them.

    The Hessian is diagonal, so the Morse index counts the coordinates with h'' < 0.
    """
    which = np.indices((np.size(roots),) * dim).reshape(dim, -1).T
    return CriticalPoints(
        x=np.asarray(roots, float)[which],
        value=np.asarray(values, float)[which].sum(axis=1),
        index=(np.asarray(curvatures)[which] < 0).sum(axis=1),
        complete=complete,
    )


def minimizers(points: CriticalPoints, tolerance: float = 1e-9) -> Float[np.ndarray, "k d"]:
    """Those of the points whose value is the lowest."""
    return points.x[points.value <= points.value.min() + tolerance]
