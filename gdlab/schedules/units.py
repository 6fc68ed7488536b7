"""Units of a step size: what `eta` is a multiple of, and the ranges of a schedule's numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, sqrt
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from gdlab.errors import UsageError
from gdlab.types import Facts, FromFacts

Unit = Literal["absolute", "1/L", "2/(L+mu)", "4/(3L+mu)", "4/(sqrt(L)+sqrt(mu))^2"]

# Facts carry no name of their objective.
OBJECTIVE = "this objective"


@dataclass(frozen=True)
class Scale:
    """`eta` times a unit that depends on the objective: facts -> absolute step size.

    Raises:
        MissingFact: (when called) L or mu is unknown.
    """

    schedule: str
    eta: float
    unit: Unit

    def __call__(self, facts: Facts) -> float:
        who = f"{self.schedule} with unit {self.unit}"
        if self.unit == "1/L":
            (L,) = facts.need(who, OBJECTIVE, "L")
            return self.eta / L
        L, mu = facts.need(who, OBJECTIVE, "L", "mu")
        if self.unit == "2/(L+mu)":
            return self.eta * 2 / (L + mu)
        if self.unit == "4/(3L+mu)":
            return self.eta * 4 / (3 * L + mu)
        if mu < 0:
            raise ValueError(f"{who} needs mu >= 0; {OBJECTIVE} has mu={mu:g}")
        return self.eta * 4 / (sqrt(L) + sqrt(mu)) ** 2


def scale(schedule: str, eta: float, unit: Unit) -> float | FromFacts:
    """`eta` in absolute terms: a number, or a function of the objective's facts.

    Raises:
        ValueError: eta is not a finite number > 0.
    """
    positive("eta", eta)
    return float(eta) if unit == "absolute" else Scale(schedule, float(eta), unit)


def step_sizes(sizes: Callable[..., Any], t: Int[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
    """sizes(t), checked.

    A descent asks for the step after its last one too, and for more where it looks for cycles.

    Raises:
        UsageError: it gives none so far, or other than one real number a step.
    """
    asked = f"sizes is asked for the steps t = {t[0]} to {t[-1]}"
    try:
        found = np.asarray(sizes(t))
    except IndexError as error:
        raise UsageError(
            f"schedule: {asked} and is too short: {error}; e.g. "
            "lambda t: table[np.minimum(t, len(table) - 1)] keeps its last"
        ) from error
    if found.shape != t.shape or found.dtype.kind not in "biuf":
        raise UsageError(
            f"schedule: {asked} and gives an array of shape {found.shape}, {found.dtype}; takes "
            f"{len(t)}"
        )
    return found


def positive(name: str, value: float) -> None:
    """Raises a `ValueError` unless `value` is finite and > 0."""
    if not 0 < value < inf:
        raise ValueError(f"{name}={value}: takes a finite number > 0")


def within(name: str, value: float, low: float, high: float) -> None:
    """Raises a `ValueError` unless low <= value <= high."""
    if not low <= value <= high:
        raise ValueError(f"{name}={value}: takes a number from {low:g} to {high:g}")


def between(name: str, value: float, low: float, high: float) -> None:
    """Raises a `ValueError` unless low < value < high."""
    if not low < value < high:
        raise ValueError(f"{name}={value}: takes a number above {low:g} and below {high:g}")
