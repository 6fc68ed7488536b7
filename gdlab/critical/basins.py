"""Which start goes where: basins of attraction on a grid of starts.

The grid covers a box, or a plane slice of it with the other coordinates fixed, and is descended as
one run. Each end point belongs to a critical point (`assign`). Descents that use up their steps are
followed for some more: where their iterates repeat, they belong to a cycle (`orbits`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gdlab import numerics
from gdlab.critical.assign import assign
from gdlab.critical.basin_map import Basins
from gdlab.critical.census import check_domain
from gdlab.critical.lengths import within
from gdlab.critical.orbits import Orbits, name_orbits, repeating
from gdlab.errors import UsageError
from gdlab.types import Method, Objective, Schedule

PART = 2**18  # starts in memory at once, with their records
FOLLOWED = 3  # largest dimension in which following descents that use up their steps is cheap ...
FEW = 2**14  # ... but so few starts are followed in any


@numerics.computing()
def basins(
    objective: Objective,
    domain: Any = None,
    *,
    resolution: int = 1000,
    axes: Sequence[int] = (0, 1),
    at: Sequence[float] | None = None,
    method: Method | None = None,
    schedule: Schedule | None = None,
    steps: int = 1000,
    gtol: float = 1e-8,
) -> Basins:
    """Descends from a grid of starts and says where each goes.

    Cycles are named where d <= 3 or the starts are few (2^14).

    Args:
        domain: `[d, 2]`; default: the objective's own.
        resolution: starts along each axis.
        axes: the two coordinates that vary.
        at: values of all coordinates, for those that do not vary; default: the domain's middle.
        method, schedule, steps, gtol: as in `gdlab.descend`; default schedule: constant 1/L where
            L is known, else 0.01.

    Raises:
        UsageError: no domain, or axes that the objective does not have.
    """
    from gdlab import schedules
    from gdlab.runner import sweep

    box = check_domain(objective, domain)
    d = objective.dim
    vary = [0] if d == 1 else list(axes)
    if d > 1 and (len(set(vary)) != 2 or not all(0 <= a < d for a in vary)):
        raise UsageError(f"axes={list(axes)}: takes two different coordinates of 0 to {d - 1}")
    if resolution < 2:
        raise UsageError(f"resolution={resolution}: takes 2 or more")
    fixed = box.mean(axis=1) if at is None else np.asarray(at, float)
    if fixed.shape != (d,):
        raise UsageError(f"at={np.asarray(at).tolist()}: takes {d} numbers")
    lines = [box[a, 0] + (np.arange(resolution) + 0.5) / resolution * np.ptp(box[a]) for a in vary]
    shape = (resolution,) * len(vary)
    x0 = np.broadcast_to(fixed, (resolution ** len(vary), d)).copy()
    for a, values in zip(vary, np.meshgrid(*lines, indexing="ij"), strict=True):
        x0[:, a] = values.ravel()
    if schedule is None:
        smooth = objective.facts.L is not None
        schedule = schedules.constant(1.0, "1/L") if smooth else schedules.constant(0.01)
    objective = within(objective, box)
    follow = d <= FOLLOWED or len(x0) <= FEW
    cycles: list[Orbits] = []
    ends: list[np.ndarray] = []
    status: list[np.ndarray] = []
    taken: list[np.ndarray] = []
    for begin in range(0, len(x0), PART):
        part = sweep.descents(
            objective, x0[begin : begin + PART], method=method, schedule=schedule, steps=steps,
            gtol=gtol, record="ends", tails=follow,
        )  # fmt: skip
        if part.tail is not None:
            cycles.append(repeating(objective, part.tail, begin))
        ends.append(part.x)
        status.append(np.asarray(part.status))
        taken.append(np.asarray(part.steps))
    label, points = assign(objective, np.concatenate(ends), np.concatenate(status), gtol)
    if cycles:
        points += name_orbits(objective, cycles, label, len(points))
    counts = np.concatenate(taken).reshape(shape)
    named = tuple(zip(vary, lines, strict=True))
    return Basins(objective.name, named, label.reshape(shape), points, counts)


@numerics.computing()
def shares_along(
    objective: Objective,
    values: Sequence[float],
    schedule: Callable[[float], Schedule] | None = None,
    *,
    method: Callable[[float], Method] | None = None,
    resolution: int = 100,
    **options: Any,
) -> pd.DataFrame:
    """How the shares change along a parameter, such as the step size.

    Args:
        values: of the parameter.
        schedule, method: the rule at a value (default: constant step size, the gradient).
        options: as in `basins`.

    Returns:
        Long form: value, point (x as text), kind, index, share, low, high, x0 ...
    """
    from gdlab import schedules

    make = schedule or (lambda eta: schedules.constant(eta))
    tables = []
    for value in values:
        rule = None if method is None else method(value)
        seen = basins(
            objective, schedule=make(value), method=rule, resolution=resolution, **options
        )
        tables.append(seen.table.assign(value=float(value)))
    table = pd.concat(tables, ignore_index=True)
    xs = [c for c in table.columns if c.startswith("x")]
    table["point"] = [
        ", ".join(f"{v:.4g}" for v in row if not np.isnan(v)) or kind
        for row, kind in zip(table[xs].to_numpy(float) + 0.0, table["kind"], strict=True)
    ]
    first = ["value", "point", "kind", "index", "share", "low", "high", "count"]
    return table[[*first, *[c for c in table.columns if c not in first]]]
