"""Who won: problems, choices and pairs; one sentence and one order, wherever it is said."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gdlab.analysis import endings, parameters, ranking, tables, wording
from gdlab.analysis.endings import Ending
from gdlab.analysis.numbers import number, numbers, percent, written
from gdlab.report.page import _column
from gdlab.tracking import describe


def ended(loss: float, steps: float = 9, **more: Any) -> Ending:
    status = "converged" if np.isfinite(loss) else "diverged"
    return Ending(**{"status": status, "loss": loss, "steps": steps, "kind": "minimum", **more})


def ranked(*runs: tuple[dict[str, Any], Ending]) -> ranking.Ranking:
    """Keys are given without their groups where one letter says enough."""
    return ranking.rank([params for params, _ in runs], [ending for _, ending in runs])


def of(name: str, **more: Any) -> dict[str, Any]:
    return {"schedule.name": name} | {k.replace("__", "."): v for k, v in more.items()}


SENTENCES = [
    ([("a", 1e-18, 50), ("b", 3e-18, 40)], "b .*in 40 steps, 1.25 times fewer than .*a"),
    ([("a", 1e-18, 40), ("b", 0.0, 40)], "level with the next choice, schedule="),
    ([("a", 1e-18, 40), ("b", 0.0, 40), ("c", 0.0, 40)], "schedule=. and 1 more;"),
    ([("a", 2.0, 9), ("b", 6.0, 9)], "a loss 2, 3 times below the next choice, schedule=b"),
    ([("a", 2.0, 9), ("b", 2.0000001, 9)], "a loss 2, 1e-07 below the next choice, schedule=b"),
    ([("a", 1e-9, 9), ("b", 1.0, 9)], r"10\^9 times below"),
    ([("a", -3.0, 9), ("b", -1.0, 9)], "a loss -3, 2 below the next choice, schedule=b"),
    ([("a", np.inf, 9), ("b", 1.0, 9)], "b loss 1, the others diverged"),
    ([("a", np.inf, 9), ("b", np.inf, 9)], "none; every choice diverged"),
]


@pytest.mark.parametrize(("runs", "says"), SENTENCES)
def test_the_sentence(runs, says) -> None:
    found = ranked(*((of(n), ended(f, t, reached=0)) for n, f, t in runs))
    (sentence,) = wording.sentences(found)
    assert re.match(f"best: .*{says}", sentence), sentence
    # The rows say the same.
    rows = ranking.table(found)
    assert rows["rank"].iloc[0] == 1
    if "loss" in sentence:
        assert sentence.startswith(f"best: schedule={rows['schedule.name'].iloc[0]} ")


AXES = [
    # A value of null, a list beside a number, numbers that six digits do not tell apart.
    ([{"schedule.grow": None}, {"schedule.grow": 2.0}], ["schedule.grow=null", "schedule.grow=2"]),
    ([{"schedule.s": [1.0, 0.5]}, {"schedule.s": 1.0}], ["schedule.s=[1,0.5]", "schedule.s=1"]),
    (
        [{"schedule.s": [0.1234567, 1.0]}, {"schedule.s": [0.1234568, 1.0]}],
        ["schedule.s=[0.1234567,1]", "schedule.s=[0.1234568,1]"],
    ),
    (
        [{"schedule.eta": 0.1234567}, {"schedule.eta": 0.1234568}],
        ["schedule.eta=0.1234567", "schedule.eta=0.1234568"],
    ),
    ([{"method.adapt": True}, {"method.adapt": "1"}], ["method.adapt=true", "method.adapt=1"]),
    ([{"steps": 100}, {"steps": 1000}], ["steps=100", "steps=1000"]),
    ([{"precision": "float32"}, {"precision": "float64"}], ["precision=float32"]),
]


@pytest.mark.parametrize(("params", "said"), AXES)
@pytest.mark.parametrize("stored", [False, True], ids=["fresh", "stored"])
def test_whatever_lies_on_an_axis_is_said_right(params, said, stored) -> None:
    found = ranking.rank(params, [ended(1.0), ended(2.0)])
    if stored:  # as `load` gives them: null is an empty text, `steps` is a result
        text = [
            {"params.steps" if k == "steps" else k: str(v) if isinstance(v, list) else v}
            for row in params
            for k, v in row.items()
        ]
        runs = pd.DataFrame(text, dtype=object).map(lambda v: "" if v is None else v)
        runs = runs.assign(loss=[1.0, 2.0], status="converged", steps=9.0, critical_kind="minimum")
        found = ranking.rank_runs(runs)
    (sentence,) = wording.sentences(found)
    assert sentence.startswith(f"best: {said[0]} loss 1, 2 times below the next choice")
    assert said[-1] in sentence
    assert ranking.table(found)["loss"].tolist() == [1.0, 2.0]


PROBLEMS = {
    "objective.name": ["booth", "beale"],
    "objective.dim": [2, 3],
    "objective.b": [None, 100.0],
    "objective.seed": [0, 1],
    "code.objective": ["1f", "2e"],
}


@pytest.mark.parametrize("key", PROBLEMS)
def test_losses_of_different_objectives_are_never_compared(key: str) -> None:
    one, other = PROBLEMS[key]
    runs = [
        (of("a") | {key: one}, ended(1.0)),
        (of("b") | {key: one}, ended(5.0)),
        (of("a") | {key: other}, ended(1e-9)),
        (of("b") | {key: other}, ended(1e-12, 9)),
    ]
    found = ranked(*runs)
    said = wording.sentences(found)
    assert len(found.problems) == len(said) == 2
    winners = {said_of.partition(": ")[2][:10] for said_of in said}
    assert winners == {"schedule=a", "schedule=b"}
    assert all(sentence.startswith("best on ") for sentence in said)
    table = ranking.table(found)
    assert table["rank"].tolist() == [1, 2, 1, 2]
    assert table["loss"].tolist() in ([1.0, 5.0, 1e-12, 1e-9], [1e-12, 1e-9, 1.0, 5.0])
    assert wording.line(found) == ". ".join(said)
    assert sorted(map(sorted, ranking.best_runs(found, 2))) == [[0], [3]]


PAIRS = ["seed", "init.x", "init.name", "init.scale", "method.seed", "schedule.noise_seed"]


@pytest.mark.parametrize("key", PAIRS)
def test_starts_and_seeds_are_no_choices(key: str) -> None:
    values = [[0.0, 1.0], [2.0, 2.0]] if key == "init.x" else [0, 1]
    losses = {"a": [1.0, 100.0], "b": [10.0, 20.0]}  # a has the best run, b the best median
    runs = [
        (of(name) | {key: value}, ended(loss))
        for name, own in losses.items()
        for value, loss in zip(values, own, strict=True)
    ]
    found = ranked(*runs)
    (sentence,) = wording.sentences(found)
    over = "starts" if key.startswith("init.") else "seeds"
    assert sentence.startswith(f"best: schedule=b median loss 15 over 2 {over}, 3.37 times below")
    alone = ranked(*runs[:2])
    (sentence,) = wording.sentences(alone)
    assert "best" not in sentence
    assert sentence.startswith(f"median loss 50.5 over 2 {over}, the lowest 1; ")


def test_runs_of_one_start_that_are_recorded_otherwise_are_no_more_starts() -> None:
    runs = [
        (of("a", seed=k, record__points=n), ended(1.0 + k)) for k in range(2) for n in (10, 100)
    ]
    (sentence,) = wording.sentences(ranked(*runs))
    assert sentence.startswith("median loss 1.5 over 4 runs of 2 seeds, the lowest 1; ")
    (sentence,) = wording.sentences(ranked(*runs[:2]))
    assert sentence.startswith("median loss 1 over 2 runs of 1 seed, ")


def test_settings_that_differ_are_told_apart_in_names_and_tables() -> None:
    etas = [0.0100001, 0.01000011]
    params = [of("constant", objective__name="f", method__name="gradient") for _ in etas]
    rows = [row | {"schedule.eta": eta} for row, eta in zip(params, etas, strict=True)]
    assert len({describe.run_name(row, ["schedule.eta"]) for row in rows}) == 2
    table = ranking.table(ranked(*((row, ended(1e-9 / 3)) for row in rows)))
    text = tables.markdown(table)
    assert "0.01000011" in text
    assert " 3.33333e-10 " in text
    assert [cell[0] for cell in _column(table["schedule.eta"])] == ["0.0100001", "0.01000011"]


def test_choices_that_had_other_starts_are_said_to() -> None:
    runs = [(of("a", seed=k), ended(1.0 + k)) for k in range(3)]
    runs += [(of("b", seed=k), ended(9.0)) for k in range(2)]
    (sentence,) = wording.sentences(ranked(*runs))
    assert "the next choice, schedule=b (which had other starts)" in sentence


def test_what_diverged_is_last_and_counts_as_infinitely_bad() -> None:
    runs = [(of("a", seed=k), ended(1e-9 if k else np.inf)) for k in range(2)]
    runs += [(of("b", seed=k), ended(5.0)) for k in range(2)]
    runs += [(of("c", seed=k), ended(np.inf)) for k in range(2)]
    runs += [(of("d", seed=k), ended(np.inf)) for k in range(2)]
    found = ranked(*runs)
    table = ranking.table(found)
    assert table["schedule.name"].tolist() == ["b", "a", "c", "d"]
    assert table["rank"].tolist() == [1, 2, 2, 2]
    assert table["diverged"].tolist() == [0, 1, 2, 2]
    assert Ending.of_row({"status": "diverged", "loss": 1e-30}).loss == np.inf


def test_a_result_is_never_taken_for_a_parameter() -> None:
    runs = pd.DataFrame(
        {
            "schedule.name": ["a", "a", "b", "b"],
            "seed": [0, 1, 0, 1],
            "steps": [5.0, 6.0, 7.0, 8.0],
            "loss": [1.0, 3.0, 4.0, 6.0],
            "status": "converged",
            "team.owner": ["x", "y", "x", "y"],  # a tag that someone set in the UI
            "x0": [0.1, 0.2, 0.3, 0.4],
        }
    )
    found = ranking.rank_runs(runs)
    assert (found.by_problem, found.by_choice) == ([], ["schedule.name"])
    assert [s.loss for s in found.standings] == [2.0, 5.0]
    # A probe called `seed` is a result, too: the parameter is `params.seed` then.
    probe = runs.rename(columns={"seed": "params.seed"}).assign(seed=[0.5, 0.6, 0.7, 0.8])
    assert [row["seed"] for row in parameters.of_runs(probe)] == [0, 1, 0, 1]


def test_a_key_that_only_one_choice_has_sets_nothing_apart() -> None:
    rows = [{"objective.name": n, "schedule.eta": eta} for n in "pq" for eta in (0.1, 0.2)]
    rows = [row | ({"objective.a": 1.0} if row["objective.name"] == "p" else {}) for row in rows]
    assert parameters.telling(rows) == (["objective.name"], ["schedule.eta"])


def test_of_many_problems_it_is_said_who_won_how_often() -> None:
    runs = [
        (of(name, objective__name="quadratic", objective__seed=k), ended(1.0 + (name == worse)))
        for k in range(25)
        for worse in ["b" if k < 20 else "a"]
        for name in "ab"
    ]
    said = wording.sentences(ranked(*runs))
    assert said[0] == "best of 25 problems: schedule=a on 20, schedule=b on 5"
    assert said[1].startswith("best on seed=0: schedule=a loss 1, 2 times below")
    assert said[-1] == "and 21 problems more"
    assert len(said) == wording.SHOWN + 2


def test_shares_and_ends_in_words() -> None:
    cycles = [ended(1.0, status="budget", kind="cycle")] * 8 + [ended(0.0)] * 17
    assert endings.shares(cycles) == "68% converged"
    assert endings.shares([*cycles, ended(np.inf)]) == "65% converged, 4% diverged"
    assert endings.reached(cycles) == "reached a minimum in 17 of 25 runs, a cycle in 8"
    assert (percent(199, 200), percent(1, 1000), percent(0, 5)) == ("99%", "1%", "0%")
    table = endings.points([ended(1.0, kind="saddle", index=1, reached=3)] * 3 + [ended(1.0)])
    assert table["reached"] == ["saddle of index 1", "minimum"]
    assert table["share"] == [0.75, 0.25]


@pytest.mark.parametrize(
    ("value", "text"),
    [(4.3e-311, "0"), (-0.0, "0"), (1e-300, "1e-300"), (1 / 3, "0.333333"), (np.inf, "inf")],
)
def test_a_number_looks_the_same_everywhere(value: float, text: str) -> None:
    assert number(value) == written(value) == numbers([value])[0] == text
