"""Which configuration won, by how much, and what it reached: pure functions of a table of runs.

A configuration is everything that differs between runs, except the seed; its loss is the median
over seeds, and a run that diverged counts as infinitely bad.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gdlab import tables

# Said elsewhere in other words, or of no consequence for a number.
SILENT = {"schedule.log10_eta", "record.points", "record.spacing", "record.probes", "numerics"}
SAME = 1e-12  # losses so near to each other are equal: then the fewer steps win

Place = Callable[[Mapping[str, Any]], str | None]


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
    table = tables.leaderboard(runs, by=by)
    runs = runs.assign(steps=runs["steps"].astype(float) if "steps" in runs else np.nan)
    if not by:
        table = table.drop(columns="configuration")
        return table.assign(steps=runs["steps"].median(), reached=reached(runs))
    groups = runs.groupby(by, sort=False, dropna=False)
    table = table.merge(groups["steps"].median().reset_index(), on=by, how="left")
    words = pd.Series({key: reached(part) for key, part in groups}, name="reached")
    words.index.names = by
    table = table.merge(words.reset_index(), on=by, how="left")
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


def sentences(runs: pd.DataFrame, place: Place | None = None) -> list[str]:
    """The answer for each objective: which choice won, by how much, and what it reached.

    Args:
        runs: columns of `tracking.read.load`: parameters, `loss`, `status`, `critical_kind`,
            `reached`.
        place: where a run's known point lies, in words; default its number alone.
    """
    if "objective.name" not in runs or len(set(runs["objective.name"])) == 1:
        return [f"best: {_answer(runs, place)}"]
    return [
        f"best on {name}: {_answer(part, place)}" for name, part in runs.groupby("objective.name")
    ]


def _answer(runs: pd.DataFrame, place: Place | None) -> str:
    by = configurations(runs)
    if not by and len(runs) > 1 and not np.isfinite(runs["loss"]).any():
        return f"none; all {len(runs):,} runs diverged; smaller steps (schedule.eta) may hold"
    if not by:
        seeds = f"the median of {_count(len(runs), 'run')}" if len(runs) > 1 else "loss"
        median = tables.leaderboard(runs, by=[])["median"].iloc[0]
        first = runs.sort_values("loss", kind="stable").iloc[0]
        seed = f"seed={first['seed']} loss {_loss(first['loss'])}, " if len(runs) > 1 else ""
        return f"{seed}{seeds} {_loss(median)}; {reached(runs, place)}"
    table = standings(runs, by)
    first = table.iloc[0]
    if not np.isfinite(first["median"]):
        return "none; every configuration diverged; smaller steps (schedule.eta) may hold"
    # As text: repr tells a NumPy scalar from the same number of Python, and NaN is not NaN.
    mine = np.logical_and.reduce([runs[c].map(str) == str(first[c]) for c in by])
    what = "median loss" if first["n"] > 1 else "loss"
    seeds = f" over {first['n']} seeds" if first["n"] > 1 else ""
    return (
        f"{label(first, by)} {what} {_loss(first['median'])}{seeds}, {_margin(table, by)}; "
        f"{reached(runs[mine], place)}"
    )


def label(row: Any, by: Sequence[str]) -> str:
    """A configuration as one would type it: `schedule=backtracking schedule.eta=0.01`."""
    return " ".join(f"{c.removesuffix('.name')}={_short(row[c])}" for c in by if _given(row[c]))


def reached(runs: pd.DataFrame, place: Place | None = None) -> str:
    """What these runs ended in, most frequent first: `reached a minimum at known point 0`."""
    ends = Counter(_end(row, place) for row in runs.to_dict("records"))
    total = sum(ends.values())
    (first, count), *others = ends.most_common(3)
    if count == total:
        every = f" in all {total} runs" if total > 1 else ""
        return first + every
    parts = [f"{first} in {count:,} of {total:,} runs", *(f"{end} in {n:,}" for end, n in others)]
    text = ", ".join(parts) + (", ..." if len(ends) > 3 else "")
    first, *rest = text.split("reached ")
    return "reached ".join([first, "".join(rest)]) if rest else text


def _end(row: Mapping[Any, Any], place: Place | None) -> str:
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
        where = f" at {(place and place(row)) or f'known point {int(known or 0)}'}"
    return f"reached {'an' if str(kind)[0] in 'aeiou' else 'a'} {kind}{where}"


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
    return not (value is None or value is pd.NA or value != value or value == "")


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _loss(value: float) -> str:
    return f"{value:.3g}"


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
