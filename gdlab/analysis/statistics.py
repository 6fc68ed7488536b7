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


# Of these, what is not finite is infinitely bad. Of others (an angle, a gap to an unknown
# minimum) a NaN says that there is no such number.
COSTS = ("loss", "grad_norm")


def scores(runs: pd.DataFrame, value: str) -> pd.Series:
    """A column in which whatever diverged is infinitely bad.

    A run diverged where its `status` says so, or where its loss or gradient norm is not finite;
    a column that no run has kept says nothing.
    """
    numbers = runs[value].astype(float)
    bad = numbers.isin([np.inf, -np.inf])
    for name in {*COSTS, value} & {*COSTS} & {*runs.columns}:
        lost = ~np.isfinite(runs[name].astype(float))
        if name != value:
            lost &= runs[name].notna().any()
        bad |= lost
    if "status" in runs:
        bad |= runs["status"] == "diverged"
    return numbers.mask(bad, np.inf)


def ordered_quantiles(
    values: Float[np.ndarray, "n ..."], q: Sequence[float]
) -> Float[np.ndarray, "q ..."]:
    """Quantiles along axis 0: linear between finite neighbours, else the higher one.

    NaN is left out; infinite values stay infinite instead of becoming NaN.
    """
    ranked = np.sort(np.asarray(values, float), axis=0)  # NaN last
    count = (~np.isnan(ranked)).sum(axis=0)
    rows = []
    for share in q:
        at = np.maximum(count - 1, 0) * share
        low, high = np.floor(at), np.ceil(at)
        a, b = (
            np.take_along_axis(ranked, k[None].astype(np.int64), axis=0)[0] for k in (low, high)
        )
        with np.errstate(invalid="ignore", over="ignore"):
            t = at - low
            mixed = np.where(t < 0.5, a + (b - a) * t, b - (b - a) * (1 - t))
            mixed = np.where(t == 0.5, (a + b) / 2, mixed)
        rows.append(np.where(np.isfinite(b) & (low < high), mixed, b))
    return np.stack(rows)


def quantile_curves(
    curves: pd.DataFrame, value: str, quantiles: tuple[float, float] = (0.1, 0.9)
) -> pd.DataFrame:
    """Median and two quantiles over runs at each step: columns step, median, lower, upper, runs.

    A run that ended earlier than others keeps its last value; one that diverged is infinitely
    bad from there on: from the first step at which its loss or gradient norm is not finite or,
    where `status` says so, after its last step. Steps at which a run was not recorded take the
    value of its last recorded step before.
    """
    rows = curves.dropna(subset=["step"])
    number = scores(rows.drop(columns="status", errors="ignore"), value)
    rows = rows[["run_id", "step"]].assign(value=number)
    # A NaN that is kept would be taken for a step that was not recorded.
    wide = rows.dropna(subset=["value"]).pivot_table(
        index="step", columns="run_id", values="value", aggfunc="last"
    )
    wide = wide.reindex(index=np.unique(rows["step"])).sort_index()
    if "status" in curves:
        diverged = curves.loc[curves["status"] == "diverged", "run_id"].unique()
        for run_id in diverged[pd.Index(diverged).isin(wide.columns)]:
            last = wide[run_id].last_valid_index()
            wide.loc[wide.index > last, run_id] = np.inf
    table = wide.ffill().to_numpy(float)
    if not table.shape[1]:
        table = np.full((len(wide), 1), np.nan)
    low, middle, high = ordered_quantiles(table.T, (quantiles[0], 0.5, quantiles[1]))
    return pd.DataFrame(
        {
            "step": wide.index.to_numpy(float),
            "median": middle,
            "lower": low,
            "upper": high,
            "runs": (~np.isnan(table)).sum(axis=1),
        }
    )


def summary(
    runs: pd.DataFrame,
    by: str | list[str],
    value: str,
    quantiles: tuple[float, float] = (0.1, 0.9),
) -> pd.DataFrame:
    """Median, two quantiles and count of `value` in each group.

    What diverged is infinitely bad (see `scores`); what has no number is left out.
    """
    shares = (0.5, *quantiles)
    names = ["median", *(f"q{round(100 * q)}" for q in quantiles)]
    groups = runs.assign(_score=scores(runs, value)).groupby(by, sort=True, dropna=False)["_score"]
    table = pd.DataFrame(
        {key: ordered_quantiles(part.to_numpy(), shares) for key, part in groups}, index=names
    ).T
    table.index = groups.count().index
    return table.assign(n=groups.count()).reset_index()


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

    What diverged, or has no number, is infinitely bad (see `scores`): worse than any that did
    not, and level with another that did. A pair of which one run is missing says nothing.

    Returns:
        One row a choice: n pairs, alone (runs without their pair), better, worse, ties, effect
        with `low` and `high` (bootstrap of the median), p (Wilcoxon's signed ranks, two-sided),
        p_holm (Holm's correction over rows).

    Raises:
        ValueError: no such baseline, or values that cannot be compared.
    """
    from scipy.stats import wilcoxon

    score = scores(runs, value)
    if score.isna().any() and not np.isfinite(score).any():
        raise ValueError(f"{value}: no run has a number")
    table = runs.assign(_score=score.fillna(np.inf)).pivot_table(
        index=on, columns=between, values="_score", aggfunc="median"
    )
    if baseline not in table:
        known = ", ".join(map(str, table.columns))
        raise ValueError(f"baseline={baseline}: no such {between}; known: {known}")
    if log and (table.to_numpy(float) <= 0).any():
        raise ValueError(f"{value}: has values <= 0; compare with log=False")
    rows = []
    for choice in table.columns.drop(baseline):
        both = table[[choice, baseline]]
        pairs = both.dropna().to_numpy(float)
        a, b = np.log10(pairs).T if log else pairs.T
        with np.errstate(invalid="ignore"):
            delta = np.where(a == b, 0.0, a - b)  # inf - inf is a tie
        # Wilcoxon's test looks at ranks alone.
        beyond = 2 * np.abs(delta[np.isfinite(delta)]).max(initial=1.0)
        ranked = np.clip(delta, -beyond, beyond)
        effect = bootstrap(delta, seed, confidence=confidence) if len(delta) else None
        rows.append(
            {
                between: choice,
                "n": len(delta),
                "alone": int(both.isna().any(axis=1).sum()),
                "better": int((delta < 0).sum()),
                "worse": int((delta > 0).sum()),
                "ties": int((delta == 0).sum()),
                "effect": effect.value if effect else np.nan,
                "low": effect.low if effect else np.nan,
                "high": effect.high if effect else np.nan,
                "p": float(wilcoxon(ranked).pvalue) if (delta != 0).any() else 1.0,
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
