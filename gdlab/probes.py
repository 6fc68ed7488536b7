"""What is measured at a recorded step: pure functions of a `StepView`, never calls in the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gdlab import registry
from gdlab.numerics import lane_by_lane


@dataclass(frozen=True)
class StepView:
    """One descent at step t, as a probe sees it.

    Attributes:
        f: the objective with its data, x -> scalar.
        x: x_t `[d]`; value, grad: f and its gradient there.
        update: the step u about to be taken, x_{t+1} = x_t + u.
        step_size: eta_t.
    """

    f: Callable[[Float[Array, " d"]], Float[Array, ""]]
    x: Float[Array, " d"]
    value: Float[Array, ""]
    grad: Float[Array, " d"]
    update: Float[Array, " d"]
    step_size: Float[Array, ""]


def standard(view: StepView, minimizers: Float[Array, "k d"] | None) -> Mapping[str, Any]:
    """The probes of every descent: loss, grad_norm, step_size, slope, tan_half_angle, distance.

    slope = u'g/|u| is the directional derivative along the step; over unit directions it is
    |g| cos(theta), smallest where the angle between u and -g is 0 (eqs. 4.3, 4.4).
    """
    g, u = view.grad, view.update
    grad_norm, length = jnp.sqrt(jnp.sum(g * g)), jnp.sqrt(jnp.sum(u * u))
    seen = {
        "loss": view.value,
        "grad_norm": grad_norm,
        "step_size": view.step_size,
        "slope": jnp.sum(u * g) / length,
        "tan_half_angle": tan_half_angle(u * grad_norm, -g * length),
    }
    if minimizers is not None:
        seen["distance"] = jnp.sqrt(jnp.min(jnp.sum((view.x - minimizers) ** 2, axis=-1)))
    return seen


def tan_half_angle(a: Float[Array, " d"], b: Float[Array, " d"]) -> Float[Array, ""]:
    """|a - b|/|a + b| = tan(theta/2) of two vectors of equal length, accurate near 0 (Kahan).

    arccos(a'b/|a||b|) would lose half the digits there. The arc tangent is left to whoever keeps
    the record: it would cost more than all else in the loop.
    """
    return jnp.sqrt(jnp.sum((a - b) ** 2)) / jnp.sqrt(jnp.sum((a + b) ** 2))


@registry.probe
def sharpness(view: StepView) -> Float[Array, ""]:
    """Largest eigenvalue of the Hessian at x_t; descent is stable while it is below 2/eta."""
    eigenvalues = lane_by_lane(lambda h: jnp.linalg.eigvalsh(h))
    return eigenvalues(jax.hessian(view.f)(view.x))[-1]


@registry.probe
def curvature(view: StepView) -> Float[Array, ""]:
    """Curvature along the step, u'Hu/u'u, with H the Hessian at x_t."""
    u = view.update
    hu = jax.jvp(jax.grad(view.f), (view.x,), (u,))[1]
    return jnp.sum(u * hu) / jnp.sum(u * u)


@registry.probe
def x_norm(view: StepView) -> Float[Array, ""]:
    """Euclidean norm |x_t|."""
    return jnp.sqrt(jnp.sum(view.x**2))
