"""A regular grid of starts."""

from __future__ import annotations

from functools import partial

import numpy as np

from gdlab import registry
from gdlab.inits.draw import Draw, Starts, box, fits, ordered, positive
from gdlab.types import Objective


@registry.init
def grid(
    low: float | list[float] | None = None,
    high: float | list[float] | None = None,
    points_per_axis: int = 11,
) -> Draw:
    """A regular grid over a box, its border included; the first coordinate varies slowest.

    The seed plays no part. There are points_per_axis^d starts.

    Args:
        low, high: the box's sides, one number or d of them (default: the objective's domain).
        points_per_axis: points along each axis (1: the box's middle).
    """
    positive("points_per_axis", points_per_axis)
    ordered(low, high)
    return partial(_draw, low=low, high=high, points_per_axis=points_per_axis)


def _draw(
    objective: Objective,
    rng: np.random.Generator,
    low: float | list[float] | None,
    high: float | list[float] | None,
    points_per_axis: int,
) -> Starts:
    fits("points_per_axis", points_per_axis, points_per_axis**objective.dim, objective)
    a, b = box(objective, low, high, "grid")
    a, b = (a, b) if points_per_axis > 1 else ((a + b) / 2, b)
    axes = [np.linspace(lo, hi, points_per_axis) for lo, hi in zip(a, b, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, objective.dim)
