"""Step sizes from the last two gradients: Barzilai-Borwein and AdGD.

With s = x_t - x_{t-1} and y = g_t - g_{t-1}, the quotient |s|/|y| is a local 1/L.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from gdlab import registry
from gdlab.schedules.units import positive
from gdlab.types import Schedule


class SecantState(NamedTuple):
    """The step just taken, the ratio to the one before, and the last point and gradient."""

    step_size: Float[Array, ""]
    ratio: Float[Array, ""]
    x: Float[Array, " d"]
    g: Float[Array, " d"]


def _secant(eta0: Any, rule: Any) -> optax.GradientTransformationExtraArgs:
    """p -> eta p with eta = rule(s, y, state); eta0 at first, where s = 0."""

    def init(x: Float[Array, " d"]) -> SecantState:
        eta = jnp.asarray(eta0, x.dtype)
        # Nothing yet bounds how fast the step may grow.
        return SecantState(eta, jnp.asarray(jnp.inf, x.dtype), x, jnp.zeros_like(x))

    def update(
        p: Float[Array, " d"],
        state: SecantState,
        x: Float[Array, " d"],
        *,
        grad: Float[Array, " d"],
        **_: Any,
    ) -> tuple[Float[Array, " d"], SecantState]:
        s, y = x - state.x, grad - state.g
        last = state.step_size
        eta = rule(s, y, state)
        # Where x stood still there is nothing to learn. Where g did (a slope without curvature),
        # the step is kept, and has a ratio of 1 to the one before, from which it may grow.
        moved = jnp.sum(s * s) > 0
        eta = jnp.where(moved & jnp.isfinite(eta) & (eta > 0), eta, last)
        ratio = jnp.where(moved, eta / last, state.ratio)
        return eta * p, SecantState(eta, ratio, x, grad)

    return optax.GradientTransformationExtraArgs(init, update)


def long_secant(eta0: Any) -> optax.GradientTransformationExtraArgs:
    """s's/s'y, the inverse Rayleigh quotient; the last step is kept where s'y <= 0."""

    def rule(s: Array, y: Array, state: SecantState) -> Array:
        sy = jnp.sum(s * y)
        return jnp.where(sy > 0, jnp.sum(s * s) / sy, state.step_size)

    return _secant(eta0, rule)


def short_secant(eta0: Any) -> optax.GradientTransformationExtraArgs:
    """s'y/y'y, never longer than s's/s'y; the last step is kept where s'y <= 0."""

    def rule(s: Array, y: Array, state: SecantState) -> Array:
        sy = jnp.sum(s * y)
        return jnp.where(sy > 0, sy / jnp.sum(y * y), state.step_size)

    return _secant(eta0, rule)


def cautious_secant(eta0: Any, share: Any) -> optax.GradientTransformationExtraArgs:
    """min(sqrt(1 + ratio) last, share |s|/|y|)."""

    def rule(s: Array, y: Array, state: SecantState) -> Array:
        local = share * jnp.sqrt(jnp.sum(s * s)) / jnp.sqrt(jnp.sum(y * y))
        return jnp.minimum(jnp.sqrt(1 + state.ratio) * state.step_size, local)

    return _secant(eta0, rule)


@registry.schedule
def barzilai_borwein(eta0: float = 1e-3, variant: Literal["long", "short"] = "long") -> Schedule:
    """Barzilai-Borwein step: eta_t = s's/s'y (long) or s'y/y'y (short).

    Args:
        eta0: first step size > 0; also kept wherever s'y <= 0 (negative curvature along s).
        variant: `long` or `short`.

    Needs: nothing.
    Guarantee: linear convergence on strongly convex quadratics, superlinear for d = 2; f is not
        monotone, and nothing holds beyond quadratics without a safeguard.
    Reference: Barzilai and Borwein (1988), eqs. 5 and 6; Dai and Liao (2002).
    """
    positive("eta0", eta0)
    transform = long_secant if variant == "long" else short_secant
    return Schedule("barzilai_borwein", transform=transform, params={"eta0": eta0})


@registry.schedule
def adgd(eta0: float = 1e-6) -> Schedule:
    """AdGD, adaptive gradient descent without descent.

    eta_t = min(sqrt(1 + theta) eta_{t-1}, |s|/(2 |y|)), theta = eta_{t-1}/eta_{t-2}.

    Args:
        eta0: first step size > 0; small is safe, since the second step is |s|/(2 |y|).

    Needs: nothing.
    Guarantee: f convex and locally smooth: x_t converges to a minimizer, and the best f so far
        (in a weighted mean) within O(1/t) of f*, with no line search and no L.
    Reference: Malitsky and Mishchenko (2020), Adaptive Gradient Descent without Descent, alg. 1.
    """
    positive("eta0", eta0)
    return Schedule("adgd", transform=cautious_secant, params={"eta0": eta0, "share": 0.5})
