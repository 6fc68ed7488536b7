"""Every test computes as gdlab does: 64 bits, exact numerics. Set before jax starts."""

from gdlab.numerics import configure

configure()
