"""Medians and quantiles of runs, in which what diverged is infinitely bad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    import pandas as pd


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
    import pandas as pd

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
    import pandas as pd

    shares = (0.5, *quantiles)
    names = ["median", *(f"q{round(100 * q)}" for q in quantiles)]
    groups = runs.assign(_score=scores(runs, value)).groupby(by, sort=True, dropna=False)["_score"]
    table = pd.DataFrame(
        {key: ordered_quantiles(part.to_numpy(), shares) for key, part in groups}, index=names
    ).T
    table.index = groups.count().index
    return table.assign(n=groups.count()).reset_index()
