"""Exact line search on quadratics."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from gdlab import registry
from gdlab.errors import MissingFact
from gdlab.schedules.units import OBJECTIVE
from gdlab.types import Facts, Schedule


class ExactState(NamedTuple):
    """The step just taken, and the Hessian-vector products spent."""

    step_size: Float[Array, ""]
    hvp_evals: Int[Array, ""]


def exact_line_search(quadratic: Any) -> optax.GradientTransformationExtraArgs:
    """p -> eta p with eta = -p'g / p'Hp, the minimizer of f(x + eta p) for quadratic f.

    f(x + eta p) = f(x) + eta p'g + eta^2 p'Hp/2. Where p'Hp <= 0 the line has no minimizer and
    f falls without bound along it: eta is infinite and the descent ends as diverged.
    """

    def init(x: Float[Array, " d"]) -> ExactState:
        return ExactState(jnp.zeros((), x.dtype), jnp.zeros((), jnp.int32))

    def update(
        p: Float[Array, " d"],
        state: ExactState,
        x: Float[Array, " d"],
        *,
        grad: Float[Array, " d"],
        value_fn: Any,
        **_: Any,
    ) -> tuple[Float[Array, " d"], ExactState]:
        _, hp = jax.jvp(jax.grad(value_fn), (x,), (p,))
        slope, curvature = jnp.sum(p * grad), jnp.sum(p * hp)
        eta = jnp.where(curvature > 0, -slope / curvature, jnp.inf)
        eta = jnp.where(slope == 0, 0, eta)
        return eta * p, ExactState(eta, state.hvp_evals + 1)

    return optax.GradientTransformationExtraArgs(init, update)


def is_quadratic(facts: Facts) -> float:
    """1 for a quadratic objective; raises `MissingFact` for any other."""
    if not facts.quadratic:
        raise MissingFact(f"exact needs a quadratic objective; {OBJECTIVE} is none")
    return 1.0


@registry.schedule
def exact() -> Schedule:
    """Exact line search: eta_t = -p'g / p'Hp; along the gradient, eta_t = g'g / g'Hg.

    One Hessian-vector product a step; H itself is never formed.

    Needs: a quadratic objective.
    Guarantee: with the gradient, f(x_{t+1}) - f* <= ((k - 1)/(k + 1))^2 (f(x_t) - f*), k = L/mu
        (`theory.exact_contraction`); consecutive gradients are orthogonal.
    Reference: Goodfellow, Bengio and Courville (2016), eq. 4.9; Luenberger and Ye (2008),
        sec. 8.6, by Kantorovich's inequality.
    """
    return Schedule("exact", transform=exact_line_search, params={"quadratic": is_quadratic})
