"""The interval form of each operation, by its name in a jaxpr.

`NAMES` is the list of all that is known. What is not in it has no interval form, and nothing is
proved of a function that uses it. An operation that only moves numbers about is carried out once
on their positions (`moves.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gdlab.critical.proof import interval as iv
from gdlab.critical.proof.interval import Interval
from gdlab.critical.proof.moves import dot_general, moved, placed


class NotCertifiable(Exception):
    """The function uses an operation that has no interval form here."""


def _erf(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf  # takes 0.1 s to import, and few objectives use it

    return np.asarray(erf(x))


MOVES = {
    "broadcast_in_dim", "copy", "copy_p", "dynamic_slice", "expand_dims", "gather", "reshape",
    "rev", "slice", "squeeze", "transpose", "reduce_precision",
    "concatenate", "pad", "stack", "split", "unstack",
}  # fmt: skip
CALLS = {
    "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "jit", "pjit", "remat",
    "remat2", "checkpoint", "custom_vjp_call_jaxpr",
}  # fmt: skip
BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")
HALF_PI = np.float64(math.pi / 2 - 1e-15), np.float64(math.pi / 2 + 1e-15)
UNARY: Mapping[str, Callable[[Interval], Interval]] = {
    "neg": iv.neg,
    "exp": iv.exp,
    "exp2": iv.exp2,
    "expm1": iv.expm1,
    "log": iv.log,
    "log1p": iv.log1p,
    "tanh": iv.tanh,
    "logistic": iv.logistic,
    "erf": iv.monotone(_erf, -1.0, 1.0),
    "sin": iv.sin,
    "cos": iv.cos,
    "atan": iv.atan,
    "asin": iv.asin,
    "acos": lambda a: iv.sub(Interval(*HALF_PI), iv.asin(a)),
    "asinh": iv.asinh,
    "acosh": iv.acosh,
    "atanh": iv.atanh,
    "cbrt": iv.cbrt,
    "sqrt": iv.sqrt,
    "rsqrt": lambda a: iv.reciprocal(iv.sqrt(a)),
    "abs": iv.absolute,
    "sign": iv.sign,
    "floor": lambda a: Interval(np.floor(a.lo), np.floor(a.hi)),
    "ceil": lambda a: Interval(np.ceil(a.lo), np.ceil(a.hi)),
    "square": lambda a: iv.power(a, 2),
    "tan": lambda a: iv.div(iv.sin(a), iv.cos(a)),
    "sinh": lambda a: iv.mul(iv.exact(np.float64(0.5)), iv.sub(iv.exp(a), iv.exp(iv.neg(a)))),
    "cosh": lambda a: iv.maximum(
        iv.mul(iv.exact(np.float64(0.5)), iv.add(iv.exp(a), iv.exp(iv.neg(a)))),
        iv.exact(np.float64(1.0)),
    ),
    "not": lambda a: Interval(~a.hi, ~a.lo),  # of booleans: integers are refused
    "is_finite": lambda a: Interval(
        np.isfinite(a.lo) & np.isfinite(a.hi), ~(nonfinite(a) & np.ones_like(a.lo, bool))
    ),
}
COMPARISONS: Mapping[str, Callable[[Interval, Interval], Interval]] = {
    "gt": lambda a, b: Interval(a.lo > b.hi, a.hi > b.lo),
    "ge": lambda a, b: Interval(a.lo >= b.hi, a.hi >= b.lo),
    "lt": lambda a, b: Interval(a.hi < b.lo, a.lo < b.hi),
    "le": lambda a, b: Interval(a.hi <= b.lo, a.lo <= b.hi),
    "eq": lambda a, b: Interval(same(a, b), (a.lo <= b.hi) & (b.lo <= a.hi)),
    "ne": lambda a, b: Interval(~((a.lo <= b.hi) & (b.lo <= a.hi)), ~same(a, b)),
}
BINARY: Mapping[str, Callable[[Interval, Interval], Interval]] = {
    "add": iv.add,
    "add_any": iv.add,
    "sub": iv.sub,
    "mul": iv.mul,
    "div": iv.div,
    "max": iv.maximum,
    "min": iv.minimum,
    "and": lambda a, b: Interval(a.lo & b.lo, a.hi & b.hi),
    "or": lambda a, b: Interval(a.lo | b.lo, a.hi | b.hi),
    **COMPARISONS,
}
REDUCTIONS: Mapping[str, Callable[..., Any]] = {
    "reduce_max": np.max,
    "reduce_min": np.min,
    "reduce_and": np.all,
    "reduce_or": np.any,
}
ELEMENTWISE = {*UNARY, *BINARY, "integer_pow", "pow", "round", "convert_element_type", "select_n"}
NAMES = {*ELEMENTWISE, *MOVES, *REDUCTIONS, "reduce_sum", "reduce_prod", "dot_general", "iota"}
# Arithmetic of integers is done in float64, where it is exact up to 2^53.
COUNTING = {"add", "sub", "mul", "neg", "abs", "sign", "square", "integer_pow", "reduce_sum"}
INTEGERS = {
    *COUNTING, *MOVES, "max", "min", "reduce_max", "reduce_min", "select_n", "iota",
    "convert_element_type",
}  # fmt: skip
# These take infinity and NaN as they are; all others would spoil an enclosure with them.
TAKE_NONFINITE = {
    *MOVES, *COMPARISONS, "select_n", "is_finite", "max", "min", "reduce_max", "reduce_min",
}  # fmt: skip
LARGEST = 2.0**51


def same(a: Interval, b: Interval) -> np.ndarray:
    """Whether both are one number, the same."""
    return np.asarray((a.lo == a.hi) & (b.lo == b.hi) & (a.lo == b.lo))


def nonfinite(a: Interval) -> np.ndarray:
    """Which elements are infinity or NaN themselves, not intervals that reach to infinity."""
    if np.asarray(a.lo).dtype.kind in "biu":
        return np.zeros(np.shape(a.lo), bool)
    return np.asarray(np.isnan(a.lo) | np.isnan(a.hi) | (a.lo == a.hi) & np.isinf(a.lo))


def ranked(inputs: list[Interval]) -> list[Interval]:
    """Scalars of each box beside arrays of each box."""
    if len(inputs) == 2 and inputs[0] is inputs[1]:
        return inputs
    rank = max(len(a.shape) for a in inputs)
    if all(a.level is None and isinstance(a.lo, np.ndarray) and a.lo.ndim == rank for a in inputs):
        return inputs

    def lift(x: Any) -> Any:
        return None if x is None else x.reshape(*x.shape, *(1,) * (rank - x.ndim))

    return [Interval(lift(np.asarray(a.lo)), lift(np.asarray(a.hi)), lift(a.level)) for a in inputs]


def apply(eqn: Any, inputs: list[Interval]) -> list[Interval]:
    """The outputs of one operation of `NAMES`.

    Raises:
        NotCertifiable: its form depends on numbers that have no place in a proof.
    """
    name, params = eqn.primitive.name, eqn.params
    if name in COUNTING and np.asarray(inputs[0].lo).dtype.kind in "iu":
        return [_counted(eqn, inputs)]
    if name in ("eq", "ne") and eqn.invars[0] is eqn.invars[1]:  # asks whether it is a number
        return [_is_number(inputs[0]) if name == "eq" else UNARY["not"](_is_number(inputs[0]))]
    if name in BINARY:
        return [BINARY[name](*ranked(inputs))]
    if name in UNARY:
        return [UNARY[name](inputs[0])]
    if name in ("concatenate", "pad", "stack"):
        return [placed(eqn, inputs)]
    if name == "unstack":
        axis = params["axis"] + 1
        parts = np.moveaxis(inputs[0].lo, axis, 0), np.moveaxis(inputs[0].hi, axis, 0)
        return [Interval(lo, hi) for lo, hi in zip(*parts, strict=True)]
    if name == "split":
        axis, ends = params["axis"] + 1, np.cumsum(params["sizes"])[:-1]
        halves = np.split(inputs[0].lo, ends, axis), np.split(inputs[0].hi, ends, axis)
        return [Interval(lo, hi) for lo, hi in zip(*halves, strict=True)]
    if name in MOVES:
        for index in inputs[1:]:
            if index.shape[0] != 1 or not np.array_equal(index.lo, index.hi):
                raise NotCertifiable(f"{name} with computed indices")
        out = moved(eqn, inputs)
        if out is None:
            raise NotCertifiable(f"{name} beyond the array")
        return [out]
    if name == "integer_pow":
        return [iv.power(inputs[0], params["y"])]
    if name == "pow":
        return [_pow(*ranked(inputs))]
    if name == "round":
        nearest = np.rint if int(params["rounding_method"]) == 1 else _away_from_zero
        return [Interval(nearest(inputs[0].lo), nearest(inputs[0].hi))]
    if name == "convert_element_type":
        return [_converted(inputs[0], np.dtype(params["new_dtype"]))]
    if name == "select_n":
        if len(inputs) != 3:
            raise NotCertifiable("a choice of more than two")
        return [iv.choose(*ranked(inputs))]
    if name == "reduce_sum":
        return [iv.total(inputs[0], tuple(int(a) + 1 for a in params["axes"]))]
    if name == "reduce_prod":
        return [iv.multiplied(inputs[0], tuple(int(a) + 1 for a in params["axes"]))]
    if name in REDUCTIONS:
        axes, most = tuple(int(a) + 1 for a in params["axes"]), REDUCTIONS[name]
        return [Interval(most(inputs[0].lo, axis=axes), most(inputs[0].hi, axis=axes))]
    if name == "dot_general":
        return [dot_general(inputs[0], inputs[1], params["dimension_numbers"])]
    if name == "iota":
        return [iv.exact(np.asarray(eqn.primitive.bind(**params))[None])]
    raise NotCertifiable(name)


def _is_number(a: Interval) -> Interval:
    """Whether a = a: undecided where a is unbounded, as inf - inf is."""
    lo, hi = np.asarray(a.lo), np.asarray(a.hi)
    if lo.dtype.kind != "f":
        return iv.exact(np.ones_like(lo, bool))
    sure = np.isfinite(lo) & np.isfinite(hi) | (lo == hi)
    return Interval(sure, ~(np.isnan(lo) & np.isnan(hi)))


def _counted(eqn: Any, inputs: list[Interval]) -> Interval:
    """Arithmetic of integers, as long as none of them can leave its type."""
    dtype = np.dtype(eqn.outvars[0].aval.dtype)
    floats = [Interval(np.asarray(a.lo, float), np.asarray(a.hi, float)) for a in inputs]
    (out,) = apply(eqn, floats)
    most, least = min(LARGEST, np.iinfo(dtype).max), max(-LARGEST, np.iinfo(dtype).min)
    numbers = [*floats, out]
    if not all(np.all((a.lo >= -LARGEST) & (a.hi <= LARGEST)) for a in numbers) or not np.all(
        (np.rint(out.lo) >= least) & (np.rint(out.hi) <= most)
    ):
        raise NotCertifiable(f"{dtype} numbers as large as their type")
    return Interval(np.rint(out.lo).astype(dtype), np.rint(out.hi).astype(dtype))


def _pow(a: Interval, b: Interval) -> Interval:
    """a^b = exp(b log a) for a >= 0; integer b as a power."""
    n = whole(b)
    if n is not None:
        return iv.power(a, n)
    out = iv.exp(iv.mul(b, iv.log(a)))
    return Interval(np.where(a.lo < 0, -np.inf, out.lo), np.where(a.lo < 0, np.inf, out.hi))


def whole(b: Interval) -> int | None:
    """The integer that an exponent is, if it is one for all boxes."""
    lo, hi = np.ravel(b.lo), np.ravel(b.hi)
    fine = lo.size and np.all(lo == lo[0]) and np.all(hi == lo[0]) and abs(lo[0]) < 64
    return int(lo[0]) if fine and lo[0] == int(lo[0]) else None


def _away_from_zero(x: np.ndarray) -> np.ndarray:
    down = np.floor(np.abs(x))
    return np.copysign(down + (np.abs(x) - down >= 0.5), x)


def _converted(a: Interval, dtype: np.dtype) -> Interval:
    lo, hi = np.asarray(a.lo), np.asarray(a.hi)
    if lo.dtype == dtype:
        return Interval(lo, hi)
    if dtype.kind == "b":
        zero = (lo <= 0) & (hi >= 0)
        return Interval(~zero, ~(zero & (lo == hi)))
    if dtype.kind == "f":
        if lo.dtype.kind in "iu" and np.any((np.abs(lo) > LARGEST) | (np.abs(hi) > LARGEST)):
            return iv.outward(lo.astype(dtype), hi.astype(dtype))
        return Interval(lo.astype(dtype), hi.astype(dtype))
    most = min(LARGEST, float(np.iinfo(dtype).max))
    least = max(-LARGEST, float(np.iinfo(dtype).min))
    down, up = np.trunc(lo.astype(float)), np.trunc(hi.astype(float))
    fits = (down >= least) & (up <= most)  # what does not fit may become anything
    return Interval(
        np.where(fits, down, least).astype(dtype), np.where(fits, up, most).astype(dtype)
    )
