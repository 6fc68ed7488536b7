"""An objective's values on a grid, for pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from gdlab import numerics
from gdlab.types import Objective


def surface(
    objective: Objective, around: Float[np.ndarray, "n d"], resolution: int = 120
) -> tuple[np.ndarray, ...]:
    """f on a grid that holds the points `around`: its axes `[r]` each, then f `[r, ...]`."""
    low, high = around.min(axis=0), around.max(axis=0)
    side = max(float((high - low).max()), 1.0)
    middle = (low + high) / 2
    axes = [np.linspace(m - 0.65 * side, m + 0.65 * side, resolution) for m in middle]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, objective.dim)
    values = on(objective)(grid)
    return (*axes, values.reshape([resolution] * objective.dim))


def over_domain(objective: Objective, domain: Float[np.ndarray, "d 2"]) -> tuple[Any, ...]:
    """f on a grid over the domain: its axes `[200]` each, then f `[200, ...]`."""
    axes = [np.linspace(low, high, 200) for low, high in domain]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, objective.dim)
    return (*axes, on(objective)(grid).reshape([200] * objective.dim))


def near(objective: Objective, points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "m d"]:
    """Those of the points that are worth showing: a descent that diverges leaves any window."""
    domain = objective.facts.domain
    if domain is None:
        reach = 100 * (1 + np.abs(points[0]))
        low, high = points[0] - reach, points[0] + reach
    else:
        low, high = 2 * domain[:, 0] - domain[:, 1], 2 * domain[:, 1] - domain[:, 0]
    near = points[((low <= points) & (points <= high)).all(axis=1)]
    return near if len(near) else points[:1]


def on(objective: Objective) -> Callable[[Float[np.ndarray, "n d"]], Float[np.ndarray, " n"]]:
    """f on many points `[n, d]`, compiled, in 64 bits."""
    f = jax.jit(jax.vmap(objective.evaluate, in_axes=(None, 0)))

    @numerics.computing()
    def values(points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        return np.asarray(f(objective.data, points))

    return values
