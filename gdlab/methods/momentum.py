"""Directions with a memory of past gradients: heavy ball and Nesterov's acceleration."""

from __future__ import annotations

from math import sqrt
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from gdlab import registry
from gdlab.types import Facts, FromFacts, Method


def trace(momentum: Any) -> optax.GradientTransformation:
    """p = -v, v <- g + m v."""
    return optax.chain(optax.trace(momentum), optax.scale(-1.0))


def lookahead_trace(momentum: Any) -> optax.GradientTransformation:
    """p = -(g + m v), v <- g + m v."""
    return optax.chain(optax.trace(momentum, nesterov=True), optax.scale(-1.0))


class GrowingTraceState(NamedTuple):
    """The trace v, and the steps taken, t."""

    v: Float[Array, " d"]
    t: Int[Array, ""]


def growing_trace() -> optax.GradientTransformation:
    """p = -(g + m_t v), v <- g + m_{t-1} v, with m_t = t/(t + 3)."""

    def init(x: Float[Array, " d"]) -> GrowingTraceState:
        return GrowingTraceState(jnp.zeros_like(x), jnp.zeros((), jnp.int32))

    def update(
        g: Float[Array, " d"], state: GrowingTraceState, x: Any = None
    ) -> tuple[Float[Array, " d"], GrowingTraceState]:
        t = state.t.astype(g.dtype)
        v = g + jnp.maximum(t - 1, 0) / (t + 2) * state.v
        return -(g + t / (t + 3) * v), GrowingTraceState(v, state.t + 1)

    return optax.GradientTransformation(init, update)


def _root_condition(who: str, facts: Facts) -> float:
    """sqrt(L/mu)."""
    L, mu = facts.need(who, "this objective", "L", "mu")
    if mu <= 0:
        raise ValueError(f"{who} needs mu > 0; this objective has mu={mu:g}")
    return sqrt(L / mu)


def heavy_ball_optimal(facts: Facts) -> float:
    """((sqrt k - 1)/(sqrt k + 1))^2, k = L/mu."""
    root = _root_condition("heavy_ball with momentum optimal", facts)
    return ((root - 1) / (root + 1)) ** 2


def nesterov_optimal(facts: Facts) -> float:
    """(sqrt k - 1)/(sqrt k + 1), k = L/mu."""
    root = _root_condition("nesterov with momentum optimal", facts)
    return (root - 1) / (root + 1)


def nesterov_tuned(facts: Facts) -> float:
    """(sqrt(3k + 1) - 2)/(sqrt(3k + 1) + 2), k = L/mu."""
    root = sqrt(3 * _root_condition("nesterov with momentum tuned", facts) ** 2 + 1)
    return (root - 2) / (root + 2)


@registry.method
def heavy_ball(momentum: float | Literal["optimal"] = 0.9) -> Method:
    """Heavy ball: v_t = g_t + m v_{t-1}, p = -v_t.

    With a constant step this is Polyak's x_{t+1} = x_t - eta g_t + m (x_t - x_{t-1}), since
    x_t - x_{t-1} = -eta v_{t-1}. With a changing step the last term is scaled by
    eta_t/eta_{t-1}, as in every implementation that keeps a trace of gradients.

    Args:
        momentum: m, 0 <= m < 1, or `optimal`: ((sqrt k - 1)/(sqrt k + 1))^2, k = L/mu, which
            belongs to the constant step 4/(sqrt L + sqrt mu)^2.

    Needs: L and mu > 0 for `optimal`.
    Guarantee: quadratics, optimal: |x_t - x*| = O(t q^t), q = (sqrt k - 1)/(sqrt k + 1)
        (`theory.heavy_ball_rate`, `theory.heavy_ball_radius`). Beyond quadratics it may cycle.
    Reference: Polyak (1964); Lessard, Recht and Packard (2016), prop. 1 and sec. 4.6.
    """
    _momentum(momentum)
    m = heavy_ball_optimal if momentum == "optimal" else momentum
    return Method("heavy_ball", transform=trace, params={"momentum": m}, elementwise=True)


@registry.method
def nesterov(momentum: float | Literal["optimal", "tuned", "convex"] = 0.9) -> Method:
    """Nesterov's acceleration: v_t = g_t + m v_{t-1}, p = -(g_t + m v_t).

    x is the sequence of points where the gradient is taken, called y in the textbook form
        z_{t+1} = y_t - eta g(y_t),    y_{t+1} = z_{t+1} + m (z_{t+1} - z_t),    z_0 = y_0:
    let z_{t+1} - z_t = -eta v_t. Then y_t = z_t - m eta v_{t-1}, so
    z_{t+1} - z_t = -eta g_t - m eta v_{t-1}, which is the rule for v; and
    y_{t+1} = z_{t+1} - m eta v_t = y_t - eta (g_t + m v_t).                                   []
    The rates below are those of z_{t+1} = x_t - eta g_t.

    Args:
        momentum: m, 0 <= m < 1; or `optimal`: (sqrt k - 1)/(sqrt k + 1), k = L/mu, with step
            1/L; `tuned`: (sqrt(3k + 1) - 2)/(sqrt(3k + 1) + 2), for quadratics, with step
            4/(3L + mu); `convex`: t/(t + 3), with step 1/L.

    Needs: L and mu > 0 for `optimal` and `tuned`.
    Guarantee: `optimal`: f(z_t) - f* <= (1 - 1/sqrt k)^t (L + mu)/2 |x_0 - x*|^2
        (`theory.nesterov_bound`); `tuned`: |x_t - x*| = O(t (1 - 2/sqrt(3k + 1))^t) on quadratics
        (`theory.nesterov_tuned_rate`); `convex`: f(z_t) - f* <= 2 L |x_0 - x*|^2/(t + 1)^2
        (`theory.nesterov_convex_bound`).
    Reference: Nesterov (1983); Nesterov (2004), thm. 2.2.3; Lessard, Recht and Packard (2016),
        prop. 1; Su, Boyd and Candes (2014), eq. 1.
    """
    if momentum == "convex":
        return Method("nesterov", transform=growing_trace)
    _momentum(momentum)
    named: dict[str, FromFacts] = {"optimal": nesterov_optimal, "tuned": nesterov_tuned}
    m = named[momentum] if isinstance(momentum, str) else momentum
    return Method("nesterov", transform=lookahead_trace, params={"momentum": m}, elementwise=True)


def _momentum(momentum: float | str) -> None:
    if not isinstance(momentum, str) and not 0 <= momentum < 1:
        raise ValueError(f"momentum={momentum}: takes a number from 0 to below 1, or a name")
