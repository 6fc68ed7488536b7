"""Steepest descent."""

from __future__ import annotations

import optax

from gdlab import registry
from gdlab.types import Method


@registry.method
def gradient() -> Method:
    """Steepest descent: p = -g, so x_{t+1} = x_t - eta_t g_t.

    Of all unit directions u, -g/|g| has the smallest directional derivative u'g.

    Needs: nothing.
    Guarantee: f(x_{t+1}) <= f(x_t) - eta (1 - L eta/2) |g_t|^2 (`theory.descent_lemma`).
    Reference: Cauchy (1847); Goodfellow, Bengio and Courville (2016), eqs. 4.3 to 4.5.
    """
    return Method("gradient", transform=steepest, elementwise=True)


def steepest() -> optax.GradientTransformation:
    """g -> -g."""
    return optax.scale(-1.0)
