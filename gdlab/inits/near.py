"""Starts beside a known critical point."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Float

from gdlab import numerics, registry
from gdlab.errors import MissingFact, UsageError
from gdlab.inits.draw import Draw, Starts, fits, positive
from gdlab.inits.sphere import directions
from gdlab.types import Objective


@registry.init
def near(
    point: int = 0,
    distance: float = 1e-3,
    direction: int | Literal["random"] = 0,
    samples: int = 1,
) -> Draw:
    """Points at a distance r from a known critical point c: x = c + r v, |v| = 1.

    v is an eigenvector of the Hessian at c, its largest component positive; the second sample lies
    on the other side, at c - r v, and so in turn. Or v is a random direction.

    Args:
        point: which point of the objective's inventory, as `gdlab show` counts them.
        distance: r >= 0.
        direction: place of v's eigenvalue in ascending order (0: down from a saddle; -1: the
            steepest), or `random`.
        samples: how many points.
    """
    positive("samples", samples)
    if not 0 <= distance < np.inf:
        raise UsageError(f"init.distance={distance}: takes a finite number >= 0")
    return partial(_draw, point=point, distance=distance, direction=direction, samples=samples)


def _draw(
    objective: Objective,
    rng: np.random.Generator,
    point: int,
    distance: float,
    direction: int | Literal["random"],
    samples: int,
) -> Starts:
    fits("samples", samples, samples, objective)
    known = objective.facts.critical_points
    if known is None or not len(known.x):
        raise MissingFact(f"init=near needs critical_points; {objective.name} has none")
    if not 0 <= point < len(known.x):
        raise UsageError(
            f"init.point={point}: {objective.name} has {len(known.x)} known critical points; "
            f"takes 0 to {len(known.x) - 1}"
        )
    center = np.asarray(known.x[point], float)
    if direction == "random":
        return center + distance * directions(rng, samples, objective.dim)
    if not -objective.dim <= direction < objective.dim:
        raise UsageError(
            f"init.direction={direction}: {objective.name} has dim {objective.dim}; takes "
            f"{-objective.dim} to {objective.dim - 1}, or random"
        )
    v = _eigenvectors(objective, center)[:, direction]
    v = v * np.sign(v[np.argmax(np.abs(v))])
    sides = np.where(np.arange(samples) % 2, -distance, distance)
    return center + sides[:, None] * v


@numerics.computing()
def _eigenvectors(objective: Objective, x: Float[np.ndarray, " d"]) -> Float[np.ndarray, "d d"]:
    """Of the Hessian, by ascending eigenvalue."""
    import jax

    return np.linalg.eigh(np.asarray(jax.hessian(objective)(x), float))[1]
