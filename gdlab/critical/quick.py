"""Quick verdicts: the eigenvalues of the Hessian where the descent ended, and their errors.

No point is polished and nothing is proved. A kind is said where `kantorovich.py` decides it, with a
margin as wide as a full verdict's `stable` asks for; else the verdict is `undecided`, and says why.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gdlab.critical.derivatives import Derivatives
from gdlab.critical.kantorovich import look
from gdlab.critical.lengths import scales
from gdlab.critical.optimum import known_points
from gdlab.critical.polish import norm
from gdlab.critical.rules import NOT_CRITICAL, UNDECIDED
from gdlab.critical.short import CLOSE, portions, stopped_short
from gdlab.critical.smooth import is_smooth
from gdlab.types import Objective, Verdict

FEW = 3  # up to this dimension a full verdict encloses f, and sees more than samples do
OPEN = "f may jump or have a kink here, which takes a full verdict to see"
NOTE = "quick: eigenvalues where the descent ended; not polished, not proved"


def judge_quick(
    at: Derivatives,
    objectives: Sequence[Objective],
    x: np.ndarray,
    points: np.ndarray,
    status: np.ndarray,
    gtol: np.ndarray,
) -> list[Verdict]:
    """Quick verdicts on the given points of x; arguments as those of `dense.judge_dense`."""
    out: list[Verdict] = []
    for part in portions(points, x.shape[1]):
        out += _judge(at, objectives, x[part], part, status[part], gtol[part])
    return out


def _judge(
    at: Derivatives,
    objectives: Sequence[Objective],
    ends: np.ndarray,
    points: np.ndarray,
    status: np.ndarray,
    gtol: np.ndarray,
) -> list[Verdict]:
    scale = scales(objectives, at.owner[points], ends)
    here = at.expand(ends, points)
    size, d = norm(here.g), ends.shape[1]
    arrived = (status == "converged") | (size <= gtol)
    short = ~arrived & stopped_short(at, here, points, scale)
    near = np.flatnonzero(~short)
    seen = look(at, objectives[0], here.rows(near), points[near], scale[near])
    reached = known_points(objectives, at.owner[points[near]], seen.root, scale[near])
    unseen = d <= FEW and not is_smooth(objectives[0])
    # That a descent has arrived without having met its tolerance is for a full verdict to say.
    close = arrived[near] | (seen.length <= CLOSE * scale[near])
    out = [
        Verdict(
            NOT_CRITICAL, ends[k], float(here.value[k]), float(size[k]), float(size[k]),
            method="none", note="descent had not converged; quick: not polished",
        )
        for k in range(len(ends))
    ]  # fmt: skip
    for j, k in enumerate(near):
        index = int(seen.index[j])
        kind = "minimum" if index == 0 else "maximum" if index == d else "saddle"
        decided = bool(seen.decided[j] and close[j] and not unseen)
        why = seen.why[j] or (OPEN if unseen else "the descent had not met its tolerance")
        out[k] = Verdict(
            kind if decided else UNDECIDED, ends[k], float(here.value[k]), float(size[k]),
            float(size[k]), index if decided else None,
            eigenvalues=seen.eigenvalues[j] if np.isfinite(seen.error[j]) else None,
            eigenvalue_error=float(seen.error[j]) if np.isfinite(seen.error[j]) else 0.0,
            reached=int(reached[j]) if decided and reached[j] >= 0 else None,
            stable=decided, method="quick", note=NOTE if decided else f"quick: {why}",
        )  # fmt: skip
    return out
