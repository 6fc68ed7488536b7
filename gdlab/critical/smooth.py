"""Whether the program of f can jump at all, and whether it brings derivative rules of its own.

Sums, products and elementary functions that are smooth wherever they are finite need no look. What
is left (|x|, max, where, roots, quotients, rounding, rules of the user's own) is sampled by
`breaks.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax.extend.core import jaxprs_in_params

from gdlab import numerics
from gdlab.types import Objective

SMOOTH = {
    "add", "add_any", "sub", "mul", "neg", "square", "exp", "exp2", "expm1", "sin", "cos", "tanh",
    "logistic", "sinh", "cosh", "asinh", "atan", "erf", "erfc", "dot_general", "reduce_sum",
    "reduce_prod", "cumsum", "cumprod", "conv_general_dilated", "broadcast_in_dim", "concatenate",
    "copy", "copy_p", "dynamic_slice", "expand_dims", "pad", "reshape", "rev", "slice", "split",
    "squeeze", "stack", "transpose", "unstack",
}  # fmt: skip
CALLS = {"closed_call", "core_call", "jit", "pjit", "remat", "checkpoint", "custom_lin"}


def is_smooth(objective: Objective) -> bool:
    """Whether the program of f has nothing but operations that are smooth where they are finite."""
    return _looked_at(objective)[0]


def has_rules(objective: Objective) -> bool:
    """Whether the program of f brings derivative rules of its own, or stops gradients."""
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
    """Whether the program is smooth, and whether it has rules of its own."""
    x = jax.ShapeDtypeStruct((dim,), np.float64)
    if shapes is None:
        jaxpr = jax.make_jaxpr(f)(x).jaxpr
        return _walk(jaxpr, [True])[0], _has_rules(jaxpr)
    data = {name: jax.ShapeDtypeStruct(shape, dtype) for name, shape, dtype in shapes}
    jaxpr = jax.make_jaxpr(f)(data, x).jaxpr
    return _walk(jaxpr, [False] * len(data) + [True])[0], _has_rules(jaxpr)


def _has_rules(jaxpr: Any) -> bool:
    return any(
        name.startswith(("custom_jvp", "custom_vjp", "stop_gradient"))
        or any(_has_rules(inner) for inner in jaxprs_in_params(eqn.params))
        for eqn in jaxpr.eqns
        for name in (eqn.primitive.name,)
    )


def _walk(jaxpr: Any, depends: Sequence[bool]) -> tuple[bool, list[bool]]:
    """Whether all operations on what depends on x are smooth, and which outputs depend on x."""
    moving = {v for v, d in zip(jaxpr.invars, depends, strict=True) if d}

    def moves(v: Any) -> bool:
        return not hasattr(v, "val") and v in moving  # literals have a value

    for eqn in jaxpr.eqns:
        inputs, name = [moves(v) for v in eqn.invars], eqn.primitive.name
        if not any(inputs):
            continue
        if name in CALLS:
            inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
            smooth, out = _walk(getattr(inner, "jaxpr", inner), inputs)
            if not smooth:
                return False, []
            moving.update(v for v, d in zip(eqn.outvars, out, strict=True) if d)
        else:
            smooth = name in SMOOTH
            smooth |= name == "div" and not inputs[1]
            smooth |= name == "integer_pow" and eqn.params["y"] >= 0
            smooth |= name in ("gather", "dynamic_slice") and not any(inputs[1:])
            moving.update(eqn.outvars)
        if not smooth:
            return False, []
    return True, [moves(v) for v in jaxpr.outvars]
