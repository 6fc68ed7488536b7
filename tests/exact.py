"""Polynomials in exact arithmetic: what a proof about them is held against."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

Polynomial = list[Fraction]  # lowest power first, no zero at the end


def polynomial(coefficients: Sequence[float]) -> Polynomial:
    """The polynomial of these floating-point numbers, as they are."""
    return _trimmed([Fraction(c) for c in coefficients])


def derivative(p: Polynomial) -> Polynomial:
    return _trimmed([k * c for k, c in enumerate(p)][1:])


def value(p: Polynomial, x: Fraction | float) -> Fraction:
    total = Fraction(0)
    for c in reversed(p):
        total = total * Fraction(x) + c
    return total


def count(p: Polynomial, low: float, high: float) -> int:
    """Distinct real roots in [low, high], by Sturm's theorem."""
    chain = [p, derivative(p)]
    while chain[-1]:
        chain.append([-c for c in _remainder(chain[-2], chain[-1])])

    def changes(x: float) -> int:
        signs = [s for q in chain[:-1] if (s := value(q, x))]
        return sum((a > 0) != (b > 0) for a, b in pairwise(signs))

    return changes(low) - changes(high) + (value(p, low) == 0)


def _trimmed(p: list[Fraction]) -> Polynomial:
    while p and not p[-1]:
        p.pop()
    return p


def _remainder(a: Polynomial, b: Polynomial) -> Polynomial:
    a = list(a)
    while len(a) >= len(b):
        factor, shift = a[-1] / b[-1], len(a) - len(b)
        for k, c in enumerate(b):
            a[shift + k] -= factor * c
        a.pop()
        a = _trimmed(a)
    return a
