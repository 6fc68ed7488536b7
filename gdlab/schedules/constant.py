"""The constant step size."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from gdlab import registry
from gdlab.schedules.units import Unit, scale
from gdlab.types import Schedule


@registry.schedule
def constant(eta: float = 0.01, unit: Unit = "absolute") -> Schedule:
    """Constant step size: eta_t = eta.

    Args:
        eta: step size > 0, as a multiple of `unit`.
        unit: `absolute`, `1/L`, `2/(L+mu)` (the fastest constant step for the gradient on a
            strongly convex quadratic), `4/(3L+mu)` (for Nesterov, tuned) or
            `4/(sqrt(L)+sqrt(mu))^2` (for the heavy ball).

    On a command line Hydra wants brackets quoted: 'schedule.unit="2/(L+mu)"'.

    Needs: L for `1/L`; L and mu for the other units.
    Guarantee: with eta <= 1/L and f convex, f(x_t) - f* <= |x_0 - x*|^2 / (2 eta t)
        (`theory.convex_bound`); on a quadratic, contraction max|1 - eta lambda|
        (`theory.gradient_contraction`).
    Reference: Nesterov, Introductory Lectures on Convex Optimization (2004), thms. 2.1.14, 2.1.15.
    """
    return Schedule("constant", scale=scale("constant", eta, unit), sizes=ones)


def ones(t: Int[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
    """1 at every step."""
    return np.ones(len(t))
