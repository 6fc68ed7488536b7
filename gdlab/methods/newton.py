"""Newton's method, damped."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from gdlab import registry
from gdlab.numerics import lane_by_lane
from gdlab.types import Method


class NewtonState(NamedTuple):
    """Hessian-vector products spent: d a step."""

    hvp_evals: Int[Array, ""]


def damped_newton(damping: Any) -> optax.GradientTransformationExtraArgs:
    """g -> -(H + damping I)^-1 g."""

    def init(x: Float[Array, " d"]) -> NewtonState:
        return NewtonState(jnp.zeros((), jnp.int32))

    def update(
        g: Float[Array, " d"],
        state: NewtonState,
        x: Float[Array, " d"],
        *,
        value_fn: Any,
        **_: Any,
    ) -> tuple[Float[Array, " d"], NewtonState]:
        h = jax.hessian(value_fn)(x) + damping * jnp.eye(x.shape[0], dtype=x.dtype)
        # jaxlib cuts a batch from 200,000 operations on: a block of systems this small is not cut.
        solve = jnp.linalg.solve if x.shape[0] <= 16 else lane_by_lane(jnp.linalg.solve)
        return -solve(h, g), NewtonState(state.hvp_evals + x.shape[0])

    return optax.GradientTransformationExtraArgs(init, update)


@registry.method
def newton(damping: float = 0.0) -> Method:
    """Newton's method: p = -(H + damping I)^-1 g, with the dense Hessian H.

    It goes to any critical point, saddles and maxima included; a step size below 1 damps it too,
    and a line search takes no step where p points uphill.

    Args:
        damping: >= 0; above -lambda_min(H) the direction always points downhill.

    Needs: nothing; d small enough for a d x d Hessian at each step.
    Guarantee: near a critical point with invertible H, step 1 and no damping: quadratic
        convergence; on a quadratic one step is enough.
    Reference: Goodfellow, Bengio and Courville (2016), eq. 4.12; Nocedal and Wright (2006),
        thm. 3.5; Levenberg (1944) for the damping.
    """
    if not 0 <= damping < float("inf"):
        raise ValueError(f"damping={damping}: takes a finite number >= 0")
    return Method("newton", transform=damped_newton, params={"damping": damping})
