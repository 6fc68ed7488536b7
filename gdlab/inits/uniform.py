"""Uniformly distributed starts."""

from __future__ import annotations

from functools import partial

import numpy as np

from gdlab import registry
from gdlab.inits.draw import Draw, Starts, box, fits, ordered, positive
from gdlab.types import Objective


@registry.init
def uniform(
    low: float | list[float] | None = None,
    high: float | list[float] | None = None,
    samples: int = 1,
) -> Draw:
    """Points spread evenly at random over a box: x_i ~ U[low_i, high_i].

    Args:
        low, high: the box's sides, one number or d of them (default: the objective's domain).
        samples: how many points.
    """
    positive("samples", samples)
    ordered(low, high)
    return partial(_draw, low=low, high=high, samples=samples)


def _draw(
    objective: Objective,
    rng: np.random.Generator,
    low: float | list[float] | None,
    high: float | list[float] | None,
    samples: int,
) -> Starts:
    fits("samples", samples, samples, objective)
    a, b = box(objective, low, high, "uniform")
    return a + (b - a) * rng.random((samples, objective.dim))
