"""Saddles in time: how long a descent stays near each known saddle.

Near a saddle, descent with step size eta multiplies the component of x along the most unstable
direction by 1 + eta |lambda_min| at each step. A component eps grows to the radius r of the
neighbourhood after about log(r / eps) / log(1 + eta |lambda_min|) steps.

Reference: J. D. Lee, M. Simchowitz, M. I. Jordan, B. Recht, COLT 2016; S. S. Du et al., NeurIPS
2017 (escape times).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gdlab import numerics
from gdlab.critical.derivatives import Derivatives
from gdlab.types import Objective, Record, Verdict

COLUMNS = (
    "saddle", "index", "enter", "leave", "dwell", "closest", "eps", "eta", "lambda_min",
    "predicted",
)  # fmt: skip


@numerics.computing()
def dwell(
    objective: Objective, record: Record, saddles: Sequence[Verdict], radius: float = 0.1
) -> pd.DataFrame:
    """Visits of a descent to the saddles: one row a visit, in order.

    Args:
        record: with a path (d <= 3); `record="all"` for exact times.
        saddles: points that may be visited (others than saddles are left out).
        radius: of the neighbourhood, in x.

    Returns:
        saddle (position in `saddles`), index (Morse), enter and leave (steps; leave is NaN if the
        descent ends there), dwell (steps spent), closest (distance), eps (component along the
        unstable directions at entry), eta (median step size of the visit), lambda_min, and
        predicted = log(radius / eps) / log(1 + eta |lambda_min|) (infinite for eps = 0).

    Raises:
        ValueError: the record has no path.
    """
    if record.path is None:
        raise ValueError("dwell needs the path of a descent, which is kept for d <= 3")
    path, step = record.path, np.asarray(record.columns["step"])
    eta = np.asarray(record.columns["step_size"], float)
    rows = []
    for k, v in enumerate(saddles):
        if v.kind != "saddle":
            continue
        nobody = np.zeros(1, int)
        _, _, H = Derivatives([objective], nobody).hessians(v.x[None], nobody)
        eigenvalues, vectors = np.linalg.eigh(H[0])
        unstable = vectors[:, eigenvalues < -v.eigenvalue_error]
        distance = np.linalg.norm(path - v.x, axis=1)
        near = np.concatenate([[False], distance <= radius, [False]])
        starts = np.flatnonzero(near[1:] & ~near[:-1])
        ends = np.flatnonzero(near[:-1] & ~near[1:])
        for begin, end in zip(starts, ends, strict=True):
            over = end >= len(path)
            leave = np.nan if over else float(step[end])
            eps = float(np.linalg.norm(unstable.T @ (path[begin] - v.x)))
            size = float(np.nanmedian(eta[begin:end]))
            with np.errstate(divide="ignore"):
                growth = np.log1p(size * abs(eigenvalues[0]))
                predicted = float(np.log(radius / eps) / growth) if eps > 0 else np.inf
            rows.append(
                (
                    k, v.index, float(step[begin]), leave,
                    float((step[-1] if over else step[end]) - step[begin]),
                    float(distance[begin:end].min()), eps, size, float(eigenvalues[0]), predicted,
                )
            )  # fmt: skip
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values(["enter", "saddle"], ignore_index=True)
