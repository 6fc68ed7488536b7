"""Starts that meet every layer of every axis once."""

from __future__ import annotations

from functools import partial

import numpy as np

from gdlab import registry
from gdlab.inits.draw import Draw, Starts, box, fits, ordered, positive
from gdlab.types import Objective


@registry.init
def latin_hypercube(
    low: float | list[float] | None = None,
    high: float | list[float] | None = None,
    samples: int = 1,
) -> Draw:
    """A Latin hypercube over a box: cut each axis into `samples` layers, each holds one point.

    With another number of samples all points are others.

    Args:
        low, high: the box's sides, one number or d of them (default: the objective's domain).
        samples: how many points.

    Reference: M. D. McKay, R. J. Beckman and W. J. Conover, Technometrics 21 (1979) 239.
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
    from scipy.stats import qmc  # a second of import

    fits("samples", samples, samples, objective)
    a, b = box(objective, low, high, "latin_hypercube")
    return a + (b - a) * qmc.LatinHypercube(objective.dim, rng=rng).random(samples)
