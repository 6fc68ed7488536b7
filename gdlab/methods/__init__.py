"""Which way a step goes: methods, one a file."""

from gdlab.methods.gradient import gradient

__all__ = ["gradient"]
