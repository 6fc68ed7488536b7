"""Where descent begins: draws of starts `[n, d]`.

A draw takes the objective and a random generator seeded by `seed` alone, so that the same seed
gives every method and every schedule the same starts (paired comparison). Coordinates are drawn
point by point: with more samples, the first ones stay the same.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from gdlab import registry
from gdlab.registry import UsageError
from gdlab.types import Objective

Starts = Float[np.ndarray, "n d"]
Draw = Callable[[Objective, np.random.Generator], Starts]
MOST = 50_000_000  # numbers in one draw


@registry.init
def point(x: float | list[float], samples: int = 1) -> Draw:
    """The point that is given.

    Args:
        x: its d coordinates (a single number where d = 1).
        samples: so many copies of it.
    """
    _positive("samples", samples)
    given = np.atleast_1d(np.array(x, float))
    _finite("x", x, given)

    def draw(objective: Objective, rng: np.random.Generator) -> Starts:
        if len(given) != objective.dim:
            count = f"{len(given)} number{'s' if len(given) != 1 else ''}"
            raise UsageError(f"init.x={x}: {objective.name} has dim {objective.dim}, got {count}")
        _fits("samples", samples, samples, objective)
        return np.tile(given, (samples, 1))

    return draw


@registry.init
def uniform(
    low: float | list[float] | None = None,
    high: float | list[float] | None = None,
    samples: int = 1,
) -> Draw:
    """Points spread evenly at random over a box: x_i ~ U[low_i, high_i].

    Args:
        low, high: the box's sides, one number or d of them (default: the objective's domain).
        samples: how many points.
    """
    _positive("samples", samples)
    _ordered(low, high)

    def draw(objective: Objective, rng: np.random.Generator) -> Starts:
        _fits("samples", samples, samples, objective)
        a, b = _box(objective, low, high, "uniform")
        return a + (b - a) * rng.random((samples, objective.dim))

    return draw


@registry.init
def normal(
    mean: float | list[float] = 0.0, scale: float | list[float] = 1.0, samples: int = 1
) -> Draw:
    """Normally distributed points: x_i ~ N(mean_i, scale_i^2).

    Args:
        mean: one number or d of them.
        scale: standard deviation >= 0, one number or d of them.
        samples: how many points.
    """
    _positive("samples", samples)
    _finite("mean", mean, np.array(mean, float))
    _finite("scale", scale, np.array(scale, float))
    if np.min(scale) < 0:
        raise UsageError(f"init.scale={scale}: takes a standard deviation >= 0")

    def draw(objective: Objective, rng: np.random.Generator) -> Starts:
        _fits("samples", samples, samples, objective)
        m, s = _vector("mean", mean, objective), _vector("scale", scale, objective)
        return m + s * rng.standard_normal((samples, objective.dim))

    return draw


@registry.init
def grid(
    low: float | list[float] | None = None,
    high: float | list[float] | None = None,
    points_per_axis: int = 11,
) -> Draw:
    """A regular grid over a box, its border included; the first coordinate varies slowest.

    The seed plays no part. There are points_per_axis^d starts.

    Args:
        low, high: the box's sides, one number or d of them (default: the objective's domain).
        points_per_axis: points along each axis (1: the box's middle).
    """
    _positive("points_per_axis", points_per_axis)
    _ordered(low, high)

    def draw(objective: Objective, rng: np.random.Generator) -> Starts:
        _fits("points_per_axis", points_per_axis, points_per_axis**objective.dim, objective)
        a, b = _box(objective, low, high, "grid")
        a, b = (a, b) if points_per_axis > 1 else ((a + b) / 2, b)
        axes = [np.linspace(lo, hi, points_per_axis) for lo, hi in zip(a, b, strict=True)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, objective.dim)

    return draw


@registry.init
def sobol(
    low: float | list[float] | None = None,
    high: float | list[float] | None = None,
    samples: int = 1,
) -> Draw:
    """Points of a scrambled Sobol sequence over a box: more even than random ones.

    Args:
        low, high: the box's sides, one number or d of them (default: the objective's domain).
        samples: how many points; a power of 2 keeps the sequence balanced.

    Reference: I. M. Sobol', USSR Comput. Math. 7 (1967) 86; A. B. Owen, J. Complexity 14 (1998)
    466, for the scrambling.
    """
    _positive("samples", samples)
    _ordered(low, high)

    def draw(objective: Objective, rng: np.random.Generator) -> Starts:
        from scipy.stats import qmc  # a second of import, for this one alone

        _fits("samples", samples, samples, objective)
        if objective.dim > qmc.Sobol.MAXDIM:
            raise UsageError(f"init=sobol: takes dim <= {qmc.Sobol.MAXDIM}; use init=uniform")
        a, b = _box(objective, low, high, "sobol")
        # Drawn by whole powers of 2, whose prefix is the sequence of any length.
        sequence = qmc.Sobol(objective.dim, rng=rng)
        return a + (b - a) * sequence.random_base2((samples - 1).bit_length())[:samples]

    return draw


def _positive(key: str, value: int) -> None:
    if value < 1:
        raise UsageError(f"init.{key}={value}: takes an integer >= 1")


def _finite(key: str, value: object, numbers: np.ndarray) -> None:
    if not np.all(np.isfinite(numbers)):
        raise UsageError(f"init.{key}={value}: takes finite numbers")


def _fits(key: str, value: int, count: int, objective: Objective) -> None:
    if count * objective.dim > MOST:
        raise UsageError(
            f"init.{key}={value}: {count} starts in dim {objective.dim} are too many; "
            f"takes at most {MOST // objective.dim} starts"
        )


def _ordered(low: float | list[float] | None, high: float | list[float] | None) -> None:
    for key, side in (("low", low), ("high", high)):
        if side is not None:
            _finite(key, side, np.array(side, float))
    if (
        low is None
        or high is None
        or (np.ndim(low) * np.ndim(high) and np.size(low) != np.size(high))
    ):
        return
    if np.any(np.array(low) > np.array(high)):
        raise UsageError(f"init.low={low}: must not exceed init.high={high}")


def _vector(key: str, value: float | list[float], objective: Objective) -> Float[np.ndarray, " d"]:
    if np.ndim(value) and len(np.array(value)) != objective.dim:
        raise UsageError(
            f"init.{key}={value}: {objective.name} has dim {objective.dim}, got {np.size(value)} "
            f"number{'s' if np.size(value) != 1 else ''}"
        )
    return np.broadcast_to(np.array(value, float), (objective.dim,))


def _box(
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
            sides.append(_vector(key, side, objective))
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
