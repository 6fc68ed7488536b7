"""Whether f is smooth on a box, from the operations that it consists of.

Each intermediate result has a level on the box, element by element:

    SMOOTH  all operations so far are infinitely differentiable throughout;
    KINK    continuous, but a branch of |a|, max or a root may change within the box;
    POLE    it may be infinite or undefined somewhere within (1/a, log a), smooth elsewhere;
    JUMP    a choice, comparison, sign or rounding may change within the box.

The gradient that JAX differentiates knows nothing of a jump of f, nor the Hessian of one of the
gradient (the derivative of a choice is 0 to it). A critical point is therefore proved where f is
SMOOTH alone. A box without one is recognised by its gradient up to POLE: the enclosures of sign(a)
and of both branches hold all generalized gradients (F. H. Clarke, Optimization and Nonsmooth
Analysis, 1983, thm. 2.3.9), so that where they exclude zero there is no extremum at a kink either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gdlab.critical.proof.interval import Interval
from gdlab.critical.proof.primitives import (
    BODIES,
    CALLS,
    COMPARISONS,
    ELEMENTWISE,
    MOVES,
    ranked,
    whole,
)
from gdlab.objectives.softplus import softplus

SMOOTH, KINK, POLE, JUMP = 0, 1, 2, 3
WORDS = ("smooth", "a kink", "a pole", "a jump")
ENTIRE = {
    "neg", "exp", "exp2", "expm1", "tanh", "logistic", "erf", "erfc", "sin", "cos", "atan",
    "square", "sinh", "cosh", "add", "add_any", "sub", "mul", "asinh", "reduce_sum", "reduce_prod",
    "cumsum", "cumprod", "dot_general", "conv_general_dilated",
    *(MOVES - {"reduce_precision"}),
}  # fmt: skip
ZERO = -1e-290  # a sum of squares that is rounded outward may begin a little below 0
# Smooth functions whose bodies are not: the kinks of |a| and max(a, b) cancel.
KNOWN: tuple[Callable[..., Any], ...] = (jnp.logaddexp, softplus)


def known(body: Any) -> Callable[..., Any] | None:
    """The function of `KNOWN` that the body is, operation for operation."""
    types = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in body.in_avals]
    for function in KNOWN:
        try:
            (eqn,) = jax.make_jaxpr(function)(*types).jaxpr.eqns
        except (TypeError, ValueError):  # it takes other arguments
            continue
        if str(eqn.params.get("call_jaxpr")) == str(body):
            return function
    return None


def is_smooth_everywhere(jaxpr: Any, depends: Sequence[bool], divides: bool = False) -> bool:
    """Whether whatever depends on x is made by entire functions.

    Args:
        depends: which of the program's arguments depend on x.
        divides: whether to believe that data by which f divides are not zero.
    """
    return _walk(jaxpr, depends, divides) is not None


def _walk(jaxpr: Any, depends: Sequence[bool], divides: bool) -> list[bool] | None:
    """Which outputs depend on x; None where they may not be smooth."""
    moving = {id(v) for v, moves in zip(jaxpr.invars, depends, strict=True) if moves}
    for eqn in jaxpr.eqns:
        inputs, name = [id(atom) in moving for atom in eqn.invars], eqn.primitive.name
        if not any(inputs):
            continue
        outputs: list[bool] | None = [True] * len(eqn.outvars)
        if name == "custom_jvp_call":
            fine = known(eqn.params["call_jaxpr"]) is not None
        elif name in CALLS and not name.startswith("custom"):
            body = next(eqn.params[k] for k in BODIES if k in eqn.params)
            outputs = _walk(getattr(body, "jaxpr", body), inputs, divides)
            fine = outputs is not None
        else:
            fine = _is_entire(eqn, inputs, divides)
        if not fine or outputs is None:
            return None
        moving |= {id(v) for v, moves in zip(eqn.outvars, outputs, strict=True) if moves}
    return [id(atom) in moving for atom in jaxpr.outvars]


def _is_entire(eqn: Any, depends: Sequence[bool], divides: bool) -> bool:
    """Whether one operation is entire in those of its arguments that depend on x."""
    name = eqn.primitive.name
    if name in ("gather", "dynamic_slice"):
        return not any(depends[1:])
    if name == "integer_pow":
        return bool(eqn.params["y"] >= 0)
    if name == "div":
        divisor = getattr(eqn.invars[1], "val", None)
        not_zero = divides if divisor is None else bool(np.all(divisor != 0))
        return not depends[1] and not_zero
    return name in ENTIRE


def levelled(eqn: Any, inputs: list[Interval], outputs: list[Interval]) -> list[Interval]:
    """The outputs with their levels; a condition on what may be undefined is undecided."""
    name = eqn.primitive.name
    if name not in ELEMENTWISE and name != "custom_jvp_call":
        worst = _of_box(inputs)
        if name in ("reduce_max", "reduce_min") and outputs[0].lo.dtype.kind == "f":
            worst = _higher(worst, _of_box([Interval(0, 0, _extreme(eqn, inputs[0], outputs[0]))]))
        return [
            out if worst is None or np.asarray(out.lo).dtype.kind != "f"
            else Interval(out.lo, out.hi, worst.reshape(-1, *(1,) * (len(out.shape) - 1)))
            for out in outputs
        ]  # fmt: skip
    (out,), inputs = outputs, ranked(inputs)
    levels = [a.level for a in inputs if a.level is not None]
    worst = reduce(np.maximum, levels) if levels else None
    if np.asarray(out.lo).dtype.kind != "f":
        if worst is None or not (
            name in COMPARISONS or name in ("is_finite", "convert_element_type")
        ):
            return outputs
        lost = worst >= POLE
        if out.lo.dtype.kind == "b":
            return [Interval(out.lo & ~lost, out.hi | lost)]
        wide = np.iinfo(out.lo.dtype)
        return [Interval(np.where(lost, wide.min, out.lo), np.where(lost, wide.max, out.hi))]
    if name == "select_n":
        return [Interval(out.lo, out.hi, _choice(*inputs))]
    if name in ("max", "min"):
        return [Interval(out.lo, out.hi, _larger(name, inputs, worst))]
    level = worst
    if worst is not None:  # an infinite value that is finite again: of unknown continuity
        bounded = np.isfinite(out.lo) & np.isfinite(out.hi)
        level = np.where((worst == POLE) & bounded, JUMP, worst)
    return [Interval(out.lo, out.hi, _higher(level, _fresh(eqn, inputs, out)))]


def _fresh(eqn: Any, inputs: list[Interval], out: Interval) -> np.ndarray | None:
    """What the operation itself adds; None: nothing."""
    name, a, b = eqn.primitive.name, inputs[0], inputs[-1]

    def where(condition: Any, level: int) -> np.ndarray:
        return np.where(condition, level, SMOOTH)

    if name in ("sign", "floor", "ceil", "round"):
        return where(out.lo != out.hi, JUMP)
    if name == "convert_element_type" and np.asarray(a.lo).dtype.kind != "f":
        return where(a.lo != a.hi, JUMP)
    if name == "abs":
        return where((a.lo < 0) & (a.hi > 0), KINK)
    if name == "cbrt":
        return where((a.lo <= 0) & (a.hi >= 0), KINK)
    if name == "sqrt":
        return np.where(a.lo > 0, SMOOTH, np.where(a.lo >= ZERO, KINK, POLE))
    if name in ("log", "rsqrt"):
        return where(~(a.lo > 0), POLE)
    if name == "log1p":
        return where(~(a.lo > -1), POLE)
    if name == "acosh":
        return where(~(a.lo > 1), POLE)
    if name in ("asin", "acos", "atanh"):
        return where(~((a.lo > -1) & (a.hi < 1)), POLE)
    if name == "tan":
        return where(~np.isfinite(out.lo) | ~np.isfinite(out.hi), POLE)
    if name == "div":
        return where((b.lo <= 0) & (b.hi >= 0), POLE)
    n = eqn.params["y"] if name == "integer_pow" else whole(b) if name == "pow" else 0
    if name == "pow" and n is None:
        root = (a.lo >= ZERO) & (b.lo > 0)
        return np.where(a.lo > 0, SMOOTH, np.where(root, KINK, POLE))
    if n is not None and n < 0:
        return where((a.lo <= 0) & (a.hi >= 0), POLE)
    return None


def _choice(which: Interval, false: Interval, true: Interval) -> np.ndarray | None:
    """The level of the branch taken; a jump where either may be, unless both are one constant."""
    open_ = np.asarray(which.lo != which.hi)
    if not open_.any() and false.level is None and true.level is None:
        return None
    no, yes = (0 if a.level is None else a.level for a in (false, true))
    alike = (false.lo == true.hi) & (false.hi == true.lo)
    worst = np.maximum(no, yes)
    return np.where(open_, np.where(alike, worst, JUMP), np.where(which.lo, yes, no))


def _larger(name: str, inputs: list[Interval], worst: np.ndarray | None) -> np.ndarray | None:
    """The level of the larger (smaller) one; a kink where it may be either."""
    a, b = inputs
    first, second = (a.lo >= b.hi, b.lo >= a.hi) if name == "max" else (a.hi <= b.lo, b.hi <= a.lo)
    if worst is None:
        return None if np.all(first | second) else np.where(first | second, SMOOTH, KINK)
    one, two = (0 if x.level is None else x.level for x in (a, b))
    taken = np.where(first, one, np.where(second, two, np.maximum(worst, KINK)))
    return np.where(worst >= POLE, worst, taken)


def _extreme(eqn: Any, a: Interval, out: Interval) -> np.ndarray:
    """A kink where more than one element may be the largest (smallest)."""
    axes = tuple(int(i) + 1 for i in eqn.params["axes"])
    kept = [1 if i in axes else n for i, n in enumerate(a.shape)]
    if eqn.primitive.name == "reduce_max":
        may = a.hi >= np.reshape(out.lo, [-1, *kept[1:]])
    else:
        may = a.lo <= np.reshape(out.hi, [-1, *kept[1:]])
    return np.where(may.sum(axis=axes) > 1, KINK, SMOOTH)


def _of_box(inputs: list[Interval]) -> np.ndarray | None:
    """The highest level among all elements, `[B]`."""
    levels = [
        np.asarray(a.level).reshape(len(a.level), -1).max(axis=1, initial=0)
        for a in inputs
        if a.level is not None
    ]
    return reduce(np.maximum, levels) if levels else None


def _higher(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
    return b if a is None else a if b is None else np.maximum(a, b)
