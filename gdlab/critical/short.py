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
from gdlab.critical.derivatives import EPS, Derivatives, Expansion
from gdlab.critical.kantorovich import look, newton_step, noise
from gdlab.critical.optimum import known_points
from gdlab.critical.polish import VANISHES, norm
from gdlab.critical.rules import NOT_CRITICAL
from gdlab.types import Objective, Verdict

STEPS = 8  # of Newton: it converges quadratically, or is given up
NEARBY = 0.25  # neighbourhood of an end point, relative to its length
CLOSE = 1e-9  # distance to the root, relative to the point's length, at which a point is critical
MARGIN = 10.0  # H may change by so much on the way to a root that is that close
NOISE = 100.0  # and the gradient's rounding error may be so much larger there
BYTES = 2**26  # of Hessians at a time


def portions(which: Int[np.ndarray, " m"], d: int) -> Iterator[Int[np.ndarray, " p"]]:
    """The points in portions whose Hessians fit into memory."""
    rows = max(BYTES // (8 * d * d), 1)
    for begin in range(0, len(which), rows):
        yield which[begin : begin + rows]


def stopped_short(
    at: Derivatives,
    here: Expansion,
    points: Int[np.ndarray, " m"],
    scale: Float[np.ndarray, " m"],
) -> Bool[np.ndarray, " m"]:
    """Whether no critical point can be where a descent that used up its steps ended.

    Within `CLOSE` of a critical point |g| is at most ||H|| `CLOSE` and its rounding error. What is
    not finite has to be looked at.

    Args:
        here: f at the end points, to second order.
    """
    finite = np.isfinite(here.value) & np.isfinite(here.H).all(axis=(1, 2))
    rough = noise(at, here.x, here.g, points, scale)
    most = MARGIN * norm(here.H) * CLOSE * scale + NOISE * rough
    return np.asarray(finite & (norm(here.g) > most))


def judge_short(
    at: Derivatives,
    objectives: Sequence[Objective],
    here: Expansion,
    points: Int[np.ndarray, " m"],
    small: Bool[np.ndarray, " m"],
    scale: Float[np.ndarray, " m"],
) -> list[Verdict]:
    """The verdicts on end points that `stopped_short`: none is critical.

    Args:
        small: where the gradient is small nevertheless.
    """
    x, value, size = here.x, here.value, norm(here.g)
    breaks = find_breaks(at, objectives[0], here, points, scale)
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
    beside = _beside(at, objectives, here.rows(plain), points[plain], scale[plain])
    for k, note, moved in beside:
        out[plain[k]] = replace(out[plain[k]], note=note, moved=moved)
    return out


def _beside(
    at: Derivatives,
    objectives: Sequence[Objective],
    here: Expansion,
    points: np.ndarray,
    scale: np.ndarray,
) -> Iterator[tuple[int, str, float]]:
    """Those points beside which Newton finds a critical point: which, the note, how far it is."""
    found, there = _newton(at, here, points, scale)
    points, scale = points[found], scale[found]
    seen = look(at, objectives[0], there, points, scale)
    reached = known_points(objectives, at.owner[points], there.x, scale)
    moved, d = norm(there.x - here.x[found]), there.x.shape[1]
    for k, i in enumerate(found):
        if seen.why[k] in (WORDS["f"], WORDS["gradient"]):
            continue  # nothing is critical there
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
    at: Derivatives, here: Expansion, points: np.ndarray, scale: np.ndarray
) -> tuple[Int[np.ndarray, " k"], Expansion]:
    """Plain Newton from each point: those from which it converges in the neighbourhood, and f to
    second order where it ends."""
    alive, now = np.arange(len(points)), here
    which, ends = [alive[:0]], [here.rows(alive[:0])]
    for _ in range(STEPS):
        if not len(alive):
            break
        p = newton_step(now.g, now.H)
        trial = now.x + p
        keep = norm(trial - here.x[alive]) <= NEARBY * scale[alive]  # not where p is NaN
        alive, length = alive[keep], norm(p[keep])
        now = at.expand(trial[keep], points[alive])
        done = length <= np.maximum(CLOSE * scale[alive], 4 * EPS * norm(now.x))
        done &= np.isfinite(now.value) & (norm(now.g) <= VANISHES * norm(here.g[alive]))
        which.append(alive[done])
        ends.append(now.rows(done))
        alive, now = alive[~done], now.rows(~done)
    found = np.concatenate(which)
    order = np.argsort(found)
    return found[order], Expansion(*(np.concatenate(a)[order] for a in zip(*ends)))
