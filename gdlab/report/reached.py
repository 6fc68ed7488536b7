"""What the descents of a report reached: counts by objective, kind and known point."""

from __future__ import annotations

import pandas as pd

from gdlab.analysis.endings import Ending
from gdlab.analysis.known_points import objective_of


def verdicts(runs: pd.DataFrame) -> pd.DataFrame | None:
    """Counts by objective, kind and point reached; a run of many starts counts them all.

    Columns: objective, reached, known point, descents, share (of the objective's descents).
    """
    counts: dict[tuple[str, str, str], float] = {}
    # Runs of a single step map a landscape; they were not meant to end anywhere.
    walked = runs[runs["params.steps"].astype(float) > 1] if "params.steps" in runs else runs
    for _, run in walked.iterrows():
        for (kind, point), n in _ends(run).items():
            key = (str(run["objective.name"]), kind, point)
            counts[key] = counts.get(key, 0) + n
    if not counts:
        return None
    table = pd.DataFrame(
        [(*key, round(n)) for key, n in counts.items() if round(n)],
        columns=["objective", "reached", "known point", "descents"],
    )
    table["share"] = table["descents"] / table.groupby("objective")["descents"].transform("sum")
    return table.sort_values(
        ["objective", "descents", "reached", "known point"],
        ascending=[True, False, True, True],
        ignore_index=True,
    )


def _ends(run: pd.Series) -> dict[tuple[str, str], float]:
    """(kind, known point) -> descents of one run."""
    starts = run.get("starts")
    if starts is None or pd.isna(starts):
        ending = Ending.of_row({str(k): v for k, v in run.items()})
        if ending.status == "diverged" or ending.kind is None:
            return {(ending.status, ""): 1.0}
        return {(ending.label, "" if ending.reached is None else str(ending.reached)): 1.0}
    shares = {
        str(name).removeprefix("share_"): float(share) * float(starts)
        for name, share in run.items()
        if str(name).startswith("share_") and isinstance(share, float) and share > 0
    }
    kinds = {k: n for k, n in shares.items() if k not in ("converged", "budget")}
    points = {k: kinds.pop(k) for k in list(kinds) if k.startswith("reached_")}
    found = {(kind.replace("_", " "), ""): n for kind, n in kinds.items()}
    if (rest := float(starts) - sum(kinds.values())) > 0.5:
        found["not judged", ""] = rest
    for name, n in points.items():
        number = int(name.removeprefix("reached_"))
        kind, words = _known_kind(run, number)
        if found.get((kind, ""), 0.0) >= n - 0.5:
            found[kind, ""] -= n
            found[words, str(number)] = n
    return found


def _known_kind(run: pd.Series, number: int) -> tuple[str, str]:
    """Kind of an objective's known point, and the kind in words."""
    objective = objective_of({str(k): v for k, v in run.items()})
    points = objective.facts.critical_points if objective is not None else None
    if objective is None or points is None or number >= len(points.index):
        return "", ""
    index = int(points.index[number])
    kind = {0: "minimum", objective.dim: "maximum", -1: "degenerate"}.get(index, "saddle")
    return kind, f"saddle of index {index}" if kind == "saddle" else kind
