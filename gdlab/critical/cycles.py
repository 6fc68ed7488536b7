"""Descents whose iterates come to repeat themselves: cycles, and what only looks like one.

The iterates repeat after p steps if x_t - x_(t-p) vanishes. A descent that drifts does not: with
a step size a little beyond 2/L each return is a little farther out, with one a little below it a
little closer in. The differences are therefore summed to their end, as a geometric series: only
where the whole way that is left is small do the iterates repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gdlab.critical.derivatives import EPS
from gdlab.types import Verdict

PERIOD = 16  # longest cycle looked for
TOLERANCES = (1e-6, 1e-5, 1e-7)  # the first decides, all together whether so at any tolerance


def period_of(
    tail: Float[np.ndarray, "m d"], tolerance: float = 1e-6, length: float = 1.0
) -> int | None:
    """Smallest p <= 16 after which the iterates repeat, None if they do not.

    |x_t - x_{t-p}|, and all that its fall over the last 2 p iterates leaves to come, is at most
    tolerance times the longest of the last p steps.
    A descent that comes to rest within the tail (it converged late, or was stopped) takes no
    steps at its end, and is no cycle; neither is p = 1, which is convergence. Steps below 1e-12 of
    |x| or `length` are rounding.
    """
    return int(periods(np.asarray(tail, float)[None], (tolerance,), length)[0, 0]) or None


def periods(
    tail: Float[np.ndarray, "n m d"],
    tolerances: Sequence[float] = TOLERANCES,
    length: Any = 1.0,
) -> Int[np.ndarray, "n k"]:
    """`period_of` each of n tails at each tolerance; 0 where the iterates do not repeat."""
    n, m, _ = tail.shape
    out = np.zeros((n, len(tolerances)), int)
    most = min(PERIOD, m // 3)
    if m < 6 or not n:
        return out
    with np.errstate(over="ignore", invalid="ignore"):
        least = 1e-12 * np.maximum(length, np.abs(tail[:, -1]).max(axis=1, initial=0.0))
        # Most do not come back to where they are now, whatever the period: a cheap look.
        longest = np.linalg.norm(np.diff(tail[:, -most - 1 :], axis=1), axis=2).max(axis=1)
        back = np.linalg.norm(tail[:, -1:] - tail[:, -most - 1 : -2], axis=2).min(axis=1)
        near = (longest > least) & (back <= 1.01 * max(tolerances) * longest)
        which = np.flatnonzero(near & np.isfinite(tail).all(axis=(1, 2)))
        rest = tail[which]
        steps = np.linalg.norm(np.diff(rest, axis=1), axis=2)
        repeats = np.isfinite(steps).all(axis=1)
        for p in range(2, most + 1):
            size = steps[:, -p:].max(axis=1)
            apart = _way_left(rest[:, -3 * p :], p)
            for k, tolerance in enumerate(tolerances):
                hit = repeats & (size > least[which]) & (apart <= tolerance * size)
                out[which[hit & (out[which, k] == 0)], k] = p
            keep = (out[which] == 0).any(axis=1)
            which, rest, steps, repeats = which[keep], rest[keep], steps[keep], repeats[keep]
    return out


def _way_left(tail: Float[np.ndarray, "n m d"], p: int) -> Float[np.ndarray, " n"]:
    """How far the iterates are from where each returns to, after 3 p of them.

    With a the largest |x_t - x_(t-p)| of the first p differences and b that of the last, the rest
    of the series is b / (1 - b/a); differences within rounding have come to their end.
    """
    change = np.linalg.norm(tail[:, p:] - tail[:, :-p], axis=2)
    a, b = change[:, :p].max(axis=1), change[:, p:].max(axis=1)
    ulp = EPS * np.abs(tail[:, -p:]).max(axis=(1, 2))
    with np.errstate(all="ignore"):
        falls = 1 - (b + 4 * ulp) / a
        rest = np.where(falls > 0, b / falls, np.inf)
    return np.where(b <= 64 * ulp, np.maximum(a, b), np.maximum(a, rest))


def as_cycle(verdict: Verdict, x: Float[np.ndarray, " d"], period: int, stable: bool) -> Verdict:
    """The verdict, for a descent whose iterates repeat."""
    return replace(
        verdict, kind="cycle", x=x, period=period, index=None, stable=stable,
        note=f"the iterates repeat after {period} steps",
    )  # fmt: skip
