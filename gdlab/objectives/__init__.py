"""The functions to descend on, one family a file. Importing this registers all of them."""

from __future__ import annotations

from gdlab.objectives.himmelblau import himmelblau
from gdlab.objectives.quadratic import quadratic
from gdlab.objectives.rosenbrock import rosenbrock
from gdlab.objectives.textbook import half_square, monomial, saddle, three_minima

__all__ = [
    "half_square",
    "himmelblau",
    "monomial",
    "quadratic",
    "rosenbrock",
    "saddle",
    "three_minima",
]
