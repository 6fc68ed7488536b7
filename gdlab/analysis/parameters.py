"""What a parameter is for: it sets the problem, is chosen, is paired, or says nothing.

Losses are compared between choices, on one problem, over what is paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gdlab.analysis.numbers import numbers

if TYPE_CHECKING:
    import pandas as pd


Role = Literal["problem", "choice", "pair", "silent"]
Params = Mapping[str, Any]

# Every parameter is one of these, or lies in one of the groups; whatever else a table of runs
# has is a result. Where a result has a parameter's name, the parameter is `params.<name>`.
TOP = ("seed", "precision", "numerics", "verdict")
GROUPS = ("objective", "init", "method", "schedule", "oracle", "stop", "record", "code", "params")
# Said elsewhere in other words, or of no consequence for a number.
SILENT = ("numerics", "verdict", "schedule.log10_eta")
VERDICTS = ("full", "quick", "off")  # best first; runs of before there was a choice have none
MISSING = object()  # a key that a run does not have, unlike one whose value is null


def role(key: str) -> Role:
    """What a parameter is for.

    - `problem`: everything of the objective. A loss is compared on one problem only.
    - `pair`: starts and seeds of any kind. All choices get the same ones.
    - `silent`: how a run is recorded and judged.
    - `choice`: the rest: method, schedule, budget, precision.
    """
    group, _, last = key.rpartition(".")
    if key.startswith("objective.") or key == "code.objective":
        return "problem"
    if key.startswith("init.") or key == "code.init" or last == "seed" or last.endswith("_seed"):
        return "pair"
    if key in SILENT or key.startswith("record.") or group == "code.probe":
        return "silent"
    return "choice"


def varying(params: Sequence[Params]) -> list[str]:
    """The keys in which runs differ and that count, seeds last."""
    keys = dict.fromkeys(key for row in params for key in row)
    differ = [k for k in keys if len(_cells(params, k)) > 1]
    return sorted(differ, key=lambda key: key == "seed")


def several(params: Sequence[Params]) -> list[str]:
    """The keys that have more than one value, seed last: names and dashboards lead with them."""
    keys = dict.fromkeys(key for row in params for key in row)
    found = [key for key in keys if len(_cells([row for row in params if key in row], key)) > 1]
    return sorted(found, key=lambda key: key == "seed")


def telling(params: Sequence[Params]) -> tuple[list[str], list[str]]:
    """The keys that tell problems apart, and those that tell choices apart.

    A key that another choice implies (`objective.a` where only one objective has an `a`) says
    nothing and is left out.
    """
    differ = [k for k in varying(params) if role(k) in ("problem", "choice")]
    chosen = [k for k in differ if k.endswith(".name")]
    cells = [tuple(_cell(row, k) for k in chosen) for row in params]
    kept = [
        k
        for k in differ
        if k in chosen
        or not chosen
        or len({(_cell(row, k), *cell) for row, cell in zip(params, cells)}) > len(set(cells))
    ]
    kept.sort(key=lambda key: not key.endswith(".name"))
    return [k for k in kept if role(k) == "problem"], [k for k in kept if role(k) == "choice"]


def grouped(params: Sequence[Params], keys: Sequence[str]) -> list[list[int]]:
    """The runs that agree in some keys, in the order of their values."""
    found: dict[tuple[str, ...], list[int]] = {}
    for i, row in enumerate(params):
        found.setdefault(tuple(_cell(row, k) for k in keys), []).append(i)
    return sorted(found.values(), key=lambda of: [_place(params[of[0]], k) for k in keys])


def starts(params: Sequence[Params]) -> list[tuple[tuple[str, str], ...]]:
    """What each run is paired by."""
    keys = [k for k in varying(params) if role(k) == "pair"]
    return [tuple((k, _cell(row, k)) for k in keys) for row in params]


def judged_once(params: Sequence[Params]) -> list[int]:
    """The runs that count: of those that differ in `verdict` alone, the one judged the best.

    They are one descent, and no two starts.
    """
    if len(_cells(params, "verdict")) < 2:
        return list(range(len(params)))
    best: dict[Any, tuple[int, int]] = {}
    for i, row in enumerate(params):
        descent = tuple(sorted((k, _cell(row, k)) for k in row if k != "verdict"))
        how = row.get("verdict") or VERDICTS[0]
        place = VERDICTS.index(how) if how in VERDICTS else len(VERDICTS), i
        best[descent] = min(best.get(descent, place), place)
    return sorted(i for _, i in best.values())


def labels(rows: Sequence[Params], keys: Sequence[str]) -> list[str]:
    """Each row as one would type it: `schedule=backtracking stop.gtol=1e-06`; no two alike."""
    words: list[list[str]] = [[] for _ in rows]
    for key in keys:
        have = [i for i, row in enumerate(rows) if key in row]
        for i, text in zip(have, numbers([rows[i][key] for i in have])):
            words[i].append(f"{key.removesuffix('.name')}={text}")
    return [" ".join(part) for part in words]


def short(key: str) -> str:
    """`schedule.eta` -> `eta`, `method.name` -> `method`."""
    group, _, last = key.rpartition(".")
    return group if last == "name" else last


def of_runs(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """The parameters in a table of runs (columns of `gdlab.load`), a mapping a run."""
    names = [str(c) for c in runs.columns]
    columns = {
        name.removeprefix("params."): name
        for name in names
        if is_parameter(name) and f"params.{name}" not in names
    }
    rows: list[dict[str, Any]] = [{} for _ in range(len(runs))]
    for key, name in columns.items():
        for row, value in zip(rows, runs[name].tolist()):
            if isinstance(value, list | tuple) or value is None:
                row[key] = value
            elif value == value:  # NaN: this run has no such key
                row[key] = None if value == "" else value
    return rows


def is_parameter(column: str) -> bool:
    """Whether a column of a table of runs is a parameter, and no result."""
    group, dot, _ = column.partition(".")
    return column in TOP or bool(dot and group in GROUPS)


def _cells(params: Sequence[Params], key: str) -> set[str]:
    """The different values of a key; jobs share most of theirs, and one object is read once."""
    objects = {id(row.get(key, MISSING)): row for row in params}
    return {_cell(row, key) for row in objects.values()}


def _cell(row: Params, key: str) -> str:
    """A value by which runs are told apart; lists, null and what is missing among them."""
    value = row.get(key, MISSING)
    if value is MISSING:
        return ""
    if isinstance(value, np.generic):
        value = value.item()
    return repr(list(value) if isinstance(value, tuple) else value)


def _place(row: Params, key: str) -> tuple[int, float, str]:
    """Order along an axis: what is missing, null, numbers by size, the rest by its letters."""
    value = row.get(key, MISSING)
    if value is MISSING or value is None:
        return int(value is None), 0.0, ""
    if isinstance(value, int | float | np.number):
        return 2, float(value), ""
    return 3, 0.0, str(value)
