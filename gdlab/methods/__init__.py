"""Which way a step goes: methods, one family a file."""

from gdlab.methods.adam import adam
from gdlab.methods.gradient import gradient
from gdlab.methods.momentum import heavy_ball, nesterov
from gdlab.methods.newton import newton
from gdlab.methods.optax_rules import optax
from gdlab.methods.steepest import coordinate, sign

__all__ = ["adam", "coordinate", "gradient", "heavy_ball", "nesterov", "newton", "optax", "sign"]
