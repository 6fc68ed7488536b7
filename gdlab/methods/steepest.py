"""Steepest descent in other norms: sign descent and greedy coordinate descent."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from gdlab import registry
from gdlab.types import Method


def signs() -> optax.GradientTransformation:
    """g -> -sign(g)."""
    return optax.stateless(lambda g, x: -jnp.sign(g))


def scaled_signs() -> optax.GradientTransformation:
    """g -> -|g|_1 sign(g)."""
    return optax.stateless(lambda g, x: -jnp.sum(jnp.abs(g)) * jnp.sign(g))


def largest() -> optax.GradientTransformation:
    """g -> -g_i e_i, with i the first index of the largest |g_i|."""

    def direction(g: Float[Array, " d"], x: Any) -> Float[Array, " d"]:
        return jnp.where(jnp.arange(g.shape[0]) == jnp.argmax(jnp.abs(g)), -g, 0)

    return optax.stateless(direction)


@registry.method
def sign(scaled: bool = False) -> Method:
    """Sign descent: p = -sign(g), or -|g|_1 sign(g) if scaled.

    -sign(g) is the steepest of the directions with |u|_inf <= 1: u'g = -|g|_1. Unscaled steps
    have constant length, so a constant step size ends in a cycle around the minimum.

    Args:
        scaled: multiply by |g|_1, as steepest descent in the maximum norm does.

    Needs: nothing.
    Guarantee: scaled, f L-smooth in the maximum norm, eta = 1/L: f falls by |g|_1^2/(2L) a step.
    Reference: Balles, Pedregosa and Le Roux (2020), The Geometry of Sign Gradient Descent.
    """
    return Method("sign", transform=scaled_signs if scaled else signs)


@registry.method
def coordinate() -> Method:
    """Greedy coordinate descent (Gauss-Southwell): p = -g_i e_i, i = argmax |g_i|.

    The steepest direction with |u|_1 <= 1, scaled by |g|_inf; the first index wins a tie.

    Needs: nothing.
    Guarantee: f mu-strongly convex, with coordinate derivatives L-Lipschitz, eta = 1/L:
        f - f* shrinks by 1 - mu/(d L) or more a step (`theory.coordinate_rate`).
    Reference: Nutini et al. (2015), Coordinate Descent Converges Faster with the Gauss-Southwell
        Rule, eq. 7.
    """
    return Method("coordinate", transform=largest)
