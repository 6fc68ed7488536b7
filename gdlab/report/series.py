"""Curves and points for the page's interactive charts, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gdlab.analysis import ranking

QUANTITIES = ("loss", "gap", "grad_norm", "step_size")
LINES = 24  # of a panel; beyond, configurations are drawn by their medians, the best ones
POINTS = 160  # of a line
LOW, HIGH = 0.1, 0.9


def panels(
    runs: pd.DataFrame, curves: pd.DataFrame | None, panel: pd.Series
) -> list[dict[str, Any]]:
    """Lines to draw: a panel a sweep or objective, in it a line a run or configuration.

    Each panel: `name`, `note`, `quantities`, `lines`; a line: `label`, `step`, and of each
    quantity its values, with `<quantity>_low` and `<quantity>_high` where it stands for many.
    """
    if curves is None:
        return []
    by_run = dict(tuple(curves.groupby("run_id", sort=False)))
    found = []
    for name, part in runs.groupby(panel, sort=True):
        part = part[[run_id in by_run for run_id in part["run_id"]]]
        histories = {r: by_run[r].sort_values("step") for r in part["run_id"]}
        moving = [r for r, h in histories.items() if h["step"].iloc[-1] > 1]
        part = part[part["run_id"].isin(moving)]
        if not len(part):
            continue
        lines, note = _lines(part, histories)
        quantities = [q for q in QUANTITIES if any(_some(line.get(q)) for line in lines)]
        if quantities:
            found.append(
                {"name": str(name), "note": note, "quantities": quantities, "lines": lines}
            )
    return found


def _lines(part: pd.DataFrame, histories: dict[str, pd.DataFrame]) -> tuple[list[Any], str]:
    by = ranking.configurations(part)
    if len(part) <= LINES:
        names = [*by, "seed"] if len(set(part["seed"])) > 1 else by
        order = part.sort_values(["loss", "run_id"], kind="stable")
        return [
            _line(ranking.label(run, names) or str(run["name"]), histories[run["run_id"]])
            for _, run in order.iterrows()
        ], f"{len(part)} runs"
    table = ranking.standings(part, by).head(LINES)
    lines = []
    for _, row in table.iterrows():
        same = [(part[c].map(repr) == repr(row[c])).to_numpy() for c in by]
        mine = np.logical_and.reduce([np.ones(len(part), bool), *same])
        own = [histories[r] for r in part.loc[mine, "run_id"]]
        label = ranking.label(row, by) or "all runs"
        lines.append(_line(label, own[0]) if len(own) == 1 else _median(label, own))
    total = len(ranking.standings(part, by)) if by else 1
    shown = f", the best {LINES} of {total} configurations" if total > LINES else ""
    return lines, f"{len(part):,} runs{shown}; medians, and the 10 to 90 % of the runs"


def _line(label: str, history: pd.DataFrame) -> dict[str, Any]:
    at = _thinned(len(history))
    line: dict[str, Any] = {"label": label, "step": history["step"].to_numpy()[at].tolist()}
    for q in QUANTITIES:
        if q in history:
            line[q] = _numbers(history[q].to_numpy(float)[at])
            for end, source in (("low", f"{q}_q10"), ("high", f"{q}_q90")):
                if source in history and history[source].notna().any():
                    line[f"{q}_{end}"] = _numbers(history[source].to_numpy(float)[at])
    return line


def _median(label: str, histories: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """The median of many descents; one that has ended keeps its last values."""
    steps = np.unique(np.concatenate([h["step"].to_numpy() for h in histories]))
    steps = steps[_thinned(len(steps))]
    line: dict[str, Any] = {"label": label, "step": steps.tolist()}
    for q in QUANTITIES:
        if not all(q in h for h in histories):
            continue
        rows = []
        for h in histories:
            at = np.searchsorted(h["step"].to_numpy(), steps, side="right") - 1
            rows.append(h[q].to_numpy(float)[np.maximum(at, 0)])
        values = np.nan_to_num(np.array(rows), nan=np.inf, posinf=np.inf, neginf=-np.inf)
        for suffix, level in (("", 0.5), ("_low", LOW), ("_high", HIGH)):
            line[q + suffix] = _numbers(np.quantile(values, level, axis=0, method="nearest"))
    return line


def scatter(runs: pd.DataFrame, panel: pd.Series) -> list[dict[str, Any]]:
    """Final loss against each swept number: `name`, `parameter`, and by status `x`, `y`, `text`."""
    found = []
    for name, part in runs.groupby(panel, sort=True):
        for c in ranking.configurations(part):
            x = pd.to_numeric(part[c], errors="coerce")
            if x.notna().sum() < 3 or len(set(x.dropna())) < 3:
                continue
            groups = []
            for status, own in part.groupby("status"):
                groups.append(
                    {
                        "status": str(status),
                        "x": _numbers(x[own.index].to_numpy(float)),
                        "y": _numbers(own["loss"].to_numpy(float)),
                        "text": own["name"].map(str).tolist(),
                    }
                )
            found.append({"name": str(name), "parameter": c, "groups": groups})
    return found


def _thinned(n: int) -> np.ndarray:
    """At most `POINTS` of n positions, denser at the beginning, both ends among them."""
    if n <= POINTS:
        return np.arange(n)
    dense = np.geomspace(1, n, POINTS // 2) - 1
    return np.unique(
        np.rint(np.concatenate([dense, np.linspace(0, n - 1, POINTS // 2)])).astype(int)
    )


def _numbers(values: np.ndarray) -> list[float | None]:
    """Six digits, None where there is no finite number (JSON has none)."""
    return [float(f"{v:.6g}") if np.isfinite(v) else None for v in values]


def _some(values: Sequence[float | None] | None) -> bool:
    return values is not None and any(v is not None for v in values)
