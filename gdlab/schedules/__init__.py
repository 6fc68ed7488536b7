"""How far a step goes: schedules, one family a file.

Open loop (sizes known beforehand, data for the compiled program): constant, decay, horizon,
long_steps, and optax's own. Closed loop (optax transformations): chebyshev, exact, backtracking,
polyak, adaptive.
"""

from gdlab.schedules.adaptive import adgd, barzilai_borwein
from gdlab.schedules.backtracking import backtracking
from gdlab.schedules.chebyshev import chebyshev
from gdlab.schedules.constant import constant
from gdlab.schedules.decay import exponential, inverse_time, step_decay
from gdlab.schedules.exact import exact
from gdlab.schedules.horizon import cosine, polynomial
from gdlab.schedules.long_steps import long_steps, silver
from gdlab.schedules.optax_rules import optax
from gdlab.schedules.polyak import polyak

__all__ = [
    "adgd",
    "backtracking",
    "barzilai_borwein",
    "chebyshev",
    "constant",
    "cosine",
    "exact",
    "exponential",
    "inverse_time",
    "long_steps",
    "optax",
    "polyak",
    "polynomial",
    "silver",
    "step_decay",
]
