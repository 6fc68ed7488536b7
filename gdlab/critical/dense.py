"""Verdicts from whole Hessians: the points are polished, weighed and held against the rules.

Descents that used up their steps far from anything critical are for `short.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Int

from gdlab.critical.breaks import WRONG, find_breaks
from gdlab.critical.derivatives import Derivatives, Expansion
from gdlab.critical.enclosures import Enclosures
from gdlab.critical.evidence import Evidence, coordinate_units, weigh
from gdlab.critical.flat import fading
from gdlab.critical.lengths import scales
from gdlab.critical.optimum import judge_global, known_points
from gdlab.critical.polish import Polished, norm, polish
from gdlab.critical.rules import CRITICAL, Case, Rows, rules
from gdlab.critical.secants import replace_noise
from gdlab.critical.short import CLOSE, NEARBY, judge_short, portions, stopped_short
from gdlab.types import Objective, Verdict

RESTS = 1e-6  # as `CLOSE`, where the descent had come down to the rounding of its gradient
SMALL = 1e3  # a gradient is small up to this many times the descent's tolerance


def judge_dense(
    at: Derivatives,
    enclosures: Enclosures,
    objectives: Sequence[Objective],
    x: np.ndarray,
    points: np.ndarray,
    status: np.ndarray,
    gtol: np.ndarray,
) -> list[Verdict]:
    """Verdicts from whole Hessians, on the given points of x."""
    ends = x[points]
    scale = scales(objectives, at.owner[points], ends)
    value, g = at.gradients(ends, points)
    before = norm(g)
    out: list[Any] = [None] * len(points)
    open_ = np.flatnonzero((status[points] == "budget") & (before > gtol[points]))
    for part in portions(open_, x.shape[1]):
        H = at.hessians(ends[part], points[part])[2]
        here = Expansion(ends[part], value[part], g[part], H)
        short = stopped_short(at, here, points[part], scale[part])
        here, part = here.rows(short), part[short]
        small = before[part] <= SMALL * gtol[points[part]]
        judged = judge_short(at, objectives, here, points[part], small, scale[part])
        for k, verdict in zip(part, judged, strict=True):
            out[k] = verdict
    rest = np.flatnonzero([verdict is None for verdict in out])
    if len(rest):
        judged = _polish_and_judge(
            at, enclosures, objectives, ends[rest], points[rest], status[points[rest]],
            gtol[points[rest]], before[rest], scale[rest],
        )  # fmt: skip
        for k, verdict in zip(rest, judged, strict=True):
            out[k] = verdict
    return out


def _polish_and_judge(
    at: Derivatives,
    enclosures: Enclosures,
    objectives: Sequence[Objective],
    ends: np.ndarray,
    points: np.ndarray,
    status: np.ndarray,
    gtol: np.ndarray,
    before: np.ndarray,
    scale: np.ndarray,
) -> list[Verdict]:
    """Verdicts on end points beside which a critical one may be: rows belong to the points.

    Args:
        before: |g| at the end points.
    """
    owner = at.owner[points]
    small = before <= SMALL * gtol
    p, evidence = _polished(at, enclosures, ends, points, scale, small)
    replaced = replace_noise(at, objectives[0], p, evidence, points, scale)
    breaks = find_breaks(at, objectives[0], Expansion(p.x, p.value, p.g, p.H), points, scale)
    breaks.hessian &= ~replaced
    moved = norm(p.x - ends)
    arrived = (status == "converged") | (before <= gtol)
    at_rest = before <= norm(evidence.g_error)  # rounding allows no more
    near = moved <= np.where(at_rest, RESTS, CLOSE) * scale
    arrived |= _critical(p, evidence, scale, 1.0) & near
    case = Case(
        finite=(
            np.isfinite(p.value), np.isfinite(before), np.isfinite(p.eigenvalues).all(axis=1)
        ),
        breaks=breaks, arrived=arrived, small=small,
        constant=evidence.constant, faded=np.zeros(len(points), bool),
        critical=_critical(p, evidence, scale, 1.0),
        negative=np.zeros(0, int), null=np.zeros(0, int), dim=ends.shape[1],
    )  # fmt: skip
    which, stable = _decide(at, case, p, evidence, points, scale)
    stable &= ~breaks.rule
    names = np.array([kind for _, kind, _ in rules(case)])[which]
    notes = [note for _, _, note in rules(case)]
    whole = case.critical & np.isin(names, CRITICAL) & case.finite[2] & ~breaks.hessian
    reached = np.where(case.critical, known_points(objectives, owner, p.x, scale), -1)
    low = _global(objectives, enclosures, p, evidence, points, owner, scale, reached, names, whole)
    grad_norm, out = norm(p.g), []
    beside = case.critical & ~case.faded & ~breaks.hessian & case.finite[2]
    for k in range(len(points)):
        name, note = str(names[k]), notes[which[k]]
        if whole[k]:
            if evidence.scaled[k]:
                note = "signs of the eigenvalues: in scaled variables"
            if moved[k] > 0.1 * scale[k]:
                note = f"the critical point lies {moved[k]:.1e} from where the descent ended"
            if breaks.rule[k]:
                note = WRONG
            out.append(
                Verdict(
                    name, p.x[k], float(p.value[k]), float(grad_norm[k]), float(before[k]),
                    int(case.negative[k]), float(moved[k]), p.eigenvalues[k],
                    float(evidence.error[k]), int(case.null[k]), low[k],
                    int(reached[k]) if reached[k] >= 0 else None, stable=bool(stable[k]), note=note,
                )
            )  # fmt: skip
            continue
        if not note and beside[k]:
            note = _beside(case, k, int(reached[k]), float(moved[k]))
        out.append(
            Verdict(
                name, ends[k], np.nan, float(before[k]), float(before[k]),
                moved=float(moved[k]) if name == "plateau" or not arrived[k] else 0.0,
                method="none", stable=bool(stable[k]), note=note,
            )
        )  # fmt: skip
    _values(at, points, out)
    return out


def _polished(
    at: Derivatives,
    enclosures: Enclosures,
    ends: np.ndarray,
    points: np.ndarray,
    scale: np.ndarray,
    small: Rows,
) -> tuple[Polished, Evidence]:
    """The polished points and the evidence; where that finds no critical point beside a small
    gradient and the coordinates have very different curvatures, again in scaled variables."""
    p = polish(at, ends, points, 1e-6 * scale, NEARBY * scale)
    evidence = weigh(at, enclosures, p, points, scale)
    units = coordinate_units(p.H)
    again = small & ~_critical(p, evidence, scale, 1.0) & ~evidence.constant
    again &= np.isfinite(p.H).all(axis=(1, 2)) & (units.min(axis=1, initial=1.0) < 1e-4)
    i = np.flatnonzero(again)
    if len(i):
        q = polish(at, ends[i], points[i], 1e-6 * scale[i], NEARBY * scale[i], units=units[i])
        more = weigh(at, enclosures, q, points[i], scale[i])
        better = _critical(q, more, scale[i], 1.0)
        for old, new in ((p, q), (evidence, more)):
            for name in old.__dataclass_fields__:
                getattr(old, name)[i[better]] = getattr(new, name)[better]
    return p, evidence


def _critical(p: Polished, evidence: Evidence, scale: np.ndarray, factor: float) -> Rows:
    """Whether the polished point is a critical one, with every tolerance times `factor`.

    Its gradient has fallen to its rounding error, or Newton's step says that the root is closer
    than `CLOSE`: a tiny gradient alone proves nothing.
    """
    rounding = (np.abs(p.g) <= factor * evidence.g_error).all(axis=1)
    close = (10 * evidence.step <= factor * CLOSE * scale) & (evidence.null_slope <= factor)
    return (rounding | close) & ~p.left & ~evidence.constant


def _decide(
    at: Derivatives,
    case: Case,
    p: Polished,
    evidence: Evidence,
    points: np.ndarray,
    scale: np.ndarray,
) -> tuple[Int[np.ndarray, " m"], Rows]:
    """Which rule applies to each point, and whether the verdict is stable; fills in the case."""
    asked = []
    for factor in (0.1, 10.0, 1.0):
        # That a point may be far off is no evidence for a null eigenvalue.
        error = factor * (evidence.rounding if factor < 1 else evidence.value_error)
        case.negative = np.sum(evidence.values < -error, axis=1)
        case.null = np.sum(np.abs(evidence.values) <= error, axis=1)
        case.critical = _critical(p, evidence, scale, factor)
        if factor == 1.0:  # a null direction along which f levels out is no critical one
            null = np.abs(p.eigenvalues) <= evidence.error[:, None]
            null &= (case.critical & (case.null > 0))[:, None]
            case.faded = fading(at, p, points, scale, null)
        made = rules(case)
        which = np.argmax([where for where, _, _ in made], axis=0)
        kind = np.array([kind for _, kind, _ in made])[which]
        counts = np.isin(kind, CRITICAL)
        asked.append((kind, np.where(counts, case.negative, 0), np.where(counts, case.null, 0)))
    stable = np.all([[a == b for a, b in zip(asked[2], one)] for one in asked[:2]], axis=(0, 1))
    return which, stable | case.faded


def _global(
    objectives: Sequence[Objective],
    enclosures: Enclosures,
    p: Polished,
    evidence: Evidence,
    points: np.ndarray,
    owner: np.ndarray,
    scale: np.ndarray,
    reached: np.ndarray,
    kinds: np.ndarray,
    whole: Rows,
) -> list[bool | None]:
    """Whether each minimum is global; a degenerate point may be, and is never said not to be."""
    out: list[bool | None] = [None] * len(points)
    i = np.flatnonzero(whole & np.isin(kinds, ("minimum", "degenerate")))
    size = np.abs(p.eigenvalues[i])
    # Where signs were read in scaled variables, a soft eigenvalue lies below a stiff one's error.
    size[(size <= evidence.error[i, None]) & ~evidence.scaled[i, None]] = np.inf
    rise = size.min(axis=1, initial=np.inf) * scale[i] ** 2
    rise = np.where(np.isfinite(rise), rise, np.abs(p.value[i]))
    low = judge_global(
        objectives, owner[i], enclosures, points[i], p.x[i], scale[i], evidence.off[i], rise,
        reached[i],
    )  # fmt: skip
    for k, is_low in zip(i, low, strict=True):
        out[k] = None if kinds[k] == "degenerate" and is_low is False else is_low
    return out


def _beside(case: Case, k: int, reached: int, moved: float) -> str:
    """The note on a descent that ended too early, beside a critical point."""
    negative, null = int(case.negative[k]), int(case.null[k])
    kind = "minimum" if not negative else "maximum" if negative == case.dim else ""
    kind = "degenerate point" if null else kind or f"saddle of index {negative}"
    where = "" if reached < 0 else f" (known point {reached})"
    return f"descent had not converged; polishing leads to a {kind}{where} at distance {moved:.1e}"


def _values(at: Derivatives, points: np.ndarray, verdicts: list[Verdict]) -> None:
    """Fills in f at end points that were not polished."""
    which = [k for k, v in enumerate(verdicts) if np.isnan(v.value)]
    if which:
        value, _ = at.gradients(np.stack([verdicts[k].x for k in which]), points[which])
        for k, v in zip(which, value, strict=True):
            verdicts[k] = replace(verdicts[k], value=float(v))
