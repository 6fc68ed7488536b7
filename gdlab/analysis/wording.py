"""Who won, in words: by how much, over how many starts, and where it ended.

The terminal, the report and the MLflow UI say it in these sentences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from gdlab.analysis import endings as ends
from gdlab.analysis import parameters
from gdlab.analysis.known_points import places
from gdlab.analysis.numbers import counted, number
from gdlab.analysis.ranking import SAME, Problem, Ranking, Standing

SHOWN = 4  # problems whose winners are all named
ALMOST = 1.005  # a smaller ratio of losses is said as a difference


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
