"""How a lane is seen to stop: by |g|^2 alone, where f is finite for all x that are not far away.

A descent ends where f or its gradient is not finite, at the first such step, whichever steps are
recorded. f itself is dear, and few rules use it. It need not be computed at a step where it is
known to be finite: f's operations are bounded once, for all x with |x_i| <= reach and data of
moderate size (`bounds`). What a step looks at (`square`) is |g|^2 and whether x is within reach,
which costs next to nothing; it is no number where x is not. A lane that is seen like that takes
these steps again with care, f and all, so that nothing is decided by what is not known.

Where no bound is found (a pole, a root, an exponential of what may be large, a branch that is no
number), `reach` is 0 and f is computed at every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache, partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gdlab.runner.bounds import Unbounded, bounds
from gdlab.runner.program import APART, value_and_grad, value_of
from gdlab.runner.tracing import primitives
from gdlab.types import Array

# How far x may be, and how large the numbers of the data; the first pair that allows a bound.
SIZES = (
    (2.0**64, 2.0**32),
    (2.0**32, 2.0**20),
    (2.0**16, 2.0**12),
    (2.0**9, 2.0**10),
    (32.0, 2.0**8),
)
Arrays = tuple[tuple[str, tuple[int, ...], str], ...]


def of_one(lanes: Mapping[str, Any]) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of one lane's data."""
    return {k: jax.ShapeDtypeStruct(a.shape[:-1], a.dtype) for k, a in lanes.items()}


def reach_of(
    f: Callable[..., Any], data: Mapping[str, Any] | None, dim: int, dtype: Any
) -> tuple[float, float]:
    """(reach, most): f is finite where |x_i| <= reach and |data| <= most; 0: nothing is known.

    Args:
        f: the objective's function.
        data: what it takes, of one lane: arrays, or their shapes and types; None: nothing.
        dim, dtype: of x.
    """
    arrays = None
    if data is not None:
        arrays = tuple((k, tuple(a.shape), jnp.dtype(a.dtype).name) for k, a in data.items())
    return _reach(f, arrays, dim, jnp.dtype(dtype).name)


@lru_cache(maxsize=4096)
def _reach(
    f: Callable[..., Any], arrays: Arrays | None, dim: int, dtype: str
) -> tuple[float, float]:
    """As `reach_of`."""
    number = jax.ShapeDtypeStruct((), np.dtype(dtype))
    vector = jax.ShapeDtypeStruct((dim,), np.dtype(dtype))
    x = (number,) * dim if dim <= APART else vector
    data = {
        name: jax.ShapeDtypeStruct(shape, jnp.dtype(kind)) for name, shape, kind in arrays or ()
    }

    def value(x: Any, data: Any) -> Array:
        return value_of(f if arrays is None else partial(f, data), x)

    def beside_grad(x: Any, data: Any) -> Array:
        return value_and_grad(f if arrays is None else partial(f, data), x)[0]

    traced = jax.make_jaxpr(value)(x, data)
    if any(name.startswith("custom") for name in primitives(traced.jaxpr)):
        traced = jax.make_jaxpr(beside_grad)(x, data)  # such a rule may give f anew
    leaves = jax.tree.leaves(data)
    for reach, most in SIZES:
        if reach**2 > float(jnp.finfo(dtype).max):
            continue
        sides = [(-reach, reach)] * len(jax.tree.leaves(x)) + [_side(a.dtype, most) for a in leaves]
        try:
            bounds(traced.jaxpr, traced.consts, sides, [True])
        except Unbounded:
            continue
        return reach, most
    return 0.0, 0.0


def _side(dtype: Any, most: float) -> tuple[float, float]:
    """Bounds on data of this type, which `fit` makes sure of."""
    if not jnp.issubdtype(dtype, jnp.integer):
        return -most, most
    return float(jnp.iinfo(dtype).min), float(jnp.iinfo(dtype).max)


def fit(shared: Any, data: Any, most: float) -> Array:
    """Whether all numbers of the data are within the bound, for each lane or for all."""
    floats = [a for a in jax.tree.leaves(data) if jnp.issubdtype(a.dtype, jnp.inexact)]
    common = [a for a in jax.tree.leaves(shared) if jnp.issubdtype(a.dtype, jnp.inexact)]
    fine = [jnp.all(jnp.abs(a) <= most, axis=tuple(range(a.ndim - 1))) for a in floats]
    fine += [jnp.all(jnp.abs(a) <= most) for a in common]
    return reduce(jnp.logical_and, fine, jnp.bool_(True))


def square(g: Any, unit: Any, value: Array, x: Any, reach: float) -> Array:
    """|unit g|^2 of one lane, or of each of a block, last; no number where f may not be finite.

    With a reach, x is looked at in its place: x_i h overflows where x_i is beyond it, or no number
    comes of it where x_i is none. (h is no power of two, by which a compiler may divide a sum: of
    coordinates that cancel nothing would be seen.) Nothing is added but zeros, or no number.
    """
    if not reach:
        gg = _sum_of_squares(g, unit)
        return gg + 0 * (value + gg)
    h = math.ldexp(3.0, int(jnp.finfo(value.dtype).maxexp) + 1 - int(math.log2(reach)))
    if isinstance(g, tuple):
        gg = _sum_of_squares(g, unit)
        return gg + 0 * sum((xi * h for xi in x), gg)
    squares = (g * unit) ** 2
    # A sum of finite squares may be infinite: such a |g| is above every tolerance.
    return jnp.sum(squares + 0 * (squares + x * h), axis=0)


def _sum_of_squares(g: Any, unit: Any) -> Array:
    if not isinstance(g, tuple):
        return jnp.sum((g * unit) ** 2, axis=0)  # the last axis, if two, is that of lanes
    first, *others = ((gi * unit) ** 2 for gi in g)
    return sum(others, first)


def limits(gtol: Array, unit: Any, dim: int) -> tuple[Array, Array]:
    """(stops, goes): |unit g|^2 <= `stops` is at most (unit gtol)^2 for sure, one > `goes` above.

    Between them lies what the rounding of a sum may decide, and what may have underflowed.
    """
    square, eps = (gtol * unit) ** 2, float(jnp.finfo(gtol.dtype).eps)
    slack = min(4 * (dim + 8) * eps, 0.5)
    least = float(jnp.finfo(gtol.dtype).tiny) / eps
    stops = jnp.where(square > least, square * (1 - slack), -1.0)
    return stops, jnp.maximum(square * (1 + slack), least)
