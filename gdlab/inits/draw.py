"""What a draw is, and the checks of its numbers: boxes, counts, coordinates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from gdlab.errors import UsageError
from gdlab.types import Objective

Starts = Float[np.ndarray, "n d"]
# Takes the objective and a generator seeded by `seed` alone.
Draw = Callable[[Objective, np.random.Generator], Starts]
MOST = 50_000_000  # numbers in one draw


def positive(key: str, value: int) -> None:
    """Raises a `UsageError` unless the value is 1 or more."""
    if value < 1:
        raise UsageError(f"init.{key}={value}: takes an integer >= 1")


def finite(key: str, value: object, numbers: np.ndarray) -> None:
    """Raises a `UsageError` unless all numbers are finite."""
    if not np.all(np.isfinite(numbers)):
        raise UsageError(f"init.{key}={value}: takes finite numbers")


def fits(key: str, value: int, count: int, objective: Objective) -> None:
    """Raises a `UsageError` where so many starts of the objective are too many."""
    if count * objective.dim > MOST:
        raise UsageError(
            f"init.{key}={value}: {count} starts in dim {objective.dim} are too many; "
            f"takes at most {MOST // objective.dim} starts"
        )


def ordered(low: float | list[float] | None, high: float | list[float] | None) -> None:
    """Raises a `UsageError` where low exceeds high, as far as both are given."""
    for key, side in (("low", low), ("high", high)):
        if side is not None:
            finite(key, side, np.array(side, float))
    if (
        low is None
        or high is None
        or (np.ndim(low) * np.ndim(high) and np.size(low) != np.size(high))
    ):
        return
    if np.any(np.array(low) > np.array(high)):
        raise UsageError(f"init.low={low}: must not exceed init.high={high}")


def vector(key: str, value: float | list[float], objective: Objective) -> Float[np.ndarray, " d"]:
    """One number or d of them as `[d]`; raises a `UsageError` for any other count."""
    if np.ndim(value) and len(np.array(value)) != objective.dim:
        raise UsageError(
            f"init.{key}={value}: {objective.name} has dim {objective.dim}, got {np.size(value)} "
            f"number{'s' if np.size(value) != 1 else ''}"
        )
    return np.broadcast_to(np.array(value, float), (objective.dim,))


def box(
    objective: Objective,
    low: float | list[float] | None,
    high: float | list[float] | None,
    who: str,
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """Low and high sides `[d]`, from the configuration or else from the objective's domain."""
    domain = objective.facts.domain
    sides = []
    for key, side, column in (("low", low, 0), ("high", high, 1)):
        if side is not None:
            sides.append(vector(key, side, objective))
        elif domain is not None:
            sides.append(np.asarray(domain, float)[:, column])
        else:
            raise UsageError(
                f"init={who}: {objective.name} has no domain; give init.low and init.high"
            )
    if np.any(sides[0] > sides[1]):
        said = low if low is not None else sides[0].tolist()
        other = high if high is not None else sides[1].tolist()
        raise UsageError(f"init.low={said}: must not exceed init.high={other}")
    return sides[0], sides[1]
