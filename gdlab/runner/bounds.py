"""Bounds on what a traced program computes: one interval for all elements of an array.

A sum, a product and a root are monotone in their arguments, rounding included. Each bound is then
widened by a thousandth of itself: more than XLA's functions err by, and more than a sum changes
with its order or a product that is not rounded before it is added. A bound that is zero stays zero,
since a sign is not lost by rounding. Nothing is said near both ends of the floating-point numbers,
so that products of three are finite too: the compiler writes a / (b / c) as a c / b.

What may be infinite or no number, or has no rule here, is `Unbounded`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr
from jax.lax import GatherScatterMode

Interval = tuple[float, float]

WIDER = 2.0**-10
TRUTH = (0.0, 1.0)
SMALLEST = 1e-30  # a divisor, or the argument of a logarithm: far above underflow in float32 too
BODIES = ("jaxpr", "call_jaxpr")
CALLS = {"jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "checkpoint", "remat"}
CLAMPED = (GatherScatterMode.CLIP, GatherScatterMode.PROMISE_IN_BOUNDS)


MOVES = {
    "broadcast_in_dim", "clamp", "concatenate", "copy", "copy_p",
    "dynamic_slice", "expand_dims", "gather", "pad", "reduce_max", "reduce_min", "reshape", "rev",
    "select_n", "slice", "split", "squeeze", "stack", "stop_gradient", "transpose", "unstack",
}  # fmt: skip

COUNTING = {"add", "mul", "iota", "convert_element_type", *MOVES} - {"gather"}
WHOLE = (-math.inf, math.inf)


class Unbounded(Exception):
    """The program may leave the finite numbers, or has an operation without a rule."""


def bounds(
    jaxpr: Jaxpr, consts: Sequence[Any], inputs: Sequence[Any], wanted: Sequence[bool]
) -> list[Interval | None]:
    """Bounds on the wanted outputs and on all numbers on the way, for inputs within theirs.

    Raises:
        Unbounded: there are none.
    """
    made: dict[Any, Any] = dict(zip(jaxpr.invars, inputs, strict=True))
    made |= {var: _hull(value) for var, value in zip(jaxpr.constvars, consts, strict=True)}

    def read(atom: Any) -> Interval:
        return _hull(atom.val) if hasattr(atom, "val") else made[atom]

    for eqn, needs, uses in _needed(jaxpr, wanted)[0]:
        arguments: list[Any] = [
            read(atom) if use else None for atom, use in zip(eqn.invars, uses, strict=True)
        ]
        out: list[Interval | None]
        if eqn.primitive.name in CALLS:
            body = _body(eqn)
            inner, consts = getattr(body, "jaxpr", body), getattr(body, "consts", ())
            out = bounds(inner, consts, arguments, needs)
        else:
            out = [_bound(eqn, arguments, var.aval.dtype) for var in eqn.outvars]
        made |= {var: one for var, one in zip(eqn.outvars, out, strict=True) if one is not None}
    return [read(atom) if want else None for atom, want in zip(jaxpr.outvars, wanted, strict=True)]


def _needed(
    jaxpr: Jaxpr, wanted: Sequence[bool]
) -> tuple[list[tuple[Any, list[bool], list[bool]]], list[bool]]:
    """The operations that the wanted outputs depend on, with which of their outputs and inputs
    are needed; and which inputs of the whole are."""
    needed = {v for v, want in zip(jaxpr.outvars, wanted) if want and not hasattr(v, "val")}
    kept = []
    for eqn in reversed(jaxpr.eqns):
        needs = [v in needed for v in eqn.outvars]
        if any(needs):
            uses = [True] * len(eqn.invars)
            if eqn.primitive.name in CALLS:
                body = _body(eqn)
                uses = _needed(getattr(body, "jaxpr", body), needs)[1]
            kept.append((eqn, needs, uses))
            used = [v for v, use in zip(eqn.invars, uses, strict=True) if use]
            needed |= {v for v in used if not hasattr(v, "val")}
    return kept[::-1], [v in needed for v in jaxpr.invars]


def _body(eqn: Any) -> Any:
    return next(eqn.params[k] for k in BODIES if k in eqn.params)


def _hull(value: Any) -> Interval:
    """The least and the largest number of a constant."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or not array.size or not np.isfinite(array).all():
        raise Unbounded(f"the constant {value}")
    return float(array.min()), float(array.max())


def _bound(eqn: Any, arguments: Sequence[Interval], dtype: Any) -> Interval:
    """The bound on what one operation gives."""
    if dtype == np.bool_:
        return TRUTH
    name = eqn.primitive.name
    rule = RULES.get(name)
    if jnp.issubdtype(dtype, jnp.integer):  # never infinite; an index, or a number on its way
        low, high = rule(eqn, arguments) if rule is not None and name in COUNTING else WHOLE
        if max(-low, high) <= min(float(jnp.iinfo(dtype).max), 2.0**52) and low >= 0:
            return low, high
        return float(jnp.iinfo(dtype).min), float(jnp.iinfo(dtype).max)
    if rule is None or dtype not in (np.float64, np.float32) or _is_empty(eqn):
        raise Unbounded(f"{name} of {dtype}")
    low, high = rule(eqn, arguments)
    low, high = low - abs(low) * WIDER, high + abs(high) * WIDER
    most = float(jnp.finfo(dtype).max) ** (1 / 3)
    if not -most <= low <= high <= most:  # false of what is no number
        raise Unbounded(f"{name} gives up to {max(-low, high):g}")
    return low, high


def _is_empty(eqn: Any) -> bool:
    return any(not atom.aval.size for atom in eqn.invars)


def _of(f: Callable[..., Interval]) -> Callable[[Any, Sequence[Interval]], Interval]:
    """A rule of the arguments alone."""
    return lambda _, arguments: f(*arguments)


def _rising(f: Callable[[float], float]) -> Callable[[Any, Sequence[Interval]], Interval]:
    """The rule of a rising function of one argument."""

    def rule(a: Interval) -> Interval:
        try:
            return f(a[0]), f(a[1])
        except (OverflowError, ValueError):
            raise Unbounded(f"{f.__name__} from {a[0]:g} to {a[1]:g}") from None

    return _of(rule)


def _within(low: float, high: float) -> Callable[[Any, Sequence[Interval]], Interval]:
    """The rule of a function whose values are bounded."""
    return lambda *_: (low, high)


def _times(a: Interval, b: Interval) -> Interval:
    products = [x * y for x in a for y in b]
    return min(products), max(products)


def _product(eqn: Any, arguments: Sequence[Interval]) -> Interval:
    a, b = arguments
    return _power(a, 2) if eqn.invars[0] is eqn.invars[1] else _times(a, b)


def _power(a: Interval, n: int) -> Interval:
    try:
        low, high = a if n % 2 else _size(a)
        return low**n, high**n
    except OverflowError:
        raise Unbounded(f"{max(-a[0], a[1]):g}^{n}") from None


def _integer_power(eqn: Any, arguments: Sequence[Interval]) -> Interval:
    (a,), n = arguments, eqn.params["y"]
    return _power(a, n) if n >= 0 else _reciprocal(_power(_far(a), -n))


def _real_power(a: Interval, b: Interval) -> Interval:
    """a^b for a > 0, or a >= 0 and b >= 0; |b| at most 64."""
    if not (a[0] >= 0 and max(map(abs, b)) <= 64) or (b[0] < 0 and a[0] < SMALLEST):
        raise Unbounded("a power of what may be negative")
    try:
        return 0.0, max(x**y for x in (a[0], a[1], 1.0) for y in b)
    except (OverflowError, ZeroDivisionError):
        raise Unbounded("a power") from None


def _far(a: Interval) -> Interval:
    """a, if it is far from zero."""
    if not (a[0] >= SMALLEST or a[1] <= -SMALLEST):
        raise Unbounded("a division by what may be zero")
    return a


def _reciprocal(a: Interval) -> Interval:
    low, high = _far(a)
    return 1 / high, 1 / low


def _quotient(a: Interval, b: Interval) -> Interval:
    ends = [x / y for x in a for y in _far(b)]
    return min(ends), max(ends)


def _log(x: float) -> float:
    return math.log(x if x >= SMALLEST else -1)  # an error where it is not far from zero


def _log1p(x: float) -> float:
    return math.log1p(x if x >= -0.5 else -2)


def _size(a: Interval) -> Interval:
    return (0.0 if a[0] <= 0 <= a[1] else min(map(abs, a))), max(map(abs, a))


def _total(a: Interval, n: int, dtype: Any) -> Interval:
    """The sum of n numbers, in any order: rounding adds less than the sum itself."""
    if n * float(jnp.finfo(dtype).eps) > 0.25:
        raise Unbounded(f"a sum of {n}")
    return (a[0] if a[0] > 0 else 2 * n * a[0]), (a[1] if a[1] < 0 else 2 * n * a[1])


def _sum(eqn: Any, arguments: Sequence[Interval]) -> Interval:
    return _total(arguments[0], eqn.invars[0].aval.size, eqn.invars[0].aval.dtype)


def _dot(eqn: Any, arguments: Sequence[Interval]) -> Interval:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    left = eqn.invars[0].aval
    n = math.prod(left.shape[i] for i in contracted)
    product = _product(eqn, arguments) if left.ndim == 1 else _times(*arguments)
    return _total(product, n, eqn.outvars[0].aval.dtype)


def _factors(eqn: Any, arguments: Sequence[Interval]) -> Interval:
    """A product of all elements."""
    size, n = max(map(abs, arguments[0])), eqn.invars[0].aval.size
    if n > 64:
        raise Unbounded(f"a product of {n}")
    most = _power((0.0, max(size, 1.0)), n)[1]
    return -most, most


def _hull_of(*parts: Interval) -> Interval:
    return min(a[0] for a in parts), max(a[1] for a in parts)


def _moved(eqn: Any, arguments: Sequence[Interval]) -> Interval:
    """Numbers of the arguments, elsewhere."""
    name = eqn.primitive.name
    if name == "gather" and eqn.params["mode"] not in CLAMPED:
        raise Unbounded("gather beyond the array")
    if name in ("gather", "dynamic_slice"):  # the others say where
        return arguments[0]
    return _hull_of(*(arguments[1:] if name == "select_n" else arguments))


def _inverse_root(a: Interval) -> Interval:
    if a[0] < SMALLEST:
        raise Unbounded("a root of what may be zero")
    return 1 / math.sqrt(a[1]), 1 / math.sqrt(a[0])


def _counted(eqn: Any, _: Sequence[Interval]) -> Interval:
    return 0.0, float(eqn.params["shape"][eqn.params["dimension"]])


def _converted(eqn: Any, arguments: Sequence[Interval]) -> Interval:
    a, kinds = arguments[0], (eqn.invars[0].aval.dtype, eqn.params["new_dtype"])
    if all(jnp.issubdtype(kind, jnp.floating) for kind in kinds):
        return a
    return _whole(a)


def _whole(a: Interval) -> Interval:
    return float(math.floor(a[0])), float(math.ceil(a[1]))


RULES: Mapping[str, Callable[[Any, Sequence[Interval]], Interval]] = {
    **dict.fromkeys(("add", "add_any"), _of(lambda a, b: (a[0] + b[0], a[1] + b[1]))),
    "sub": _of(lambda a, b: (a[0] - b[1], a[1] - b[0])),
    "neg": _of(lambda a: (-a[1], -a[0])),
    "mul": _product,
    "div": _of(_quotient),
    "integer_pow": _integer_power,
    "square": _of(lambda a: _power(a, 2)),
    "pow": _of(_real_power),
    "abs": _of(_size),
    "max": _of(lambda a, b: (max(a[0], b[0]), max(a[1], b[1]))),
    "min": _of(lambda a, b: (min(a[0], b[0]), min(a[1], b[1]))),
    "sign": _within(-1, 1),
    "exp": _rising(math.exp),
    "exp2": _rising(math.exp2),
    "expm1": _rising(math.expm1),
    "log": _rising(_log),
    "log1p": _rising(_log1p),
    "sqrt": _rising(math.sqrt),
    "cbrt": _rising(math.cbrt),
    "rsqrt": _of(_inverse_root),
    "logistic": _within(0, 1),
    **dict.fromkeys(("tanh", "erf", "sin", "cos"), _within(-1, 1)),
    "erfc": _within(0, 2),
    "atan": _within(-1.6, 1.6),
    "atan2": _within(-3.2, 3.2),
    **dict.fromkeys(("floor", "ceil", "round"), _of(_whole)),
    "reduce_prod": _factors,
    "reduce_sum": _sum,
    "cumsum": _sum,
    "dot_general": _dot,
    "iota": _counted,
    "convert_element_type": _converted,
    **dict.fromkeys(MOVES, _moved),
}
