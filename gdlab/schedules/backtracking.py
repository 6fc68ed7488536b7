"""Backtracking to Armijo's sufficient decrease.

optax.scale_by_backtracking_linesearch takes traced numbers and vmaps, but a search that fails
there still takes its last step even though f does not fall, a start afresh after a step of zero
is inf * 0, its evaluations are not summed, and it stalls where f's decrease drops below rounding.
"""

from __future__ import annotations

from math import inf
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int

from gdlab import registry
from gdlab.schedules.units import between, positive
from gdlab.types import Schedule

# f is trusted to this many units in its last place.
ROUNDING = 64


class BacktrackingState(NamedTuple):
    """The step just taken (0 if none was acceptable), and the trial points spent."""

    step_size: Float[Array, ""]
    f_evals: Int[Array, ""]


def armijo_search(
    eta0: Any, c: Any, shrink: Any, max_evals: Any, grow: Any
) -> optax.GradientTransformationExtraArgs:
    """p -> eta p with the first eta of first, first shrink, first shrink^2 ... that is acceptable.

    first = min(eta0, grow * last step), or eta0 after a step of zero. No step is taken where p is
    no descent direction, or where none of `max_evals` trials is acceptable. With momentum such a
    pause mends itself: x stays, and p turns towards -g.
    """

    def init(x: Float[Array, " d"]) -> BacktrackingState:
        return BacktrackingState(jnp.zeros((), x.dtype), jnp.zeros((), jnp.int32))

    def update(
        p: Float[Array, " d"],
        state: BacktrackingState,
        x: Float[Array, " d"],
        *,
        value: Float[Array, ""],
        grad: Float[Array, " d"],
        value_fn: Any,
        **_: Any,
    ) -> tuple[Float[Array, " d"], BacktrackingState]:
        slope = jnp.sum(p * grad)
        noise = ROUNDING * jnp.finfo(x.dtype).eps * jnp.abs(value)
        last = state.step_size
        first = jnp.where(last > 0, jnp.minimum(eta0, grow * last), eta0).astype(x.dtype)

        def acceptable(eta: Float[Array, ""]) -> Array:
            # The whole gradient, since the slope along p may be finite where it is not, and the
            # descent would end there; it costs no more than the slope alone.
            after, grad_after = jax.value_and_grad(value_fn)(x + eta * p)
            slope_after = jnp.sum(p * grad_after)
            usable = jnp.isfinite(after) & jnp.all(jnp.isfinite(grad_after))
            # Near a minimum f's decrease drowns in rounding while its slope does not. On a
            # parabola phi(eta) Armijo's condition is phi'(eta) <= (2c - 1) phi'(0) (Hager and
            # Zhang 2005, eq. 4.1), which stands in where f is level to within its noise.
            level = jnp.abs(after - value) <= noise
            by_slope = slope_after <= (2 * c - 1) * slope
            by_value = after <= value + c * eta * slope
            return jnp.where(level, by_slope, by_value) & usable

        def going(trial: tuple[Array, Array, Array]) -> Array:
            _, evals, found = trial
            return (slope < 0) & ~found & (evals < max_evals)

        def shrunk(trial: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            eta, evals, _ = trial
            found = acceptable(eta)
            return jnp.where(found, eta, shrink * eta).astype(x.dtype), evals + 1, found

        start = (first, jnp.zeros((), jnp.int32), jnp.zeros((), bool))
        eta, evals, found = lax.while_loop(going, shrunk, start)
        eta = jnp.where(found, eta, 0)
        # 0 * p is NaN where p overflowed.
        step = jnp.where(found, eta * p, 0)
        return step, BacktrackingState(eta, state.f_evals + evals)

    return optax.GradientTransformationExtraArgs(init, update)


@registry.schedule
def backtracking(
    eta0: float = 1.0,
    c: float = 1e-4,
    shrink: float = 0.5,
    max_evals: int = 50,
    grow: float | None = None,
) -> Schedule:
    """Backtracking: the first eta = eta0 shrink^j with f(x + eta p) <= f(x) + c eta p'g.

    Args:
        eta0: first and largest trial, > 0.
        c: share of the linear decrease asked for, 0 < c < 1.
        shrink: factor from trial to trial, 0 < shrink < 1.
        max_evals: trials at most in a step, >= 1; then no step is taken.
        grow: warm start: the first trial is min(eta0, grow * last step), grow >= 1. None starts
            every search at eta0.

    A trial where f or its gradient is not finite is refused. Each trial counts as one of
    `f_evals`; it gives f and its gradient.

    Needs: nothing.
    Guarantee: with the gradient and f L-smooth, eta_t >= min(eta0, 2 (1 - c) shrink/L), so f
        falls by at least c eta_t |g|^2 in each step (`theory.armijo_least_step`), to within
        rounding.
    Reference: Armijo (1966); Nocedal and Wright (2006), alg. 3.1; the last digits by Hager and
        Zhang (2005), eq. 4.1.
    """
    positive("eta0", eta0)
    between("c", c, 0, 1)
    between("shrink", shrink, 0, 1)
    if max_evals < 1:
        raise ValueError(f"max_evals={max_evals}: takes a whole number >= 1")
    if grow is not None and not 1 <= grow < inf:
        raise ValueError(f"grow={grow}: takes a finite number >= 1, or null")
    return Schedule(
        "backtracking",
        transform=armijo_search,
        params={
            "eta0": eta0,
            "c": c,
            "shrink": shrink,
            "max_evals": max_evals,
            "grow": inf if grow is None else grow,
        },
    )
