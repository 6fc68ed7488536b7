"""Step sizes that fall by a rule without end: inverse time, exponential, stairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gdlab import registry
from gdlab.schedules.units import Unit, between, positive, scale, within
from gdlab.types import Schedule


@dataclass(frozen=True)
class InverseTime:
    """t -> (1 + decay t)^-power."""

    decay: float
    power: float

    def __call__(self, t: Int[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
        return (1.0 + self.decay * t) ** -self.power


@dataclass(frozen=True)
class Exponential:
    """t -> rate^(t/period), with the exponent rounded down if `stairs`."""

    rate: float
    period: float
    stairs: bool = False

    def __call__(self, t: Int[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
        periods = t / self.period
        return self.rate ** (np.floor(periods) if self.stairs else periods)


@registry.schedule
def inverse_time(
    eta: float = 0.1, decay: float = 0.01, unit: Unit = "absolute", power: float = 1.0
) -> Schedule:
    """Inverse-time decay: eta_t = eta / (1 + decay t)^power.

    Args:
        eta: first step size > 0, as a multiple of `unit`.
        decay: >= 0; the step has fallen to eta/2^power at t = 1/decay.
        power: > 0; for noisy gradients, 1/2 < power <= 1 is what convergence takes.

    Needs: L (and mu) for the units that name them.
    Guarantee: with 1/2 < power <= 1 the steps sum to infinity and their squares do not, the
        condition under which stochastic approximation converges.
    Reference: Robbins and Monro (1951), A Stochastic Approximation Method.
    """
    within("decay", decay, 0, 1e300)
    positive("power", power)
    return Schedule(
        "inverse_time",
        scale=scale("inverse_time", eta, unit),
        sizes=InverseTime(float(decay), float(power)),
    )


@registry.schedule
def exponential(
    eta: float = 0.1, rate: float = 0.5, period: float = 100.0, unit: Unit = "absolute"
) -> Schedule:
    """Exponential decay: eta_t = eta rate^(t/period).

    Args:
        eta: first step size > 0, as a multiple of `unit`.
        rate: factor in a period, 0 < rate <= 1.
        period: steps in a period, > 0.

    Needs: L (and mu) for the units that name them.
    Guarantee: none in general: the steps sum to about eta period / log(1/rate), so descent can
        travel only that far times the gradient, and may stop before a critical point.
    Reference: Goodfellow, Bengio and Courville (2016), sec. 8.3.1.
    """
    _rate(rate, period)
    return Schedule(
        "exponential",
        scale=scale("exponential", eta, unit),
        sizes=Exponential(float(rate), float(period)),
    )


@registry.schedule
def step_decay(
    eta: float = 0.1, rate: float = 0.5, period: float = 100.0, unit: Unit = "absolute"
) -> Schedule:
    """Stairs: eta_t = eta rate^floor(t/period).

    Args:
        eta: first step size > 0, as a multiple of `unit`.
        rate: factor at each stair, 0 < rate <= 1.
        period: steps on a stair, > 0.

    Needs: L (and mu) for the units that name them.
    Guarantee: as `exponential`.
    Reference: Ge, Kakade, Kidambi and Netrapalli (2019), The Step Decay Schedule.
    """
    _rate(rate, period)
    return Schedule(
        "step_decay",
        scale=scale("step_decay", eta, unit),
        sizes=Exponential(float(rate), float(period), stairs=True),
    )


def _rate(rate: float, period: float) -> None:
    between("rate", rate, 0, 1 + 1e-12)
    positive("period", period)
