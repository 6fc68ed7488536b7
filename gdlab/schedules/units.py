"""Units of a step size: what `eta` is a multiple of."""

from __future__ import annotations

from functools import partial
from math import sqrt
from typing import Literal

from gdlab.types import Facts, FromFacts

Unit = Literal["absolute", "1/L", "2/(L+mu)", "4/(sqrt(L)+sqrt(mu))^2"]

# Facts carry no name of their objective; whoever knows it may put it here.
OBJECTIVE = "this objective"


def scale(schedule: str, eta: float, unit: Unit) -> float | FromFacts:
    """`eta` in absolute terms: a number, or a function of the objective's facts.

    Raises:
        ValueError: eta is not a positive number.
        MissingFact: (when called with facts) L or mu is unknown or zero.
    """
    positive("eta", eta)
    return eta if unit == "absolute" else partial(resolve, schedule, eta, unit)


def resolve(schedule: str, eta: float, unit: Unit, facts: Facts) -> float:
    """`eta` times the unit of an objective with these facts."""
    who = f"{schedule} with unit {unit}"
    if unit == "1/L":
        (L,) = facts.need(who, OBJECTIVE, "L")
        return eta / L
    L, mu = facts.need(who, OBJECTIVE, "L", "mu")
    return eta * (2 / (L + mu) if unit == "2/(L+mu)" else 4 / (sqrt(L) + sqrt(mu)) ** 2)


def positive(name: str, value: float) -> None:
    """Raises a `ValueError` unless `value` is finite and > 0."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{name}={value}: takes a finite number > 0")


def within(name: str, value: float, low: float, high: float) -> None:
    """Raises a `ValueError` unless low <= value <= high."""
    if not low <= value <= high:
        raise ValueError(f"{name}={value}: takes a number from {low:g} to {high:g}")
