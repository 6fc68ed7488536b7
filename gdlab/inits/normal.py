"""Normally distributed starts."""

from __future__ import annotations

from functools import partial

import numpy as np

from gdlab import registry
from gdlab.errors import UsageError
from gdlab.inits.draw import Draw, Starts, finite, fits, positive, vector
from gdlab.types import Objective


@registry.init
def normal(
    mean: float | list[float] = 0.0, scale: float | list[float] = 1.0, samples: int = 1
) -> Draw:
    """Normally distributed points: x_i ~ N(mean_i, scale_i^2).

    Args:
        mean: one number or d of them.
        scale: standard deviation >= 0, one number or d of them.
        samples: how many points.
    """
    positive("samples", samples)
    finite("mean", mean, np.array(mean, float))
    finite("scale", scale, np.array(scale, float))
    if np.min(scale) < 0:
        raise UsageError(f"init.scale={scale}: takes a standard deviation >= 0")
    return partial(_draw, mean=mean, scale=scale, samples=samples)


def _draw(
    objective: Objective,
    rng: np.random.Generator,
    mean: float | list[float],
    scale: float | list[float],
    samples: int,
) -> Starts:
    fits("samples", samples, samples, objective)
    m, s = vector("mean", mean, objective), vector("scale", scale, objective)
    return m + s * rng.standard_normal((samples, objective.dim))
