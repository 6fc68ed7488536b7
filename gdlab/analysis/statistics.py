"""Statistics of runs: quantiles, intervals, paired comparisons, performance profiles.

Pure functions of tables and arrays. What is random takes its seed as an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

# scipy.stats takes a second to import: it is imported where it is used.


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval."""

    value: float
    low: float
    high: float


def quantile_curves(
    curves: pd.DataFrame, value: str, quantiles: tuple[float, float] = (0.1, 0.9)
) -> pd.DataFrame:
    """Median and two quantiles over runs at each step: columns step, median, lower, upper, runs.

    A run that ended earlier than others (converged, diverged) keeps its last value; what is not
    finite counts as infinitely bad. Steps at which a run was not recorded take the value of its
    last recorded step before.
    """
    rows = curves[["run_id", "step", value]].dropna(subset=["step"])
    wide = rows.pivot_table(
        index="step", columns="run_id", values=value, aggfunc="last", dropna=False
    ).sort_index()
    table = wide.ffill().to_numpy(float)
    started = np.isfinite(wide.to_numpy(float)).cumsum(axis=0) > 0
    table = np.where(np.isnan(table) & started, np.inf, table)
    low, middle, high = _quantiles(table, (quantiles[0], 0.5, quantiles[1]))
    return pd.DataFrame(
        {
            "step": wide.index.to_numpy(float),
            "median": middle,
            "lower": low,
            "upper": high,
            "runs": started.sum(axis=1),
        }
    )


def _quantiles(table: np.ndarray, q: Sequence[float]) -> np.ndarray:
    """Quantiles along axis 1 without NaN; infinite ones stay infinite instead of becoming NaN."""
    out = np.full((len(q), len(table)), np.nan)
    for i, row in enumerate(table):
        seen = row[~np.isnan(row)]
        if len(seen):
            method: Any = "linear" if np.isfinite(seen).all() else "higher"
            out[:, i] = np.quantile(seen, q, method=method)
    return out


def summary(
    runs: pd.DataFrame,
    by: str | list[str],
    value: str,
    quantiles: tuple[float, float] = (0.1, 0.9),
) -> pd.DataFrame:
    """Median, two quantiles and count of `value` in each group; NaN is left out."""
    groups = runs.groupby(by, sort=True, dropna=False)[value]
    table = pd.DataFrame(
        {
            "median": groups.median(),
            f"q{round(100 * quantiles[0])}": groups.quantile(quantiles[0]),
            f"q{round(100 * quantiles[1])}": groups.quantile(quantiles[1]),
            "n": groups.count(),
        }
    )
    return table.reset_index()


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
        statistic: takes an array and `axis`.
        method: `percentile`, `basic` or `BCa` (not for medians of few values).

    Reference: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, 1993.
    """
    from scipy.stats import bootstrap as resample

    x = np.asarray(values, float)
    value = float(statistic(x))
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
    return Interval(value, float(found.low), float(found.high))


def paired(
    runs: pd.DataFrame,
    between: str,
    on: str | Sequence[str],
    value: str,
    baseline: Any,
    seed: int = 0,
    log: bool = True,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Each choice of `between` against a baseline, on the same starts; lower is better.

    Args:
        between: the column compared, e.g. `schedule.name`.
        on: columns that make a pair, e.g. `seed`.
        value: what is compared.
        baseline: the choice that others are compared with.
        seed: of the bootstrap.
        log: whether to compare log10 of the values: `effect` is then the median of
            log10(choice/baseline), -1 for ten times better. Values must be positive.

    Returns:
        One row a choice: n pairs, better, worse, ties, effect with `low` and `high` (bootstrap of
        the median), p (Wilcoxon's signed ranks, two-sided), p_holm (Holm's correction over rows).
    """
    from scipy.stats import wilcoxon

    table = runs.pivot_table(index=on, columns=between, values=value, aggfunc="median")
    if baseline not in table:
        known = ", ".join(map(str, table.columns))
        raise ValueError(f"baseline={baseline}: no such {between}; known: {known}")
    if log and (table.to_numpy(float) <= 0).any():
        raise ValueError(f"{value}: has values <= 0; compare with log=False")
    rows = []
    for choice in table.columns.drop(baseline):
        pairs = table[[choice, baseline]].dropna().to_numpy(float)
        a, b = np.log10(pairs).T if log else pairs.T
        delta = a - b
        effect = bootstrap(delta, seed, confidence=confidence) if len(delta) else None
        rows.append(
            {
                between: choice,
                "n": len(delta),
                "better": int((delta < 0).sum()),
                "worse": int((delta > 0).sum()),
                "ties": int((delta == 0).sum()),
                "effect": effect.value if effect else np.nan,
                "low": effect.low if effect else np.nan,
                "high": effect.high if effect else np.nan,
                "p": float(wilcoxon(delta).pvalue) if (delta != 0).any() else 1.0,
            }
        )
    result = pd.DataFrame(rows)
    if len(result):
        result["p_holm"] = holm(result["p"].to_numpy())
    return result


def holm(p: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Holm's step-down correction of m p-values (S. Holm, Scand. J. Stat. 6 (1979) 65)."""
    p = np.asarray(p, float)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return corrected


def performance_profile(
    costs: pd.DataFrame, factors: Sequence[float] | None = None
) -> pd.DataFrame:
    """rho_s(tau): share of problems that solver s does within tau times the best solver's cost.

    Args:
        costs: a row a problem, a column a solver; NaN or inf where it was not solved. Problems
            that no solver solved count in the denominator.
        factors: tau >= 1 (default: 1 and every ratio that occurs).

    Returns:
        Index `tau`, a column a solver.

    Reference: E. D. Dolan and J. J. More, Math. Program. 91 (2002) 201.
    """
    table = costs.to_numpy(float)
    table = np.where(np.isfinite(table), table, np.inf)
    if (table <= 0).any():
        raise ValueError("costs: takes numbers > 0 (inf or NaN where a problem was not solved)")
    best = table.min(axis=1, keepdims=True)
    ratio = np.divide(table, best, where=np.isfinite(best), out=np.full_like(table, np.inf))
    ratio[~np.isfinite(table)] = np.inf
    if factors is None:
        tau = np.unique(np.concatenate([[1.0], ratio[np.isfinite(ratio)]]))
    else:
        tau = np.asarray(factors, float)
    share = (ratio[None] <= tau[:, None, None]).mean(axis=1)
    return pd.DataFrame(share, index=pd.Index(tau, name="tau"), columns=list(costs.columns))
