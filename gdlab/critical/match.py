"""Which points are one: neighbours, one of each place, and samples of a degenerate set.

Distances are taken along each axis (the maximum norm) in units that the caller gives, so that a
domain with sides of 1e-8 and 1e8 has neighbours too.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from gdlab.types import Verdict

SET = 4  # degenerate points of one value that make a set
SHIFT = 0.3819  # of a cell, so that round numbers are not on the grid's lines


def nearest(
    points: Float[np.ndarray, "k d"], x: Float[np.ndarray, "m d"], units: float | np.ndarray = 1.0
) -> tuple[Float[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Distance from each x to the nearest of the points, in units, and which that is.

    Without points the distance is infinite.
    """
    if not len(points):
        return np.full(len(x), np.inf), np.full(len(x), -1)
    distance, which = cKDTree(points / units).query(x / units, p=np.inf)
    return np.asarray(distance), np.asarray(which)


def one_a_cell(
    x: Float[np.ndarray, "m d"], cell: float | Float[np.ndarray, " d"]
) -> Float[np.ndarray, "k d"]:
    """The first point in each cell of a grid, in the order given."""
    cells = np.floor(x / cell + SHIFT)
    return x[np.sort(np.unique(cells, axis=0, return_index=True)[1])]


def height(v: Verdict) -> float:
    """f, as far as points of one connected set of critical points share it."""
    return float(f"{v.value:.8e}") if abs(v.value) > 1e-9 else 0.0


def level(v: Verdict) -> Hashable:
    """What points of one connected set share where none is singular: f, index and nullity."""
    return height(v), v.index, v.nullity


def degenerate_sets(
    points: Sequence[Verdict], shared: Callable[[Verdict], Hashable] = level
) -> list[list[int]]:
    """Groups of degenerate points that share what a connected set does: positions, in order.

    f is constant on a connected set of critical points; `SET` of them or more are samples of one.
    """
    groups: dict[Hashable, list[int]] = {}
    for k, v in enumerate(points):
        if v.nullity:
            groups.setdefault(shared(v), []).append(k)
    return list(groups.values())
