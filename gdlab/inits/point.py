"""The point that is given."""

from __future__ import annotations

from functools import partial

import numpy as np

from gdlab import registry
from gdlab.errors import UsageError
from gdlab.inits.draw import Draw, Starts, finite, fits, positive
from gdlab.types import Objective


@registry.init
def point(x: float | list[float], samples: int = 1) -> Draw:
    """The point that is given.

    Args:
        x: its d coordinates (a single number where d = 1).
        samples: so many copies of it.
    """
    positive("samples", samples)
    finite("x", x, np.array(x, float))
    return partial(_draw, x=x, samples=samples)


def _draw(
    objective: Objective, rng: np.random.Generator, x: float | list[float], samples: int
) -> Starts:
    given = np.atleast_1d(np.array(x, float))
    if len(given) != objective.dim:
        count = f"{len(given)} number{'s' if len(given) != 1 else ''}"
        raise UsageError(f"init.x={x}: {objective.name} has dim {objective.dim}, got {count}")
    fits("samples", samples, samples, objective)
    return np.tile(given, (samples, 1))
