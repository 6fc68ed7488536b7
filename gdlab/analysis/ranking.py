"""Who won: which choice reached the lowest loss on each problem, by how much, and where it ended.

The terminal, the report and the MLflow UI rank by this; `wording` says it in a sentence.

A problem is one objective with its parameters: losses of different problems are never compared.
A choice is how it was descended on; starts and seeds of any kind are what it is tried over. Its
loss is the median over them, and what diverged is infinitely bad.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gdlab.analysis import endings as ends
from gdlab.analysis import parameters
from gdlab.analysis.endings import Ending
from gdlab.analysis.known_points import places
from gdlab.analysis.parameters import Params

if TYPE_CHECKING:
    import pandas as pd


SAME = 1e-12  # losses so near to the lowest are equal to it: then the fewer steps win


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
    """Ranks the choices on each problem; runs that differ in how they are judged count once.

    Args:
        params: of each run, dotted key -> value.
        endings: of each run.
    """
    by_problem, by_choice = parameters.telling(params)
    paired = parameters.starts(params)
    counting = set(parameters.judged_once(params))
    problems = [
        [i for i in members if i in counting] for members in parameters.grouped(params, by_problem)
    ]
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


def columns(ranking: Ranking) -> dict[str, list[Any]]:
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
    return {name: [row[name] for row in rows] for name in rows[0]}


def table(ranking: Ranking) -> pd.DataFrame:
    """`columns` as a table."""
    import pandas as pd

    return pd.DataFrame(columns(ranking))


def best_runs(ranking: Ranking, most: int) -> list[list[int]]:
    """Numbers of the best runs of each problem, best first; so many in all."""
    found = []
    for problem in ranking.problems:
        ended = [pair for s in problem.standings for pair in zip(s.members, s.endings)]
        ended.sort(key=lambda pair: (pair[1].loss, pair[1].steps, pair[0]))
        found.append([i for i, _ in ended[: max(1, most // len(ranking.problems))]])
    return found
