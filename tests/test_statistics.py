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


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [(0, 10, 0.0, 0.277533), (5, 10, 0.236593, 0.763407), (81, 263, 0.255298, 0.366252)],
)
def test_wilson_is_as_tabulated(count: int, n: int, low: float, high: float) -> None:
    """Numbers of E. B. Wilson's interval as R. G. Newcombe (1998) tabulates them (81 of 263)."""
    found = statistics.wilson(count, n)
    np.testing.assert_allclose((found.low, found.high), (low, high), atol=2e-4)


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


RECORDED = [  # of runs over three steps, one diverges: the step that is not finite is recorded
    [("c", 0, 5.0), ("c", 1, np.inf)],
    [("c", 0, 5.0), ("c", 1, np.nan)],
    # and from the start
    [("c", 0, np.nan), ("c", 1, np.nan)],
    [("c", 0, np.nan)],
]


@pytest.mark.parametrize("own", RECORDED)
@pytest.mark.parametrize("value", ["loss", "gap"])
def test_what_diverged_is_infinitely_bad_in_curves(own, value) -> None:
    rows = [("a", 0, 1.0), ("a", 1, 0.5), ("b", 0, 3.0), ("b", 1, 2.0), ("b", 2, 1.0), *own]
    curves = pd.DataFrame(rows, columns=["run_id", "step", "loss"])
    curves["gap"] = curves["loss"]
    table = statistics.quantile_curves(curves, value, (0.0, 1.0))
    assert table["runs"].tolist() == [3, 3, 3]
    assert table["median"].tolist()[1:] == [2.0, 1.0]
    assert table["upper"].tolist()[1:] == [np.inf, np.inf]
    assert table["upper"][0] == (5.0 if own[0][2] == 5.0 else np.inf)


def test_a_column_that_no_run_kept_says_nothing() -> None:
    rows = [("a", 0, 1.0, np.nan), ("a", 1, 0.5, np.nan), ("b", 0, 3.0, np.nan)]
    curves = pd.DataFrame(rows, columns=["run_id", "step", "loss", "grad_norm"])
    table = statistics.quantile_curves(curves, "loss", (0.0, 1.0))
    assert table["upper"].tolist() == [3.0, 3.0]


def test_curves_of_a_store_end_where_a_run_diverged() -> None:
    """Stores keep finite numbers alone: the status says that the rest was not."""
    rows = [("a", t, 1.0, "converged") for t in range(3)]
    rows += [("b", 0, 2.0, "diverged"), ("b", 1, 0.1, "diverged")]
    curves = pd.DataFrame(rows, columns=["run_id", "step", "loss", "status"])
    table = statistics.quantile_curves(curves, "loss", (0.0, 1.0))
    assert table["upper"].tolist() == [2.0, 1.0, np.inf]
    assert table["lower"].tolist() == [1.0, 0.1, 1.0]
    # What is unknown of all is no number, rather than infinite.
    unknown = statistics.quantile_curves(curves.assign(gap=np.nan), "gap")
    assert unknown["runs"].tolist() == [0, 0, 0]
    assert unknown["median"].isna().all()


@pytest.mark.parametrize("how", ["nan", "inf", "status"])
def test_a_pair_of_which_one_failed_counts_against_it(how: str) -> None:
    rng = np.random.default_rng(1)
    base = 10.0 ** rng.normal(size=12)
    other = base / 10
    status = np.array(["converged"] * 12, dtype=object)
    failed = [1, 4, 6, 9]
    if how == "status":
        status[failed] = "diverged"
    else:
        other[failed] = float(how)
    runs = pd.DataFrame(
        {
            "schedule.name": ["constant"] * 12 + ["polyak"] * 12,
            "seed": [*range(12)] * 2,
            "loss": np.concatenate([base, other]),
            "status": ["converged"] * 12 + list(status),
        }
    )
    (row,) = statistics.paired(runs, "schedule.name", "seed", "loss", "constant").to_dict("records")
    assert (row["n"], row["better"], row["worse"], row["alone"]) == (12, 8, 4, 0)
    assert row["effect"] == pytest.approx(-1.0)
    assert row["low"] == pytest.approx(-1.0)
    assert row["high"] == np.inf  # four of twelve: the median of a resample may be infinite
    delta = np.log10(base / 10) - np.log10(base)
    delta[failed] = 9.0  # ranks alone count
    assert row["p"] == pytest.approx(stats.wilcoxon(delta).pvalue)
    # Both failed: a tie. One is not there: no pair.
    both = runs.assign(loss=np.where(runs["seed"].isin(failed), np.inf, runs["loss"]))
    (row,) = statistics.paired(
        both.drop(index=0), "schedule.name", "seed", "loss", "constant"
    ).to_dict("records")
    assert (row["n"], row["better"], row["worse"], row["ties"], row["alone"]) == (11, 7, 0, 4, 1)
    with pytest.raises(ValueError, match="gap: no run has a number"):
        statistics.paired(
            runs.assign(gap=np.nan, status="budget"), "schedule.name", "seed", "gap", "constant"
        )


def test_quantiles_with_infinite_values() -> None:
    runs = pd.DataFrame({"eta": 0.1, "loss": [1.0, 2.0, np.inf, np.inf]})
    (row,) = statistics.summary(runs, "eta", "loss").to_dict("records")
    assert (row["median"], row["q10"], row["q90"], row["n"]) == (np.inf, 1.3, np.inf, 4)
    values = np.array([[1.0, np.nan], [2.0, 5.0], [np.inf, 7.0]])
    found = statistics.ordered_quantiles(values, (0.0, 0.5, 0.9))
    assert found.tolist() == [[1.0, 5.0], [2.0, 6.0], [np.inf, pytest.approx(6.8)]]


def test_summary_is_pandas_quantiles() -> None:
    runs = pd.DataFrame({"eta": [0.1] * 5 + [0.2] * 5, "loss": np.arange(10.0)})
    table = statistics.summary(runs, "eta", "loss")
    assert table.to_numpy().tolist() == [[0.1, 2.0, 0.4, 3.6, 5.0], [0.2, 7.0, 5.4, 8.6, 5.0]]


def test_a_wide_table_has_medians_in_its_cells() -> None:
    runs = pd.DataFrame({"eta": [0.1, 0.1, 0.2], "seed": [0, 0, 0], "loss": [1.0, np.inf, 2.0]})
    assert tables.wide(runs, "seed", "eta", "loss").to_numpy().tolist() == [[0, np.inf, 2.0]]


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
