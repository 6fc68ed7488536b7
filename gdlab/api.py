"""Descents from Python: `descend` computes and judges, and tracks nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from gdlab import numerics
from gdlab.errors import UsageError
from gdlab.launch.build import number
from gdlab.launch.campaign import Listener, Outcome, Plan, Settings, carry_out
from gdlab.runner import sweep, tracing
from gdlab.types import Method, Objective, Record, Records, Schedule

__all__ = ["Listener", "Outcome", "Plan", "Settings", "carry_out", "descend", "judged"]

# What the arguments of `descend` are, in words.
TAKES = {
    "objective": "a gdlab.Objective, e.g. gdlab.Objective(f, dim=2) or gdlab.objectives.booth()",
    "method": "a gdlab.Method, e.g. gdlab.methods.gradient()",
    "schedule": "a gdlab.Schedule, e.g. gdlab.schedules.constant(0.01)",
}


@numerics.computing()
def descend(
    objective: Objective,
    x0: Any,
    *,
    method: Method | None = None,
    schedule: Schedule | None = None,
    steps: int = 1000,
    gtol: float = 1e-8,
    record: str = "log",
    points: int = 100,
    probes: Sequence[str] = (),
    precision: str = "float64",
    verdict: str | bool = "full",
) -> Record | Records:
    """Descends from x0 and returns what happened; nothing is tracked.

    Args:
        objective: what to descend on.
        x0: a start `[d]`, or many `[n, d]`; in one dimension a number too.
        method: descent direction (default: the gradient).
        schedule: step size (default: constant 0.01).
        steps: at most.
        gtol: converged once ||grad f|| <= gtol.
        record: `log`, `linear`, `all` or `ends`; see `points`.
        points: about how many steps to record.
        probes: names of further probes, e.g. `("sharpness",)`.
        precision: `float64` or `float32`.
        verdict: how to judge the end points: `full`; `quick` by the Hessian's eigenvalues where
            they decide, neither polished nor proved; `off` not at all.

    Returns:
        A `Record` for one start, `Records` for many.

    Raises:
        UsageError: x0 has the wrong dimension or is not real, an argument is of another type, or
            a number is out of its range.
        MissingFact: the rule needs a fact that the objective lacks.
    """
    for key, value, kind in (
        ("objective", objective, Objective),
        ("method", method, Method | None),
        ("schedule", schedule, Schedule | None),
    ):
        if not isinstance(value, kind):
            raise UsageError(f"{key}={_shown(value)}: takes {TAKES[key]}")
    objective = tracing.checked(objective, objective.name)
    gtol = number("stop.gtol", gtol, "gtol")
    how = number("verdict", verdict)
    start = _start(objective, x0)
    records = sweep.descents(
        objective,
        start,
        method=method,
        schedule=schedule,
        steps=number("steps", steps),
        gtol=gtol,
        record=number("record.spacing", record, "record"),
        points=number("record.points", points, "points"),
        probes=(probes,) if isinstance(probes, str) else probes,
        precision=number("precision", precision),
        tails=how != "off",
    )
    if how != "off":
        records = judged(objective, records, gtol, how)
    return records[0] if start.ndim == 1 else records


def _start(objective: Objective, x0: Any) -> np.ndarray:
    """x0 as floats; a number, in one dimension, as a point."""
    try:
        start = np.asarray(x0)
        if start.dtype.kind in "cOSUMm":
            raise TypeError
    except (TypeError, ValueError):  # rows of different lengths, words, complex numbers
        raise UsageError(
            f"x0={_shown(x0)}: takes real numbers [{objective.dim}] or [n, {objective.dim}]"
        ) from None
    return start.astype(float).reshape(1 if start.ndim == 0 and objective.dim == 1 else start.shape)


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def judged(objective: Objective, records: Records, gtol: float, how: str = "full") -> Records:
    """The records with a verdict for each end point, `full` or `quick`."""
    from gdlab.critical.verdict import judge

    x, status, tail = records.x, records.status, records.tail
    verdicts = judge(objective, x, status, gtol=gtol, tail=tail, how=how)
    return dataclasses.replace(records, verdicts=verdicts)
