"""Choices against each other: paired differences on the same starts, performance profiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from gdlab.analysis.statistics.intervals import bootstrap
from gdlab.analysis.statistics.quantiles import scores

if TYPE_CHECKING:
    import pandas as pd


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
    import pandas as pd
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
    import pandas as pd

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
