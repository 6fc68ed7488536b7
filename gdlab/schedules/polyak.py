"""Polyak's step size, from the known minimum of f."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from gdlab import registry
from gdlab.schedules.units import OBJECTIVE, positive
from gdlab.types import Facts, Schedule


class PolyakState(NamedTuple):
    """The step just taken: 0 where f <= f*, or where p points uphill."""

    step_size: Float[Array, ""]


def to_the_minimum(eta: Any, f_star: Any) -> optax.GradientTransformationExtraArgs:
    """p -> eta (f - f*)/(-p'g) p: where f's tangent along p reaches f*, times eta.

    No step is taken where p is no descent direction.
    """

    def init(x: Float[Array, " d"]) -> PolyakState:
        return PolyakState(jnp.zeros((), x.dtype))

    def update(
        p: Float[Array, " d"],
        state: PolyakState,
        x: Any = None,
        *,
        value: Float[Array, ""],
        grad: Float[Array, " d"],
        **_: Any,
    ) -> tuple[Float[Array, " d"], PolyakState]:
        slope = jnp.sum(p * grad)
        size = jnp.where(slope < 0, eta * jnp.maximum(value - f_star, 0) / -slope, 0)
        size = size.astype(p.dtype)
        return size * p, PolyakState(size)

    return optax.GradientTransformationExtraArgs(init, update)


@dataclass(frozen=True)
class KnownMinimum:
    """f*, as given or else from the facts.

    Raises:
        MissingFact: (when called) f* is neither given nor known.
        ValueError: (when called) the one given is above the known one, beyond rounding: descent
            would stand still where it reaches it.
    """

    given: float | None = None

    def __call__(self, facts: Facts) -> float:
        known = facts.f_star
        if self.given is None:
            return facts.need("polyak", OBJECTIVE, "f_star")[0]
        if known is not None and self.given > known + 1e-9 * max(1.0, abs(known)):
            raise ValueError(
                f"polyak with f_star={self.given:g} takes a minimum, and {OBJECTIVE} falls to "
                f"{known:g}; leave f_star out"
            )
        return self.given


@registry.schedule
def polyak(eta: float = 1.0, f_star: float | None = None) -> Schedule:
    """Polyak's step: eta_t = eta (f(x_t) - f*) / |g_t|^2 (with -p'g for another direction p).

    Args:
        eta: factor, 0 < eta < 2.
        f_star: the minimum; None takes it from the objective's facts. No step is taken where
            f <= f_star, and one below the minimum leaves steps that never settle.

    Needs: f_star.
    Guarantee: f convex: |x_t - x*| never grows (eta <= 2); f convex and L-smooth:
        min f - f* <= 2 L |x_0 - x*|^2 / t at eta = 1 (`theory.polyak_bound`).
    Reference: Polyak (1969), Minimization of Unsmooth Functionals; Hazan and Kakade (2019),
        Revisiting the Polyak Step Size.
    """
    positive("eta", eta)
    if f_star is not None and not isfinite(f_star):
        raise ValueError(f"f_star={f_star}: takes a finite number, or null")
    return Schedule(
        "polyak",
        transform=to_the_minimum,
        params={"eta": eta, "f_star": KnownMinimum(f_star)},
    )
