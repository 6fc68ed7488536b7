"""End points of descents that stopped short: what a note needs, and nothing dearer.

Where a descent used up its steps far from anything critical, its end point is no critical point,
whatever polishing would find. Its note names one only where plain Newton, a few steps by one linear
solve each, converges to it within the neighbourhood.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from gdlab.critical.breaks import WORDS, find_breaks
from gdlab.critical.derivatives import EPS, Derivatives
from gdlab.critical.inertia import look, newton_step, noise
from gdlab.critical.optimum import known_points
from gdlab.critical.polish import norm
from gdlab.critical.rules import NOT_CRITICAL
from gdlab.types import Objective, Verdict

STEPS = 8  # of Newton: it converges quadratically, or is given up
NEARBY = 0.25  # neighbourhood of an end point, relative to its length
CLOSE = 1e-9  # distance to the root, relative to the point's length, at which a point is critical
MARGIN = 10.0  # H may change by so much on the way to a root that is that close
NOISE = 100.0  # and the gradient's rounding error may be so much larger there
BYTES = 2**26  # of Hessians at a time
Here = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def portions(which: Int[np.ndarray, " m"], d: int) -> Iterator[Int[np.ndarray, " p"]]:
    """The points in portions whose Hessians fit into memory."""
    rows = max(BYTES // (8 * d * d), 1)
    for begin in range(0, len(which), rows):
        yield which[begin : begin + rows]


def stopped_short(
    at: Derivatives,
    here: Here,
    points: Int[np.ndarray, " m"],
    scale: Float[np.ndarray, " m"],
) -> Bool[np.ndarray, " m"]:
    """Whether no critical point can be where a descent that used up its steps ended.

    Within `CLOSE` of a critical point |g| is at most ||H|| `CLOSE` and its rounding error. What is
    not finite has to be looked at.

    Args:
        here: the end points `[m, d]`, f `[m]`, its gradient `[m, d]` and its Hessian `[m, d, d]`.
    """
    x, value, g, H = here
    finite = np.isfinite(value) & np.isfinite(H).all(axis=(1, 2))
    most = MARGIN * norm(H) * CLOSE * scale + NOISE * noise(at, x, g, points, scale)
    return finite & (norm(g) > most)


def judge_short(
    at: Derivatives,
    objectives: Sequence[Objective],
    here: Here,
    points: Int[np.ndarray, " m"],
    small: Bool[np.ndarray, " m"],
    scale: Float[np.ndarray, " m"],
) -> list[Verdict]:
    """The verdicts on end points that `stopped_short`: none is critical.

    Args:
        small: where the gradient is small nevertheless.
    """
    x, value, g, H = here
    size = norm(g)
    breaks = find_breaks(at, objectives[0], *here, points, scale)
    notes = [
        WORDS["f"] if breaks.value[k]
        else WORDS["gradient"] if breaks.gradient[k]
        else "the gradient is not small here" if breaks.hessian[k] and not small[k]
        else ""
        for k in range(len(x))
    ]  # fmt: skip
    out = [
        Verdict(
            NOT_CRITICAL, x[k], float(value[k]), float(size[k]), float(size[k]), method="none",
            stable=not breaks.rule[k], note=notes[k],
        )
        for k in range(len(x))
    ]  # fmt: skip
    plain = np.flatnonzero([not note for note in notes])
    for k, note, moved in _beside(at, objectives, tuple(a[plain] for a in here), points[plain], scale[plain]):  # type: ignore[arg-type]
        out[plain[k]] = replace(out[plain[k]], note=note, moved=moved)
    return out


def _beside(
    at: Derivatives,
    objectives: Sequence[Objective],
    here: Here,
    points: np.ndarray,
    scale: np.ndarray,
) -> Iterator[tuple[int, str, float]]:
    """Those points beside which Newton finds a critical point: which, the note, how far it is."""
    found, there = _newton(at, here, points, scale)
    points, scale = points[found], scale[found]
    seen = look(at, objectives[0], there, points, scale)
    reached = known_points(objectives, at.owner[points], there[0], scale)
    moved = norm(there[0] - here[0][found])
    d = there[0].shape[1]
    for k, i in enumerate(found):
        index = int(seen.index[k])
        kind = "minimum" if index == 0 else "maximum" if index == d else f"saddle of index {index}"
        kind = kind if seen.decided[k] else "critical point"
        where = "" if reached[k] < 0 else f" (known point {reached[k]})"
        yield (
            int(i),
            f"descent had not converged; Newton's method leads to a {kind}{where} "
            f"at distance {moved[k]:.1e}",
            float(moved[k]),
        )


def _newton(
    at: Derivatives, here: Here, points: np.ndarray, scale: np.ndarray
) -> tuple[Int[np.ndarray, " k"], Here]:
    """Plain Newton from each point: those from which it converges in the neighbourhood, and f,
    gradient and Hessian where it ends."""
    start, alive = here[0], np.arange(len(points))
    ends: list[tuple[int, tuple[np.ndarray, ...]]] = []
    now = here
    for _ in range(STEPS):
        if not len(alive):
            break
        x, p = now[0], newton_step(now[2], now[3])
        trial = x + p
        keep = norm(trial - start[alive]) <= NEARBY * scale[alive]  # not where p is NaN
        alive, trial, length = alive[keep], trial[keep], norm(p[keep])
        now = (trial, *at.hessians(trial, points[alive]))
        done = length <= np.maximum(CLOSE * scale[alive], 4 * EPS * norm(trial))
        done &= np.isfinite(now[1]) & np.isfinite(now[2]).all(axis=1)
        ends += [(int(alive[k]), tuple(a[k] for a in now)) for k in np.flatnonzero(done)]
        alive, now = alive[~done], tuple(a[~done] for a in now)  # type: ignore[assignment]
    ends.sort(key=lambda end: end[0])
    if not ends:
        none = np.zeros(0, int)
        return none, tuple(a[none] for a in here)  # type: ignore[return-value]
    return np.array([i for i, _ in ends]), tuple(np.stack(a) for a in zip(*(e for _, e in ends)))  # type: ignore[return-value]
