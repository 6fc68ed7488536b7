"""Step sizes that fall to a final value at a known horizon: cosine and polynomial."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gdlab import registry
from gdlab.schedules.units import Unit, positive, scale, within
from gdlab.types import Schedule


@dataclass(frozen=True)
class Cosine:
    """Up linearly over `warmup` steps, then half a cosine wave from 1 to `final` at `horizon`."""

    horizon: float
    final: float
    warmup: int

    def __call__(self, t: Int[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
        s = np.clip((t - self.warmup) / (self.horizon - self.warmup), 0.0, 1.0)
        wave = self.final + (1 - self.final) * (1 + np.cos(np.pi * s)) / 2
        return np.where(t < self.warmup, (t + 1) / (self.warmup + 1), wave)


@dataclass(frozen=True)
class Polynomial:
    """t -> final + (1 - final) (1 - t/horizon)^power, then `final`."""

    horizon: float
    final: float
    power: float

    def __call__(self, t: Int[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
        left = np.clip(1 - t / self.horizon, 0.0, 1.0)
        return self.final + (1 - self.final) * left**self.power


@registry.schedule
def cosine(
    eta: float = 0.1,
    horizon: float = 1000.0,
    final: float = 0.0,
    warmup: int = 0,
    unit: Unit = "absolute",
) -> Schedule:
    """Cosine decay: eta_t = eta (final + (1 - final) (1 + cos(pi s))/2), s = t/horizon.

    With a warm-up, the first `warmup` steps are eta (t + 1)/(warmup + 1), and s counts from
    there. Beyond the horizon the step stays at eta final.

    Args:
        eta: largest step size > 0, as a multiple of `unit`.
        horizon: step at which the decay ends, > warmup.
        final: last step size as a share of eta, from 0 to 1.
        warmup: steps of the warm-up, >= 0.

    Needs: L (and mu) for the units that name them.
    Guarantee: none in general; eta <= 1/L keeps every step within the descent lemma.
    Reference: Loshchilov and Hutter (2017), SGDR, eq. 5.
    """
    within("warmup", warmup, 0, 1e15)
    within("final", final, 0, 1)
    if not warmup < horizon < float("inf"):
        raise ValueError(f"horizon={horizon}: takes a number of steps above warmup={warmup}")
    return Schedule(
        "cosine",
        scale=scale("cosine", eta, unit),
        sizes=Cosine(float(horizon), float(final), warmup),
    )


@registry.schedule
def polynomial(
    eta: float = 0.1,
    horizon: float = 1000.0,
    final: float = 0.0,
    power: float = 1.0,
    unit: Unit = "absolute",
) -> Schedule:
    """Polynomial decay: eta_t = eta (final + (1 - final) (1 - t/horizon)^power); linear at 1.

    Beyond the horizon the step stays at eta final.

    Args:
        eta: first step size > 0, as a multiple of `unit`.
        horizon: step at which the decay ends, > 0.
        final: last step size as a share of eta, from 0 to 1.
        power: > 0.

    Needs: L (and mu) for the units that name them.
    Guarantee: linear decay to zero gives the last iterate of a subgradient method the rate
        1/sqrt(horizon) that its average has.
    Reference: Defazio, Cutkosky, Mehta and Mishchenko (2023), When, Why and How Much? Adaptive
        Learning Rate Scheduling by Refinement.
    """
    positive("horizon", horizon)
    within("final", final, 0, 1)
    positive("power", power)
    return Schedule(
        "polynomial",
        scale=scale("polynomial", eta, unit),
        sizes=Polynomial(float(horizon), float(final), float(power)),
    )
