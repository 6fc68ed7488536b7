"""Statistics and tables against scipy, closed forms and hand-counted cases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gdlab.analysis import statistics, tables


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (3, 17), (4999, 10000)])
def test_wilson_is_where_the_score_test_just_accepts(k: int, n: int) -> None:
    found = statistics.wilson(k, n)
    z = stats.norm.ppf(0.975)
    for p in (found.low, found.high):  # (k/n - p)^2 = z^2 p (1 - p)/n at both ends
        assert (k / n - p) ** 2 == pytest.approx(z**2 * p * (1 - p) / n, abs=1e-12)
    assert found.low <= found.value <= found.high
    with pytest.raises(ValueError, match="takes 0 <= successes"):
        statistics.wilson(n + 1, n)


def test_bootstrap_repeats_with_its_seed_and_covers() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(3.0, 2.0, 400)
    one, again = (statistics.bootstrap(values, 7, np.mean, resamples=2000) for _ in range(2))
    assert one == again
    assert one != statistics.bootstrap(values, 8, np.mean, resamples=2000)
    half = 1.96 * values.std(ddof=1) / 20  # the normal interval of a mean
    assert (one.high - one.low) / 2 == pytest.approx(half, rel=0.1)
    assert statistics.bootstrap(np.array([2.0, 2.0]), 0) == statistics.Interval(2.0, 2.0, 2.0)


def test_paired_comparison_counts_and_agrees_with_wilcoxon() -> None:
    rng = np.random.default_rng(0)
    base = 10.0 ** rng.normal(size=30)
    factor = 10.0 ** rng.normal(-0.3, 0.2, 30)
    runs = pd.DataFrame(
        {
            "schedule.name": ["constant"] * 30 + ["polyak"] * 30 + ["same"] * 30,
            "seed": list(range(30)) * 3,
            "loss": np.concatenate([base, base * factor, base]),
        }
    )
    table = statistics.paired(runs, "schedule.name", "seed", "loss", "constant")
    row, same = table.set_index("schedule.name").loc[["polyak", "same"]].to_dict("records")
    delta = np.log10(factor)
    assert (row["better"], row["worse"], row["n"]) == ((delta < 0).sum(), (delta > 0).sum(), 30)
    assert row["effect"] == pytest.approx(np.median(delta))
    assert row["low"] < row["effect"] < row["high"]
    assert row["p"] == pytest.approx(stats.wilcoxon(delta).pvalue)
    assert (same["ties"], same["p"], same["p_holm"]) == (30, 1.0, 1.0)
    with pytest.raises(ValueError, match="known: constant, polyak"):
        statistics.paired(runs, "schedule.name", "seed", "loss", "cosine")


def test_holm() -> None:
    assert statistics.holm(np.array([0.01, 0.04, 0.03])).tolist() == [0.03, 0.06, 0.06]


def test_performance_profile_of_a_hand_counted_case() -> None:
    costs = pd.DataFrame(
        {"a": [1.0, 2.0, np.nan, np.inf], "b": [2.0, 2.0, 4.0, np.nan]}, index=list("pqrs")
    )
    profile = statistics.performance_profile(costs)
    assert profile.index.tolist() == [1.0, 2.0]
    assert profile["a"].tolist() == [0.5, 0.5]  # best on p, ties on q
    assert profile["b"].tolist() == [0.5, 0.75]  # q, r; p within 2; nobody solved s


def test_quantile_curves_carry_ends_on_and_count_divergence_as_bad() -> None:
    rows = [("a", 0, 1.0), ("a", 1, 0.5), ("b", 0, 3.0), ("b", 1, 2.0), ("b", 2, 1.0)]
    rows += [("c", 0, 5.0), ("c", 1, np.inf)]
    table = statistics.quantile_curves(
        pd.DataFrame(rows, columns=["run_id", "step", "loss"]), "loss", (0.0, 1.0)
    )
    assert table["median"].tolist() == [3.0, 2.0, 1.0]
    assert table["lower"].tolist() == [1.0, 0.5, 0.5]
    assert table["upper"].tolist() == [5.0, np.inf, np.inf]
    assert table["runs"].tolist() == [3, 3, 3]


def test_summary_is_pandas_quantiles() -> None:
    runs = pd.DataFrame({"eta": [0.1] * 5 + [0.2] * 5, "loss": np.arange(10.0)})
    table = statistics.summary(runs, "eta", "loss")
    assert table.to_numpy().tolist() == [[0.1, 2.0, 0.4, 3.6, 5.0], [0.2, 7.0, 5.4, 8.6, 5.0]]


def test_leaderboard_ranks_medians_and_puts_divergence_last() -> None:
    runs = pd.DataFrame(
        {
            "objective.name": "himmelblau",
            "schedule.eta": [0.1, 0.1, 0.2, 0.2, 0.3, 0.3],
            "seed": [0, 1] * 3,
            "loss": [4.0, 2.0, 1.0, 1.5, 1e-9, 5.0],
            "status": ["converged"] * 4 + ["diverged", "converged"],
        }
    )
    table = tables.leaderboard(runs)
    assert table["schedule.eta"].tolist() == [0.2, 0.1, 0.3]
    assert table["rank"].tolist() == [1, 2, 3]
    assert table["median"].tolist() == [1.25, 3.0, np.inf]
    assert table["diverged"].tolist() == [0.0, 0.0, 0.5]
    crossed = tables.wide(runs, "seed", "schedule.eta", "loss")
    assert crossed.columns.tolist() == ["seed", "0.1", "0.2", "0.3"]
    assert crossed["0.2"].tolist() == [1.0, 1.5]


def test_text_of_tables_is_fixed() -> None:
    table = pd.DataFrame(
        {"name": ["a|b", None], "x": [-0.0, 1 / 3], "n": [1, 20], "holds": [True, False]}
    )
    assert tables.csv(table) == "name,x,n,holds\na|b,0,1,yes\n,0.333333333333,20,no\n"
    assert tables.markdown(table, {"x": ".2f"}) == (
        "| name |    x |   n | holds |\n"
        "| ---- | ---: | --: | ----: |\n"
        "| a\\|b | 0.00 |   1 |   yes |\n"
        "|      | 0.33 |  20 |    no |\n"
    )
