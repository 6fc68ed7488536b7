"""Where descent begins: draws of starts `[n, d]`, one family a file.

A draw takes the objective and a random generator seeded by `seed` alone, so that the same seed
gives every method and every schedule the same starts (paired comparison). Coordinates are drawn
point by point: with more samples, the first ones stay the same (but for a Latin hypercube).
"""

from gdlab.inits.file import file
from gdlab.inits.grid import grid
from gdlab.inits.latin_hypercube import latin_hypercube
from gdlab.inits.near import near
from gdlab.inits.normal import normal
from gdlab.inits.point import point
from gdlab.inits.sobol import sobol
from gdlab.inits.sphere import sphere
from gdlab.inits.uniform import uniform

__all__ = [
    "file",
    "grid",
    "latin_hypercube",
    "near",
    "normal",
    "point",
    "sobol",
    "sphere",
    "uniform",
]
