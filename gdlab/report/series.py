"""Curves and points for the page's interactive charts, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gdlab.analysis import parameters, ranking
from gdlab.analysis.statistics import ordered_quantiles

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
    ranked = ranking.rank_runs(part)
    if len(part) <= LINES:
        params = parameters.of_runs(part)
        keys = [k for k in parameters.varying(params) if parameters.role(k) != "silent"]
        (best, *more) = ranking.best_runs(ranked, len(part) * len(ranked.problems))
        order = [i for members in (best, *more) for i in members]
        labels = parameters.labels(params, keys)
        run_ids, names = part["run_id"].tolist(), part["name"].tolist()
        return [
            _line(labels[i] or str(names[i]), histories[run_ids[i]]) for i in order
        ], f"{len(part)} runs"
    run_ids = part["run_id"].tolist()
    several = len(ranked.problems) > 1
    standings = [(p.name if several else "", s) for p in ranked.problems for s in p.standings]
    lines = []
    for problem, s in standings[:LINES]:
        own = [histories[run_ids[i]] for i in s.members]
        diverged = [e.status == "diverged" for e in s.endings]
        label = f"{problem} {s.label}".strip() or "all runs"
        lines.append(_line(label, own[0]) if len(own) == 1 else _median(label, own, diverged))
    total = len(standings)
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


def _median(
    label: str, histories: Sequence[pd.DataFrame], diverged: Sequence[bool]
) -> dict[str, Any]:
    """The median of many descents; one that has ended keeps its last values.

    What diverged is infinitely bad after its last step.
    """
    steps = np.unique(np.concatenate([h["step"].to_numpy() for h in histories]))
    steps = steps[_thinned(len(steps))]
    line: dict[str, Any] = {"label": label, "step": steps.tolist()}
    for q in QUANTITIES:
        if not all(q in h for h in histories):
            continue
        rows = []
        for h, gone in zip(histories, diverged, strict=True):
            at = h["step"].to_numpy()
            row = h[q].to_numpy(float)[np.maximum(np.searchsorted(at, steps, side="right") - 1, 0)]
            rows.append(np.where(gone & (steps > at[-1]), np.inf, row))
        values = np.nan_to_num(np.array(rows), nan=np.inf, posinf=np.inf, neginf=-np.inf)
        bands = ordered_quantiles(values, (0.5, LOW, HIGH))
        for suffix, band in zip(("", "_low", "_high"), bands, strict=True):
            line[q + suffix] = _numbers(band)
    return line


def scatter(runs: pd.DataFrame, panel: pd.Series) -> list[dict[str, Any]]:
    """Final loss against each swept number: `name`, `parameter`, and by status `x`, `y`, `text`."""
    found = []
    for name, part in runs.groupby(panel, sort=True):
        params = parameters.of_runs(part)
        for c in parameters.telling(params)[1]:
            values = [row.get(c) for row in params]
            x = pd.to_numeric(pd.Series(values, index=part.index), errors="coerce")
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
