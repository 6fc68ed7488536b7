"""Which configuration won, by how much, and what it reached: functions of a table of runs.

The terminal, the report and the MLflow UI say it in this one sentence.

A configuration is everything that differs between runs, except the seed; its loss is the median
over seeds, and a run that diverged counts as infinitely bad.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gdlab import registry
from gdlab.analysis import tables
from gdlab.errors import UsageError
from gdlab.types import Objective

# Said elsewhere in other words, or of no consequence for a number.
SILENT = {"schedule.log10_eta", "record.points", "record.spacing", "record.probes", "numerics"}
SAME = 1e-12  # losses so near to each other are equal: then the fewer steps win
SHOWN = 4  # objectives in one line


def table(params: Iterable[Mapping[str, Any]], ends: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Runs with the columns of `tracking.read.load`: their parameters, and `loss`, `status` ..."""
    rows = [
        {
            **{"params.steps" if k == "steps" else k: tables.hashable(v) for k, v in of.items()},
            **end,
        }
        for of, end in zip(params, ends, strict=True)
    ]
    return pd.DataFrame(rows)


def configurations(runs: pd.DataFrame) -> list[str]:
    """The parameters that tell configurations apart: those that differ, without the seed.

    A key that another choice implies (`objective.a` where only one objective has an `a`) says
    nothing and is left out.
    """
    names = [
        c
        for c in runs.columns
        if c == "precision"
        or ("." in c and c not in SILENT and (not c.startswith("params.") or c == "params.steps"))
    ]
    several = [c for c in tables.swept(runs, names) if c != "seed"]
    chosen = [c for c in several if c.endswith(".name")]
    cells: list[Any] = [runs[name].map(repr) for name in chosen]
    kept = []
    for c in several:
        alone = c in chosen or not chosen
        if alone or len({*zip(runs[c].map(repr), *cells)}) > len({*zip(*cells)}):
            kept.append(c)
    return sorted(kept, key=lambda c: (not c.startswith("objective."), not c.endswith(".name")))


def standings(runs: pd.DataFrame, by: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a configuration, best first, the objectives in the order of their names.

    Columns: rank (within the objective), the parameters, median, lowest, highest, n, diverged
    (share), reached (in words).
    """
    by = configurations(runs) if by is None else list(by)
    table = _order(runs, by)
    if not by:
        return table.assign(reached=reached(runs))
    words = pd.Series(
        {key: reached(part) for key, part in runs.groupby(by, sort=False, dropna=False)},
        name="reached",
    )
    words.index.names = by
    return table.merge(words.reset_index(), on=by, how="left")


def _order(runs: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """`standings` without what was reached."""
    by = list(by)
    table = tables.leaderboard(runs, by=by)
    runs = runs.assign(steps=runs["steps"].astype(float) if "steps" in runs else np.nan)
    if not by:
        return table.drop(columns="configuration").assign(steps=runs["steps"].median())
    groups = runs.groupby(by, sort=False, dropna=False)
    table = table.merge(groups["steps"].median().reset_index(), on=by, how="left")
    parts = [table]
    if "objective.name" in by:
        parts = [part for _, part in table.groupby("objective.name")]
    table = pd.concat([_ranked(part) for part in parts], ignore_index=True)
    table["rank"] = [rank for part in parts for rank in range(1, len(part) + 1)]
    return table


def _ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Lowest median first; among those as low as the lowest, the fewest steps first."""
    low = float(table["median"].min())
    bound = low + SAME * max(1.0, abs(low))
    level = (table["median"] <= bound).to_numpy()
    order = table.assign(
        _at=np.where(level, low, table["median"]), _steps=np.where(level, table["steps"], 0.0)
    ).sort_values(["_at", "_steps", "median"], kind="stable")
    return order.drop(columns=["_at", "_steps"])


def sentences(runs: pd.DataFrame) -> list[str]:
    """The answer for each objective: which choice won, by how much, and what it reached.

    Args:
        runs: columns of `tracking.read.load`: parameters, `loss`, `status`, `critical_kind`,
            `reached`.
    """
    if "objective.name" not in runs or len(set(runs["objective.name"])) == 1:
        return [f"best: {answer(runs)}"]
    return [f"best on {name}: {answer(part)}" for name, part in runs.groupby("objective.name")]


def line(runs: pd.DataFrame) -> str:
    """The sentences in one line, those of the first objectives where there are many."""
    said = sentences(runs)
    more = f". And {_count(len(said) - SHOWN, 'objective')} more" if len(said) > SHOWN else ""
    return ". ".join(said[:SHOWN]) + more


def answer(runs: pd.DataFrame) -> str:
    """The answer for runs of one objective, as `sentences` gives it."""
    by = configurations(runs)
    if not by:
        return of_seeds(runs)
    table = _order(runs, by).astype(object)  # a row of it keeps integers apart from floats
    first = table.iloc[0]
    if not np.isfinite(first["median"]):
        return "none; every configuration diverged; smaller steps (schedule.eta) may hold"
    # As text: repr tells a NumPy scalar from the same number of Python, and NaN is not NaN.
    mine = np.logical_and.reduce([runs[c].map(str) == str(first[c]) for c in by])
    what = "median loss" if first["n"] > 1 else "loss"
    seeds = f" over {first['n']} seeds" if first["n"] > 1 else ""
    return (
        f"{label(first, by)} {what} {_loss(first['median'])}{seeds}, {_margin(table, by)}; "
        f"{reached(runs[mine])}"
    )


def of_seeds(runs: pd.DataFrame) -> str:
    """The answer for runs that differ in the seed alone."""
    loss = runs["loss"].to_numpy(float)
    bad = ~np.isfinite(loss) | (runs["status"] == "diverged").to_numpy()
    loss = np.where(bad, np.inf, loss)
    if len(runs) == 1:
        return f"loss {_loss(loss[0])}; {reached(runs)}"
    if bad.all():
        return f"none; all {len(runs):,} runs diverged; smaller steps (schedule.eta) may hold"
    best = int(loss.argmin())
    return (
        f"seed={runs['seed'].iloc[best]} loss {_loss(loss[best])}, the median of "
        f"{_count(len(runs), 'run')} {_loss(float(np.median(loss)))}; {reached(runs)}"
    )


def label(row: Any, by: Sequence[str]) -> str:
    """A configuration as one would type it: `schedule=backtracking schedule.eta=0.01`."""
    return " ".join(f"{c.removesuffix('.name')}={_short(row[c])}" for c in by if _given(row[c]))


def reached(runs: pd.DataFrame) -> str:
    """What these runs ended in, most frequent first: `reached a minimum at known point 0`."""
    ends = Counter(map(_end, runs.to_dict("records")))
    total = sum(ends.values())
    (first, count), *others = ends.most_common(3)
    if count == total:
        every = f" in all {total} runs" if total > 1 else ""
        return first + every
    parts = [f"{first} in {count:,} of {total:,} runs", *(f"{end} in {n:,}" for end, n in others)]
    text = ", ".join(parts) + (", ..." if len(ends) > 3 else "")
    first, *rest = text.split("reached ")
    return "reached ".join([first, "".join(rest)]) if rest else text


def _end(row: Mapping[Any, Any]) -> str:
    status, kind, known = (row.get(key) for key in ("status", "critical_kind", "reached"))
    if status == "diverged":
        return "diverged"
    if not _given(kind):
        return str(status)
    if str(kind).replace(" ", "_") == "not_critical":
        return "stopped short of a critical point"
    index = row.get("morse_index")
    if kind == "saddle" and _given(index):
        kind = f"saddle of index {int(index or 0)}"
    if kind == "mixed":
        return "its starts ended in points of several kinds"
    where = ""
    if _given(known):
        where = f" at {place_of(row) or f'known point {int(known or 0)}'}"
    return f"reached {'an' if str(kind)[0] in 'aeiou' else 'a'} {kind}{where}"


def place_of(run: Mapping[str, Any]) -> str | None:
    """Where the known point lies that a run reached: `(1, 1)`; None in many dimensions."""
    objective = objective_of(run)
    points = objective.facts.critical_points if objective is not None else None
    if points is None or points.x.shape[1] > 4 or int(run["reached"]) >= len(points.x):
        return None
    x = points.x[int(run["reached"])] + 0.0
    return f"({', '.join(f'{v:.4g}' for v in x)}), known point {int(run['reached'])}"


def objective_of(params: Mapping[str, Any]) -> Objective | None:
    """The objective that a run's parameters name; None where they do not make one."""
    if "objective.name" not in params:
        return None
    keys = [
        (k.removeprefix("objective."), tables.hashable(v))
        for k, v in params.items()
        if k.startswith("objective.") and k != "objective.name" and _given(v)
    ]
    return _objective(str(params["objective.name"]), tuple(keys))


@functools.lru_cache(maxsize=64)
def _objective(name: str, keys: tuple[tuple[str, Any], ...]) -> Objective | None:
    try:
        return registry.build("objective", name, dict(keys))
    except (UsageError, TypeError):
        return None


def _margin(table: pd.DataFrame, by: Sequence[str]) -> str:
    if len(table) == 1:
        return "alone"
    best, second = table["median"].iloc[0], table["median"].iloc[1]
    name = label(table.iloc[1], [c for c in by if repr(table[c].iloc[0]) != repr(table[c].iloc[1])])
    if not np.isfinite(second):
        return f"the others diverged ({name} first)"
    if second - best <= SAME * max(1.0, abs(best)):
        mine, other = table["steps"].iloc[0], table["steps"].iloc[1]
        if mine > 0 and other > mine:
            return (
                f"in {mine:,.0f} steps, {other / mine:.3g} times fewer than the next choice, {name}"
            )
        return f"level with the next choice, {name}"
    if best > 0:
        ratio = second / best
        times = f"{ratio:.3g}" if ratio < 1000 else f"10^{np.log10(ratio):.0f}"
        return f"{times} times below the next choice, {name}"
    return f"{second - best:.3g} below the next choice, {name}"


def _given(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return True
    return not (value is None or value is pd.NA or value != value or value == "")


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _loss(value: float) -> str:
    return f"{value:.3g}"


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
