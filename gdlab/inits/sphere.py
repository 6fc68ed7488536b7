"""Starts at one distance from a centre."""

from __future__ import annotations

from functools import partial

import numpy as np

from gdlab import registry
from gdlab.errors import UsageError
from gdlab.inits.draw import Draw, Starts, finite, fits, positive, vector
from gdlab.types import Objective


@registry.init
def sphere(center: float | list[float] = 0.0, radius: float = 1.0, samples: int = 1) -> Draw:
    """Points spread evenly at random over a sphere: |x - center| = radius.

    Args:
        center: one number or d of them.
        radius: >= 0.
        samples: how many points.

    Reference: M. E. Muller, Commun. ACM 2 (1959) 19: normal directions, made of unit length.
    """
    positive("samples", samples)
    finite("center", center, np.array(center, float))
    if not 0 <= radius < np.inf:
        raise UsageError(f"init.radius={radius}: takes a finite number >= 0")
    return partial(_draw, center=center, radius=radius, samples=samples)


def _draw(
    objective: Objective,
    rng: np.random.Generator,
    center: float | list[float],
    radius: float,
    samples: int,
) -> Starts:
    fits("samples", samples, samples, objective)
    return vector("center", center, objective) + radius * directions(rng, samples, objective.dim)


def directions(rng: np.random.Generator, samples: int, dim: int) -> Starts:
    """Unit vectors spread evenly over all directions."""
    normal = rng.standard_normal((samples, dim))
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)
