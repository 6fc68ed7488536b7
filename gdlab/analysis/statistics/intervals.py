"""Estimates with confidence intervals: of a share, and of any statistic by the bootstrap.

What is random takes its seed as an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

# scipy.stats takes a second to import: it is imported where it is used.


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval."""

    value: float
    low: float
    high: float


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a share: sensible for 0 of n and n of n too.

    Reference: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209.

    Raises:
        ValueError: unless 0 <= successes <= n and n >= 1.
    """
    from scipy.stats import binomtest

    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} of {n}: takes 0 <= successes <= n, n >= 1")
    interval = binomtest(int(successes), int(n)).proportion_ci(confidence, method="wilson")
    return Interval(successes / n, float(interval.low), float(interval.high))


def bootstrap(
    values: Float[np.ndarray, " n"],
    seed: int,
    statistic: Callable[..., Any] = np.median,
    confidence: float = 0.95,
    resamples: int = 9999,
    method: str = "percentile",
) -> Interval:
    """Bootstrap interval of a statistic of independent values (one a run or seed).

    Args:
        seed: of the resampling: the same seed gives the same interval.
        statistic: takes an array and `axis`; where values are infinite, one of order.
        method: `percentile`, `basic` or `BCa` (not for medians of few values).

    Reference: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, 1993.
    """
    from scipy.stats import bootstrap as resample

    x = np.asarray(values, float)
    # Order needs no arithmetic: what is infinite is carried by finite numbers beyond all others.
    largest = np.abs(x[np.isfinite(x)]).max(initial=0.0)
    beyond = 1e3 * max(1.0, largest)
    x = x if np.isfinite(x).all() else np.clip(x, -beyond, beyond)

    def read_back(number: float) -> float:
        infinite = abs(number) > largest and beyond in np.abs(x)
        return float(np.copysign(np.inf, number)) if infinite else float(number)

    value = read_back(statistic(x))
    if len(x) < 2 or np.ptp(x) == 0:
        return Interval(value, value, value)
    found = resample(
        (x,),
        statistic,
        confidence_level=confidence,
        n_resamples=resamples,
        method=method,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(value, read_back(found.low), read_back(found.high))
