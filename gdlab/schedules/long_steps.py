"""Steps beyond 2/L, now and then: silver steps and Grimmer's long-step patterns.

Both repeat a palindrome in which the step at t depends on how often 2 divides t + 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from gdlab import registry
from gdlab.schedules.units import Unit, scale
from gdlab.theory import SILVER
from gdlab.types import Schedule

# Length of the pattern -> its step (in units of 1/L) where t + 1 is divisible by 2^0, 2^1, ...
PATTERNS: dict[int, tuple[float, ...]] = {
    3: (1.5, 4.9),
    7: (1.5, 2.2, 12.0),
    15: (1.4, 2.0, 4.5, 29.7),
    31: (1.4, 2.0, 3.9, 8.2, 72.3),
    63: (1.4, 2.0, 3.9, 7.2, 14.2, 164.0),
    127: (1.4, 2.0, 3.9, 7.2, 12.6, 23.5, 370.0),
}


def valuation(n: Int[np.ndarray, " T"]) -> Int[np.ndarray, " T"]:
    """How often 2 divides n >= 1: n & -n is the largest power of two that does."""
    return np.round(np.log2(n & -n)).astype(np.int64)


def silver_sizes(t: Int[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
    """1 + rho^(v - 1), with v the valuation of t + 1 and rho = 1 + sqrt(2)."""
    return 1 + SILVER ** (valuation(np.asarray(t) + 1) - 1.0)


@dataclass(frozen=True)
class Pattern:
    """Grimmer's pattern of that length, repeated."""

    length: int

    def __call__(self, t: Int[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
        place = np.asarray(t) % self.length
        if self.length == 2:
            return np.array([2.9, 1.5])[place]
        return np.array(PATTERNS[self.length])[valuation(place + 1)]


@registry.schedule
def silver(eta: float = 1.0, unit: Unit = "1/L") -> Schedule:
    """Silver steps: eta_t = eta (1 + rho^(v_t - 1)), 2^v_t || t + 1, rho = 1 + sqrt(2).

    Args:
        eta: multiple of `unit`; the guarantee is for eta = 1 with unit 1/L.

    Needs: L.
    Guarantee: f convex, t = 2^k - 1: f(x_t) - f* <= L |x_0 - x*|^2 / (1 + sqrt(4 rho^(2k) - 3)),
        of order t^-1.2716 (`theory.silver_bound`). Not monotone: f may rise on the way.
    Reference: Altschuler and Parrilo (2023), Acceleration by Stepsize Hedging II, thm. 1.1.
    """
    return Schedule("silver", scale=scale("silver", eta, unit), sizes=silver_sizes)


@registry.schedule
def long_steps(
    pattern: Literal[2, 3, 7, 15, 31, 63, 127] = 7, eta: float = 1.0, unit: Unit = "1/L"
) -> Schedule:
    """Long steps: eta_t = eta h_(t mod pattern), a certified pattern h with mean above 2.

    Args:
        pattern: its length; mean steps are 2.2, 2.63, 3.2, 3.86, 4.60, 5.23 and 5.83.
        eta: multiple of `unit`; the guarantee is for eta = 1 with unit 1/L.

    Needs: L.
    Guarantee: f convex, |x - x*| <= D where f(x) <= f(x_0): f(x_t) - f* <= L D^2 / (mean t) +
        O(1/t^2) at the end of each pattern, after a long time in which f hardly falls
        (`theory.long_step_bound`).
    Reference: Grimmer (2024), Provably Faster Gradient Descent via Long Steps, table 1.
    """
    return Schedule("long_steps", scale=scale("long_steps", eta, unit), sizes=Pattern(pattern))
