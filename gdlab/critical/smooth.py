"""Whether the program of f can jump at all, and whether it brings derivative rules of its own.

Sums, products and elementary functions that are smooth wherever they are finite need no look. What
is left (|x|, max, where, roots, quotients, rounding, rules of the user's own) is sampled by
`breaks.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params

from gdlab import numerics
from gdlab.critical.proof.smoothness import is_smooth_everywhere, known
from gdlab.types import Objective


def is_smooth(objective: Objective) -> bool:
    """Whether the program of f has nothing but operations that are smooth where they are finite."""
    return _looked_at(objective)[0]


def has_rules(objective: Objective) -> bool:
    """Whether f brings derivative rules of its own, stops gradients, or rounds its numbers."""
    return _looked_at(objective)[1]


@numerics.computing()
def _looked_at(objective: Objective) -> tuple[bool, bool]:
    data = objective.data
    shapes = None
    if data is not None:
        names = sorted(data)
        arrays = [np.asarray(data[name]) for name in names]
        shapes = tuple((n, a.shape, a.dtype) for n, a in zip(names, arrays, strict=True))
    return _look(objective.f, objective.dim, shapes)


@lru_cache(maxsize=256)
def _look(f: Callable[..., Any], dim: int, shapes: Any) -> tuple[bool, bool]:
    """Whether the program is smooth, and whether its gradient may be another function's."""
    x = jax.ShapeDtypeStruct((dim,), np.float64)
    if shapes is None:
        jaxpr = jax.make_jaxpr(f)(x).jaxpr
        return is_smooth_everywhere(jaxpr, [True]), _has_rules(jaxpr)
    data = {name: jax.ShapeDtypeStruct(shape, dtype) for name, shape, dtype in shapes}
    jaxpr = jax.make_jaxpr(f)(data, x).jaxpr
    smooth = is_smooth_everywhere(jaxpr, [False] * len(data) + [True], divides=True)
    return smooth, _has_rules(jaxpr)


def _has_rules(jaxpr: Any) -> bool:
    return any(
        _is_rule(eqn) or any(_has_rules(inner) for inner in jaxprs_in_params(eqn.params))
        for eqn in jaxpr.eqns
    )


def _is_rule(eqn: Any) -> bool:
    """Whether the operation's derivative may not be its own: a rule of the user's, or numbers that
    lose digits, which is differentiated as if they did not."""
    name = eqn.primitive.name
    if name == "custom_jvp_call":
        return known(eqn.params["call_jaxpr"]) is None
    if name == "convert_element_type":
        old, new = np.dtype(eqn.invars[0].aval.dtype), np.dtype(eqn.params["new_dtype"])
        return bool(jnp.issubdtype(old, jnp.floating) and new.itemsize < old.itemsize)
    return name.startswith(("custom_jvp", "custom_vjp", "stop_gradient", "reduce_precision"))
