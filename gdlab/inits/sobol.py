"""Starts from a scrambled Sobol sequence."""

from __future__ import annotations

from functools import partial

import numpy as np

from gdlab import registry
from gdlab.errors import UsageError
from gdlab.inits.draw import Draw, Starts, box, fits, ordered, positive
from gdlab.types import Objective


@registry.init
def sobol(
    low: float | list[float] | None = None,
    high: float | list[float] | None = None,
    samples: int = 1,
) -> Draw:
    """Points of a scrambled Sobol sequence over a box: more even than random ones.

    Args:
        low, high: the box's sides, one number or d of them (default: the objective's domain).
        samples: how many points; a power of 2 keeps the sequence balanced.

    Reference: I. M. Sobol', USSR Comput. Math. 7 (1967) 86; A. B. Owen, J. Complexity 14 (1998)
    466, for the scrambling.
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
    from scipy.stats import qmc  # a second of import, for this one alone

    fits("samples", samples, samples, objective)
    if objective.dim > qmc.Sobol.MAXDIM:
        raise UsageError(f"init=sobol: takes dim <= {qmc.Sobol.MAXDIM}; use init=uniform")
    a, b = box(objective, low, high, "sobol")
    # Drawn by whole powers of 2, whose prefix is the sequence of any length.
    sequence = qmc.Sobol(objective.dim, rng=rng)
    return a + (b - a) * sequence.random_base2((samples - 1).bit_length())[:samples]
