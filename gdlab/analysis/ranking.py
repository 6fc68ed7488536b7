"""Who won: which choice reached the lowest loss on each problem, by how much, and where it ended.

The terminal, the report and the MLflow UI rank by this and say it in this one sentence.

A problem is one objective with its parameters: losses of different problems are never compared.
A choice is how it was descended on; starts and seeds of any kind are what it is tried over. Its
loss is the median over them, and what diverged is infinitely bad.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gdlab.analysis import endings as ends
from gdlab.analysis import parameters
from gdlab.analysis.endings import Ending
from gdlab.analysis.known_points import places
from gdlab.analysis.numbers import counted, number
from gdlab.analysis.parameters import Params

SAME = 1e-12  # losses so near to the lowest are equal to it: then the fewer steps win
SHOWN = 4  # problems whose winners are all named
ALMOST = 1.005  # a smaller ratio of losses is said as a difference


@dataclass(frozen=True)
class Standing:
    """How one choice did on one problem.

    Attributes:
        params: of its first run.
        label: the choice as one would type it; empty where there is but one.
        members: numbers of its runs.
        endings: of these runs.
        loss: their median, `low` the lowest and `high` the highest.
        steps: their median.
        starts: what its runs are paired by.
        rank: on its problem; choices that nothing tells apart share one.
    """

    params: Params
    label: str
    members: tuple[int, ...]
    endings: tuple[Ending, ...]
    loss: float
    low: float
    high: float
    steps: float
    starts: frozenset[Any]
    rank: int = 0


@dataclass(frozen=True)
class Problem:
    """One objective: its standings, best first.

    Attributes:
        name: what tells it from the other problems; of a single one, its objective.
        standings: best first.
        over: what the runs of a choice differ in: `seeds` or `starts`.
    """

    name: str
    standings: Sequence[Standing]
    over: str


@dataclass(frozen=True)
class Ranking:
    """Who won, problem by problem.

    Attributes:
        problems: in the order of their parameters.
        by_problem: keys that tell problems apart.
        by_choice: keys that tell choices apart.
    """

    problems: Sequence[Problem]
    by_problem: Sequence[str]
    by_choice: Sequence[str]

    @property
    def standings(self) -> list[Standing]:
        """All of them, problem by problem, best first."""
        return [standing for problem in self.problems for standing in problem.standings]


def rank(params: Sequence[Params], endings: Sequence[Ending]) -> Ranking:
    """Ranks the choices on each problem.

    Args:
        params: of each run, dotted key -> value.
        endings: of each run.
    """
    by_problem, by_choice = parameters.telling(params)
    paired = parameters.starts(params)
    problems = parameters.grouped(params, by_problem)
    firsts = [params[members[0]] for members in problems]
    names = parameters.labels(firsts, by_problem)
    over = "starts" if any(k.startswith("init.") for p in paired[:1] for k, _ in p) else "seeds"
    found = []
    for name, members in zip(names, problems, strict=True):
        rows = [params[i] for i in members]
        groups = [[members[k] for k in part] for part in parameters.grouped(rows, by_choice)]
        labels = parameters.labels([params[part[0]] for part in groups], by_choice)
        standings = [
            _standing(params, endings, paired, part, label)
            for part, label in zip(groups, labels, strict=True)
        ]
        title = name.removeprefix("objective=").replace("objective.", "")
        title = title or str(rows[0].get("objective.name", ""))
        found.append(Problem(title, winner_first(standings), over))
    return Ranking(found, by_problem, by_choice)


def winner_first(standings: Sequence[Standing]) -> list[Standing]:
    """The lowest loss wins; of those as low as the lowest, the fewest steps."""
    lowest = min(s.loss for s in standings)

    def place(s: Standing) -> tuple[float, float]:
        level = s.loss <= lowest + SAME * max(1.0, abs(lowest)) and np.isfinite(s.loss)
        steps = s.steps if np.isfinite(s.steps) else np.inf
        return (lowest, steps) if level else (s.loss, 0.0)

    order = sorted(standings, key=place)
    places = [place(s) for s in order]
    return [
        Standing(**{**vars(s), "rank": 1 + places.index(at)})
        for s, at in zip(order, places, strict=True)
    ]


def _standing(
    params: Sequence[Params],
    endings: Sequence[Ending],
    paired: Sequence[Any],
    members: Sequence[int],
    label: str,
) -> Standing:
    own = tuple(endings[i] for i in members)
    loss = np.array([e.loss for e in own])
    steps = np.array([e.steps for e in own])
    return Standing(
        params=params[members[0]],
        label=label,
        members=tuple(members),
        endings=own,
        loss=float(np.median(loss)),
        low=float(loss.min()),
        high=float(loss.max()),
        steps=float(np.nanmedian(steps)) if np.isfinite(steps).any() else float("nan"),
        starts=frozenset(paired[i] for i in members),
    )


def rank_runs(runs: pd.DataFrame) -> Ranking:
    """`rank` for a table of runs with the columns of `gdlab.load`."""
    return rank(parameters.of_runs(runs), ends.of_runs(runs))


def sentences(ranking: Ranking) -> list[str]:
    """Who won, a sentence a problem; of many problems, who won how often, and the first ones."""
    problems = ranking.problems
    several = len(problems) > 1
    said = []
    for problem in problems[:SHOWN] if len(problems) > SHOWN else problems:
        if ranking.by_choice:
            said.append(f"best{f' on {problem.name}' if several else ''}: {answer(problem)}")
        else:
            said.append(f"{problem.name}: {answer(problem)}" if problem.name else answer(problem))
    if len(problems) <= SHOWN:
        return said
    head = [_wins(ranking)] if ranking.by_choice else []
    return [*head, *said, f"and {counted(len(problems) - SHOWN, 'problem')} more"]


def line(ranking: Ranking) -> str:
    """The sentences in one line."""
    return ". ".join(sentences(ranking))


def answer(problem: Problem) -> str:
    """The sentence for one problem."""
    first = problem.standings[0]
    n = len(first.endings)
    end = ends.reached(first.endings, places(first.params))
    if not first.label:
        return _of_starts(first, problem.over, end)
    if not np.isfinite(first.loss):
        whole = all(not np.isfinite(s.low) for s in problem.standings)
        often = "" if whole else " in half of its runs or more"
        return f"none; every choice diverged{often}{_advice(first)}"
    what = "median loss" if n > 1 else "loss"
    over = f" over {_over(first, problem.over)}" if n > 1 else ""
    margin = _margin(problem.standings)
    return f"{first.label} {what} {number(first.loss, 3)}{over}, {margin}; {end}"


def _of_starts(only: Standing, over: str, end: str) -> str:
    """The sentence where nothing was chosen: runs differ in their starts alone."""
    n = len(only.endings)
    if n == 1:
        return f"loss {number(only.loss, 3)}; {end}"
    if not np.isfinite(only.low):
        return f"all {n:,} runs diverged{_advice(only)}"
    return (
        f"median loss {number(only.loss, 3)} over {_over(only, over)}, "
        f"the lowest {number(only.low, 3)}; {end}"
    )


def _over(standing: Standing, over: str) -> str:
    """What a median is taken over; runs that differ in how they are recorded share a start."""
    n, apart = len(standing.endings), len(standing.starts)
    return f"{n:,} {over}" if apart == n else f"{n:,} runs of {counted(apart, over[:-1])}"


def _advice(of: Standing) -> str:
    return "; smaller steps (schedule.eta) may hold" if "schedule.eta" in of.params else ""


def _margin(standings: Sequence[Standing]) -> str:
    """By how much the first is ahead of the next."""
    if len(standings) == 1:
        return "alone"
    first, second = standings[:2]
    mine = first.label.split(" ")
    name = " ".join(w for w in second.label.split(" ") if w not in mine) or second.label
    if first.starts != second.starts:
        name += " (which had other starts)"
    if not np.isfinite(second.loss):
        return f"the others diverged ({name} first)"
    level = [s for s in standings[1:] if s.rank == 1]
    if level:
        more = f" and {len(level) - 1:,} more" if len(level) > 1 else ""
        return f"level with the next choice, {name}{more}"
    if second.loss <= first.loss + SAME * max(1.0, abs(first.loss)):
        ratio = second.steps / first.steps if first.steps > 0 else np.inf
        times = f"{number(ratio, 3)} times fewer" if ratio >= ALMOST else "fewer"
        return f"in {counted(round(first.steps), 'step')}, {times} than the next choice, {name}"
    if first.loss > 0 and second.loss >= ALMOST * first.loss:
        ratio = second.loss / first.loss
        times = number(ratio, 3) if ratio < 1000 else f"10^{np.log10(ratio):.0f}"
        return f"{times} times below the next choice, {name}"
    return f"{number(second.loss - first.loss, 3)} below the next choice, {name}"


def _wins(ranking: Ranking) -> str:
    """Who won how often: `of 25 problems: schedule=polyak wins 20, schedule=exact 4; 1 level`."""
    wins: Counter[str] = Counter()
    undecided = 0
    labels = _choice_labels(ranking)
    for problem in ranking.problems:
        first = [s for s in problem.standings if s.rank == 1]
        if len(first) == 1 and np.isfinite(first[0].loss) and len(problem.standings) > 1:
            wins[labels[first[0].members[0]]] += 1
        else:
            undecided += 1
    best = [f"{name} on {n:,}" for name, n in wins.most_common(SHOWN)]
    if len(wins) > SHOWN:
        best.append("others on the rest")
    level = [f"none on {undecided:,}"] if undecided else []
    return f"best of {len(ranking.problems):,} problems: {', '.join([*best, *level])}"


def _choice_labels(ranking: Ranking) -> dict[int, str]:
    """Label of each choice, the same on all problems, by the number of its first run."""
    standings = ranking.standings
    labels = parameters.labels([s.params for s in standings], ranking.by_choice)
    return {s.members[0]: label for s, label in zip(standings, labels, strict=True)}


def table(ranking: Ranking) -> pd.DataFrame:
    """One row a choice on a problem, best first, in the order in which the sentences rank.

    Columns: the problem's parameters, rank, the choice's, loss (the median), lowest, highest and
    runs where there are several, steps, converged and diverged (how many), reached (in words).
    """
    many = any(len(s.endings) > 1 for s in ranking.standings)
    rows = []
    for s in ranking.standings:
        row: dict[str, Any] = {k: s.params.get(k, "") for k in ranking.by_problem}
        row |= {"rank": s.rank, **{k: s.params.get(k, "") for k in ranking.by_choice}}
        row["loss"] = s.loss
        if many:
            row |= {"lowest": s.low, "highest": s.high, "runs": len(s.endings)}
        counts = Counter(e.status for e in s.endings)
        row |= {"steps": s.steps, "converged": counts["converged"], "diverged": counts["diverged"]}
        rows.append(row | {"reached": ends.reached(s.endings, places(s.params))})
    return pd.DataFrame({name: [row[name] for row in rows] for name in rows[0]})


def best_runs(ranking: Ranking, most: int) -> list[list[int]]:
    """Numbers of the best runs of each problem, best first; so many in all."""
    found = []
    for problem in ranking.problems:
        ended = [pair for s in problem.standings for pair in zip(s.members, s.endings)]
        ended.sort(key=lambda pair: (pair[1].loss, pair[1].steps, pair[0]))
        found.append([i for i, _ in ended[: max(1, most // len(ranking.problems))]])
    return found
