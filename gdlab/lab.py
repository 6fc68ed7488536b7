"""The conductor: configurations -> jobs -> records -> tracked runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from gdlab import numerics

numerics.configure()  # before the rooms below start jax

from gdlab import sweep  # noqa: E402
from gdlab.campaign import Listener, Outcome, Plan, Settings, carry_out  # noqa: E402
from gdlab.types import Method, Objective, Record, Records, Schedule  # noqa: E402

__all__ = ["Listener", "Outcome", "Plan", "Settings", "carry_out", "descend", "judged"]


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
    verdict: bool = True,
) -> Record | Records:
    """Descends from x0 and returns what happened; nothing is tracked.

    Args:
        objective: what to descend on.
        x0: a start `[d]`, or many `[n, d]`.
        method: descent direction (default: the gradient).
        schedule: step size (default: constant 0.01).
        steps: at most.
        gtol: converged once ||grad f|| <= gtol.
        record: `log`, `linear`, `all` or `ends`; see `points`.
        points: about how many steps to record.
        probes: names of further probes, e.g. `("sharpness",)`.
        precision: `float64` or `float32`.
        verdict: whether to judge the end points.

    Returns:
        A `Record` for one start, `Records` for many.

    Raises:
        UsageError: x0 has the wrong dimension, or a number is out of its range.
        MissingFact: the rule needs a fact that the objective lacks.
    """
    start = np.asarray(x0, float)
    records = sweep.descents(
        objective,
        start,
        method=method,
        schedule=schedule,
        steps=steps,
        gtol=gtol,
        record=record,
        points=points,
        probes=probes,
        precision=precision,
        tails=verdict,
    )
    if verdict:
        records = judged(objective, records, gtol)
    return records[0] if start.ndim == 1 else records


def judged(objective: Objective, records: Records, gtol: float) -> Records:
    """The records with a verdict for each end point."""
    from gdlab.critical.verdict import judge

    verdicts = judge(objective, records.x, records.status, gtol=gtol, tail=records.tail)
    return dataclasses.replace(records, verdicts=verdicts)
