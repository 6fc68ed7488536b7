"""Interval arithmetic with outward rounding, over many boxes at once.

An interval [lo, hi] holds every value that the exact quantity may have. The leading axis of both
arrays counts boxes (1: the same for all). Each operation rounds to nearest and then steps
outward,

    lo - |lo| 2^-52 - tiny,    hi + |hi| 2^-52 + tiny,

which covers the half unit in the last place that rounding may have cost, and underflow
(tiny = 1e-300). Elementary functions, which NumPy returns to a few units in the last place, step
`ULPS` times as far.

Reference: R. E. Moore, R. B. Kearfott, M. J. Cloud, Introduction to Interval Analysis, 2009.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

EPS, TINY, ULPS = 2.0**-52, 1e-300, 16.0


class Interval:
    """lo <= hi elementwise; booleans are intervals too (False < True).

    Attributes:
        level: how smooth it is as a function on the box (`smoothness.py`); None: smooth, or not
            asked.
    """

    __slots__ = ("hi", "level", "lo")

    def __init__(self, lo: Any, hi: Any, level: Any = None) -> None:
        self.lo, self.hi, self.level = lo, hi, level

    @property
    def mid(self) -> np.ndarray:
        return 0.5 * self.lo + 0.5 * self.hi

    @property
    def shape(self) -> tuple[int, ...]:
        return np.shape(self.lo)


def exact(a: Any) -> Interval:
    """The interval of one number."""
    return Interval(a, a)


def outward(lo: np.ndarray, hi: np.ndarray, ulps: float = 1.0) -> Interval:
    """Steps outward; what is not a number may be anything."""
    if np.result_type(lo).kind != "f":  # integers and booleans are exact
        return Interval(lo, hi)
    lo = lo - (np.abs(lo) * (EPS * ulps) + TINY)
    hi = hi + (np.abs(hi) * (EPS * ulps) + TINY)
    return Interval(np.where(np.isnan(lo), -np.inf, lo), np.where(np.isnan(hi), np.inf, hi))


def add(a: Interval, b: Interval) -> Interval:
    return outward(a.lo + b.lo, a.hi + b.hi)


def sub(a: Interval, b: Interval) -> Interval:
    return outward(a.lo - b.hi, a.hi - b.lo)


def neg(a: Interval) -> Interval:
    return Interval(-a.hi, -a.lo)


def mul(a: Interval, b: Interval) -> Interval:
    """a b; the square, which is tighter, where both are the same."""
    if a is b:
        return power(a, 2)
    products = [a.lo * b.lo, a.lo * b.hi, a.hi * b.lo, a.hi * b.hi]
    if any(np.isnan(p).any() for p in products):  # 0 times infinity: the exact factor is finite
        products = [np.where(np.isnan(p), 0.0, p) for p in products]
    low = np.minimum(np.minimum(products[0], products[1]), np.minimum(products[2], products[3]))
    high = np.maximum(np.maximum(products[0], products[1]), np.maximum(products[2], products[3]))
    return outward(low, high)


def reciprocal(a: Interval) -> Interval:
    """1 / a; infinite where a holds 0 inside, one-sided where 0 is its end."""
    with np.errstate(all="ignore"):
        lo, hi = 1 / a.hi, 1 / a.lo
    lo = np.where(a.hi == 0, -np.inf, lo)
    hi = np.where(a.lo == 0, np.inf, hi)
    inside = (a.lo < 0) & (a.hi > 0) | (a.lo == 0) & (a.hi == 0)
    return outward(np.where(inside, -np.inf, lo), np.where(inside, np.inf, hi))


def div(a: Interval, b: Interval) -> Interval:
    return mul(a, reciprocal(b))


def power(a: Interval, n: int) -> Interval:
    """a^n for an integer n."""
    if n < 0:
        return reciprocal(power(a, -n))
    if n == 0:
        return exact(np.ones_like(a.lo))
    with np.errstate(over="ignore"):
        lo, hi = a.lo**n, a.hi**n
    if n % 2:
        return outward(lo, hi, ULPS)
    out = outward(np.minimum(lo, hi), np.maximum(lo, hi), ULPS)
    zero = (a.lo <= 0) & (a.hi >= 0)
    return Interval(np.where(zero, 0.0, np.maximum(out.lo, 0.0)), out.hi)


def monotone(function: Callable[[Any], Any], low: float, high: float) -> Callable[..., Interval]:
    """An increasing elementary function with values in [low, high]."""

    def apply(a: Interval) -> Interval:
        with np.errstate(all="ignore"):
            out = outward(function(a.lo), function(a.hi), ULPS)
        return Interval(np.maximum(out.lo, low), np.minimum(out.hi, high))

    return apply


def _log(x: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(x, 0.0))


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


exp = monotone(np.exp, 0.0, np.inf)
exp2 = monotone(np.exp2, 0.0, np.inf)
expm1 = monotone(np.expm1, -1.0, np.inf)
log = monotone(_log, -np.inf, np.inf)
log1p = monotone(lambda x: np.log1p(np.maximum(x, -1.0)), -np.inf, np.inf)
tanh = monotone(np.tanh, -1.0, 1.0)
logistic = monotone(_logistic, 0.0, 1.0)
sqrt = monotone(lambda x: np.sqrt(np.maximum(x, 0.0)), 0.0, np.inf)
atan = monotone(np.arctan, -math.pi / 2 - 1e-15, math.pi / 2 + 1e-15)
asinh = monotone(np.arcsinh, -np.inf, np.inf)
acosh = monotone(lambda x: np.arccosh(np.maximum(x, 1.0)), 0.0, np.inf)
atanh = monotone(lambda x: np.arctanh(np.clip(x, -1.0, 1.0)), -np.inf, np.inf)
asin = monotone(lambda x: np.arcsin(np.clip(x, -1.0, 1.0)), -math.pi / 2 - 1e-15, 2.0)
cbrt = monotone(np.cbrt, -np.inf, np.inf)


def cos(a: Interval) -> Interval:
    """cos: extrema +1 at 2 k pi, -1 at (2 k + 1) pi, looked for a little beyond the interval."""
    slack = 1e-9 + 1e-14 * np.maximum(np.abs(a.lo), np.abs(a.hi))
    turn = 2 * math.pi

    def holds(phase: float) -> np.ndarray:
        first = np.ceil((a.lo - slack - phase) / turn)
        return first * turn + phase <= a.hi + slack

    with np.errstate(all="ignore"):
        ends = np.cos(a.lo), np.cos(a.hi)
        lost = ~(np.maximum(np.abs(a.lo), np.abs(a.hi)) < 1e8)
        top, bottom = holds(0.0) | lost, holds(math.pi) | lost
    out = outward(np.minimum(*ends), np.maximum(*ends), ULPS)
    return Interval(
        np.where(bottom, -1.0, np.maximum(out.lo, -1.0)),
        np.where(top, 1.0, np.minimum(out.hi, 1.0)),
    )


def sin(a: Interval) -> Interval:
    """sin x = cos(x - pi/2), with NumPy's own sine at the ends."""
    quarter = sub(a, Interval(np.float64(math.pi / 2 - 1e-15), np.float64(math.pi / 2 + 1e-15)))
    hull = cos(quarter)
    with np.errstate(all="ignore"):
        ends = np.sin(a.lo), np.sin(a.hi)
    out = outward(np.minimum(*ends), np.maximum(*ends), ULPS)
    return Interval(
        np.where(hull.lo == -1.0, -1.0, np.maximum(out.lo, -1.0)),
        np.where(hull.hi == 1.0, 1.0, np.minimum(out.hi, 1.0)),
    )


def absolute(a: Interval) -> Interval:
    low, high = np.abs(a.lo), np.abs(a.hi)
    inside = (a.lo <= 0) & (a.hi >= 0)
    return Interval(np.where(inside, 0.0, np.minimum(low, high)), np.maximum(low, high))


def sign(a: Interval) -> Interval:
    return Interval(np.sign(a.lo), np.sign(a.hi))


def maximum(a: Interval, b: Interval) -> Interval:
    return Interval(np.maximum(a.lo, b.lo), np.maximum(a.hi, b.hi))


def minimum(a: Interval, b: Interval) -> Interval:
    return Interval(np.minimum(a.lo, b.lo), np.minimum(a.hi, b.hi))


def total(a: Interval, axes: tuple[int, ...]) -> Interval:
    """Sum over axes; k terms cost at most k |terms| units of rounding."""
    k = math.prod(a.shape[i] for i in axes)
    if k == 1:
        return Interval(a.lo.sum(axis=axes), a.hi.sum(axis=axes))
    with np.errstate(all="ignore"):
        lo, hi = a.lo.sum(axis=axes), a.hi.sum(axis=axes)
        slack_lo = k * EPS * np.abs(a.lo).sum(axis=axes)
        slack_hi = k * EPS * np.abs(a.hi).sum(axis=axes)
    return outward(lo - slack_lo, hi + slack_hi)


def multiplied(a: Interval, axes: tuple[int, ...]) -> Interval:
    """Product over axes."""
    for axis in sorted(axes, reverse=True):
        parts = [Interval(a.lo.take(k, axis), a.hi.take(k, axis)) for k in range(a.shape[axis])]
        first = exact(np.ones(a.shape[:axis] + a.shape[axis + 1 :]))
        a = reduce(mul, parts) if parts else first
    return a


def choose(which: Interval, false: Interval, true: Interval) -> Interval:
    """`true` where the condition certainly holds, `false` where it certainly fails, else both."""
    yes, no = which.lo.astype(bool), ~which.hi.astype(bool)
    return Interval(
        np.where(yes, true.lo, np.where(no, false.lo, np.minimum(false.lo, true.lo))),
        np.where(yes, true.hi, np.where(no, false.hi, np.maximum(false.hi, true.hi))),
    )


def dot(A: Interval, b: Interval) -> Interval:
    """Matrix times vector, `[B, d, d]` and `[B, d]`."""
    return total(mul(A, Interval(b.lo[:, None, :], b.hi[:, None, :])), (2,))


def product(A: Interval, B: Interval) -> Interval:
    """Matrix times matrix, `[B, d, d]` each."""
    left = Interval(A.lo[:, :, :, None], A.hi[:, :, :, None])
    right = Interval(B.lo[:, None, :, :], B.hi[:, None, :, :])
    return total(mul(left, right), (2,))
