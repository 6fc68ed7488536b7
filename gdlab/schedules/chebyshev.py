"""Chebyshev steps: the reciprocal roots of the polynomial that is smallest on [mu, L]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from gdlab import registry
from gdlab.schedules.units import OBJECTIVE
from gdlab.types import Facts, Schedule

Order = Literal["fractal", "ascending", "descending"]


class ChebyshevState(NamedTuple):
    """The step just taken, and the steps taken, t."""

    step_size: Float[Array, ""]
    t: Int[Array, ""]


def fractal_order(n: int) -> Int[np.ndarray, " n"]:
    """Agarwal, Goel and Zhang's permutation of 1..n, n a power of two: 1 4 2 3 for n = 4.

    sigma_1 = (1); sigma_2n interlaces sigma_n with 2n + 1 - sigma_n. Every stretch of steps then
    has a bounded product, so that rounding errors do not grow on the way as they do in order.
    """
    order = np.array([1])
    while len(order) < n:
        order = np.stack([order, 2 * len(order) + 1 - order], axis=1).ravel()
    return order


@dataclass(frozen=True)
class Cycle:
    """Factory of the transformation p -> eta p for a cycle of n steps; L and mu ride in lanes.

    The roots of T_n, stretched to [mu, L], are (L + mu)/2 - (L - mu)/2 cos((k - 1/2) pi/n).
    """

    n: int
    order: Order

    def __call__(self, L: Any, mu: Any) -> optax.GradientTransformationExtraArgs:
        k = fractal_order(self.n) if self.order == "fractal" else np.arange(1, self.n + 1)
        cosines = np.cos((k - 0.5) * np.pi / self.n)
        cosines = cosines[::-1] if self.order == "ascending" else cosines

        def init(x: Float[Array, " d"]) -> ChebyshevState:
            return ChebyshevState(jnp.zeros((), x.dtype), jnp.zeros((), jnp.int32))

        def update(
            p: Float[Array, " d"], state: ChebyshevState, x: Any = None, **_: Any
        ) -> tuple[Float[Array, " d"], ChebyshevState]:
            cosine = jnp.asarray(cosines, p.dtype)[state.t % self.n]
            eta = jnp.asarray(2 / ((L + mu) - (L - mu) * cosine), p.dtype)
            return eta * p, ChebyshevState(eta, state.t + 1)

        return optax.GradientTransformationExtraArgs(init, update)


def upper(facts: Facts) -> float:
    """L."""
    return facts.need("chebyshev", OBJECTIVE, "L")[0]


def lower(facts: Facts) -> float:
    """mu, which must be positive."""
    (mu,) = facts.need("chebyshev", OBJECTIVE, "mu")
    if mu <= 0:
        raise ValueError(f"chebyshev needs mu > 0; {OBJECTIVE} has mu={mu:g}")
    return mu


@registry.schedule
def chebyshev(cycle: int = 16, order: Order = "fractal") -> Schedule:
    """Chebyshev steps: 1/eta_t = (L + mu)/2 - (L - mu)/2 cos((k_t - 1/2) pi/n), repeated.

    Args:
        cycle: n, steps in a cycle, >= 1; a power of two for the fractal order.
        order: of k: `fractal` (stable in floating point), `ascending` (small steps first) or
            `descending` (large steps first).

    Needs: L, mu > 0.
    Guarantee: on a quadratic, after each cycle |x - x*| shrinks by 1/T_n((L + mu)/(L - mu)) or
        more, the best that n fixed steps can do (`theory.chebyshev_factor`). Not monotone.
    Reference: Young (1953), On Richardson's Method; Agarwal, Goel and Zhang (2021), Acceleration
        via Fractal Learning Rate Schedules.
    """
    if cycle < 1:
        raise ValueError(f"cycle={cycle}: takes a whole number >= 1")
    if order == "fractal" and cycle & (cycle - 1):
        raise ValueError(f"cycle={cycle}: the fractal order takes a power of two")
    return Schedule("chebyshev", transform=Cycle(cycle, order), params={"L": upper, "mu": lower})
