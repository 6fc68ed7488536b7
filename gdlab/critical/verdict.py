"""What an end point is: polished, its Hessian's eigenvalues against their errors, a verdict.

1. Polish (`polish.py`): Newton on the gradient, staying in the neighbourhood.
2. Critical? The gradient has fallen to its rounding error, or Newton's step says that the root
   is closer than 1e-9: a tiny gradient alone proves nothing.
3. Eigenvalues of the Hessian against a bound on their error (`evidence.py`): all positive, a
   minimum; all negative, a maximum; both signs, a saddle whose index counts the negative ones;
   any within the error of zero, degenerate.
4. Again with every tolerance ten times larger and ten times smaller: `stable`.
5. For few dimensions, an interval Krawczyk test (`certificate.py`): `certified`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gdlab.critical.derivatives import DENSE, Derivatives
from gdlab.critical.evidence import Evidence, fading, weigh
from gdlab.critical.lengths import scales
from gdlab.critical.polish import Polished, norm, polish
from gdlab.types import Objective, Verdict

CLOSE = 1e-9  # distance to the root, relative to the point's scale, at which a point is critical
NEAR = 1e-6  # distance at which a polished point is a known one
PERIOD = 16  # longest cycle looked for
CERTIFY = 3  # largest dimension for which `certified="auto"` tries the certificate
CRITICAL = ("minimum", "maximum", "saddle", "degenerate")


def judge(
    objective: Objective | Sequence[Objective],
    x: Float[np.ndarray, "n d"],
    status: Any,
    gtol: Any = 1e-8,
    *,
    owner: Int[np.ndarray, " n"] | None = None,
    tail: Float[np.ndarray, "n m d"] | None = None,
    certified: bool | str = "auto",
) -> list[Verdict]:
    """Judges n end points at once.

    Args:
        objective: of all points; or several of one structure (the same f and shapes, their own
            numbers and facts), with `owner` saying whose each point is.
        x: the end points.
        status: how each descent ended `[n]`: `converged`, `budget` or `diverged`.
        gtol: tolerance on ||grad f|| that the descents had, one number or `[n]`.
        owner: position in the objectives of each point's.
        tail: the last m iterates of each descent, oldest first (NaN rows: none); cycles of period
            p <= 16 are looked for in those of descents that used up their steps. m >= 3 p.
        certified: whether to try the interval certificate; `auto`: for d <= 3.

    Returns:
        One verdict a point.
    """
    objectives = [objective] if isinstance(objective, Objective) else list(objective)
    x = np.atleast_2d(np.asarray(x, float))
    n, d = x.shape
    status = np.broadcast_to(np.asarray(status), (n,))
    owner = np.zeros(n, int) if owner is None else np.asarray(owner)
    gtol = np.broadcast_to(np.asarray(gtol, float), (n,))
    at = Derivatives(objectives, owner)
    verdicts: list[Any] = [None] * n
    gone = (status == "diverged") | ~np.isfinite(x).all(axis=1)
    for i in np.flatnonzero(gone):
        verdicts[i] = _diverged(x[i])
    points = np.flatnonzero(~gone)
    if d > DENSE:
        from gdlab.critical.lanczos import judge_large

        for i in points:
            verdicts[i] = judge_large(at, objectives[owner[i]], x[i], int(i), status[i], gtol[i])
    elif len(points):
        for i, verdict in zip(points, _dense(at, objectives, x, points, status, gtol), strict=True):
            verdicts[i] = verdict
    if tail is not None:
        budget = np.flatnonzero(status == "budget")
        iterates = np.asarray(tail[budget], float)
        length = scales(objectives, owner[budget], np.nan_to_num(iterates[:, -1]))
        # 0 where a row is not finite: no tail, or it went off
        found = periods(iterates, length=length)
        for k in np.flatnonzero(found[:, 0]):
            i, period = budget[k], int(found[k, 0])
            stable = bool((found[k] == period).all())
            verdicts[i] = as_cycle(verdicts[i], iterates[k, -1], period, stable)
    if certified is True or (certified == "auto" and d <= CERTIFY):
        _certify(objectives, owner, verdicts)
    return verdicts


def _diverged(x: np.ndarray) -> Verdict:
    nan = float("nan")
    return Verdict("diverged", x, nan, nan, nan, method="none")


def _dense(
    at: Derivatives,
    objectives: Sequence[Objective],
    x: np.ndarray,
    points: np.ndarray,
    status: np.ndarray,
    gtol: np.ndarray,
) -> list[Verdict]:
    ends, owner = x[points], at.owner[points]
    scale = scales(objectives, owner, ends)
    before = norm(at.gradients(ends, points)[1])
    p = polish(at, ends, points, 1e-6 * scale, 0.1 * scale)
    evidence = weigh(at, p, points, scale)
    asked = [_classify(p, evidence, scale, factor) for factor in (1.0, 0.1, 10.0)]
    (kind, index, nullity), *others = asked
    # A null direction along which f merely levels out is no critical direction.
    null = (np.abs(p.eigenvalues) <= evidence.error[:, None]) & (kind == "degenerate")[:, None]
    faded = fading(at, p, points, scale, null)
    kind = np.where(faded, "flat", kind)
    stable = np.ones(len(points), bool)
    for other_kind, other_index, other_nullity in others:
        same = (other_index == index) & (other_nullity == nullity) | (kind == "flat")
        stable &= (other_kind == kind) & same | faded
    moved = norm(p.x - ends)
    arrived = (status[points] == "converged") | (before <= gtol[points])
    critical = np.isin(kind, CRITICAL)
    reached = _reached(objectives, owner, p.x, critical)
    grad_norm = norm(p.g)
    rise = np.abs(p.eigenvalues).max(axis=1, initial=0.0) * scale**2
    out = []
    for k in range(len(points)):
        name, note = str(kind[k]), ""
        bare = not np.isfinite(p.eigenvalues[k]).all() or bool(evidence.rough[k])
        if not arrived[k]:
            if critical[k]:
                where = "" if reached[k] < 0 else f" (known point {reached[k]})"
                note = (
                    f"descent had not converged; polishing leads to a {_words(name, int(index[k]))}"
                    f"{where} at distance {moved[k]:.1e}"
                )
            out.append(
                Verdict(
                    "not_critical", ends[k], float(p.value[k]) if not moved[k] else np.nan,
                    float(before[k]), float(before[k]), moved=float(moved[k]),
                    method="none", stable=bool(stable[k]), note=note,
                )
            )  # fmt: skip
            continue
        if not np.isfinite(p.value[k]):  # log of a negative number: its derivative is finite
            name, note = "not_critical", "f is not finite here"
        elif evidence.kink[k]:
            name, note = "not_critical", "the gradient jumps here: f is not differentiable"
        elif bare and before[k] <= 1e3 * gtol[points[k]]:
            name = "degenerate"
            note = "the gradient is small, but f is not twice differentiable here: no Hessian"
        elif not np.isfinite(before[k]):
            name, note = "not_critical", "the gradient is not a number here"
        elif bare or (name == "flat" and before[k] > 1e3 * gtol[points[k]]):
            name, note = "not_critical", "the gradient is not small here"
        elif name == "flat":
            name = "plateau"
            note = (
                "gradient and Hessian are zero throughout a neighbourhood"
                if evidence.constant[k]
                else "the gradient is small, but there is no critical point beside it"
            )
        if name not in CRITICAL or bare:
            stay = bare or name == "not_critical"
            out.append(
                Verdict(
                    name, ends[k], np.nan, float(before[k]), float(before[k]),
                    moved=0.0 if stay else float(moved[k]), method="none",
                    stable=bool(stable[k]), note=note,
                )
            )  # fmt: skip
            continue
        out.append(
            Verdict(
                name, p.x[k], float(p.value[k]), float(grad_norm[k]), float(before[k]),
                int(index[k]), float(moved[k]), p.eigenvalues[k], float(evidence.error[k]),
                int(nullity[k]),
                _is_global(objectives[owner[k]], name, float(p.value[k]), float(rise[k])),
                int(reached[k]) if reached[k] >= 0 else None, stable=bool(stable[k]),
            )
        )  # fmt: skip
    _values(at, points, out)
    return out


def _classify(
    p: Polished, evidence: Evidence, scale: np.ndarray, factor: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kind, index and nullity, with every tolerance times `factor`; `flat` = not critical."""
    error = factor * evidence.error[:, None]
    negative = np.sum(p.eigenvalues < -error, axis=1)
    nullity = np.sum(np.abs(p.eigenvalues) <= error, axis=1)
    d = p.x.shape[1]
    kind = np.where(negative == 0, "minimum", np.where(negative == d, "maximum", "saddle"))
    kind = np.where(nullity > 0, "degenerate", kind)
    rounding = norm(p.g) <= factor * evidence.g_error
    close = (10 * evidence.step <= factor * CLOSE * scale) & (
        evidence.g_null <= factor * evidence.g_error
    )
    critical = (rounding | close) & ~p.left & ~evidence.constant
    return np.where(critical, kind, "flat"), negative, nullity


def _reached(
    objectives: Sequence[Objective], owner: np.ndarray, x: np.ndarray, critical: np.ndarray
) -> Int[np.ndarray, " m"]:
    """Position of the nearest known critical point within `NEAR`; -1 where there is none."""
    out = np.full(len(x), -1)
    for o in np.unique(owner[critical]):
        known = objectives[o].facts.critical_points
        if known is None or not len(known.x):
            continue
        mine = np.flatnonzero(critical & (owner == o))
        if len(mine) * len(known.x) > 10**6:
            from scipy.spatial import cKDTree

            distance, nearest = map(np.asarray, cKDTree(known.x).query(x[mine]))
        else:
            apart = np.linalg.norm(x[mine, None] - known.x[None], axis=-1)
            nearest = apart.argmin(axis=1)
            distance = apart[np.arange(len(mine)), nearest]
        near = distance <= NEAR * scales(objectives, owner[mine], x[mine])
        out[mine[near]] = nearest[near]
    return out


def _is_global(objective: Objective, kind: str, value: float, rise: float) -> bool | None:
    """Whether f is f_star there, as far as digits go: 1e-9 of f_star or of what f rises nearby."""
    f_star = objective.facts.f_star
    if f_star is None or kind not in ("minimum", "degenerate"):
        return None
    size = rise if kind == "minimum" else 1.0
    low = value <= f_star + 1e-9 * max(size, abs(f_star))
    return bool(low) if kind == "minimum" or low else None


def _values(at: Derivatives, points: np.ndarray, verdicts: list[Verdict]) -> None:
    """Fills in f at end points that were not polished."""
    which = [k for k, v in enumerate(verdicts) if np.isnan(v.value)]
    if which:
        value, _ = at.gradients(np.stack([verdicts[k].x for k in which]), points[which])
        for k, v in zip(which, value, strict=True):
            verdicts[k] = replace(verdicts[k], value=float(v))


def _words(kind: str, index: int) -> str:
    return (
        f"saddle of index {index}"
        if kind == "saddle"
        else f"{kind} point".replace("minimum point", "minimum").replace("maximum point", "maximum")
    )


def period_of(
    tail: Float[np.ndarray, "m d"], tolerance: float = 1e-6, length: float = 1.0
) -> int | None:
    """Smallest p <= 16 after which the iterates repeat, None if they do not.

    |x_t - x_{t-p}| <= tolerance times the longest of the last p steps, for the last 2 p iterates.
    A descent that comes to rest within the tail (it converged late, or was stopped) takes no
    steps at its end, and is no cycle; neither is p = 1, which is convergence. Steps below 1e-12 of
    |x| or `length` are rounding.
    """
    return int(periods(np.asarray(tail, float)[None], (tolerance,), length)[0, 0]) or None


def periods(
    tail: Float[np.ndarray, "n m d"],
    tolerances: Sequence[float] = (1e-6, 1e-5, 1e-7),
    length: Any = 1.0,
) -> Int[np.ndarray, "n k"]:
    """`period_of` each of n tails at each tolerance; 0 where the iterates do not repeat."""
    n, m, _ = tail.shape
    out = np.zeros((n, len(tolerances)), int)
    most = min(PERIOD, m // 3)
    if m < 6 or not n:
        return out
    with np.errstate(over="ignore", invalid="ignore"):
        least = 1e-12 * np.maximum(length, np.abs(tail[:, -1]).max(axis=1, initial=0.0))
        # Most do not come back to where they are now, whatever the period: a cheap look.
        longest = np.linalg.norm(np.diff(tail[:, -most - 1 :], axis=1), axis=2).max(axis=1)
        back = np.linalg.norm(tail[:, -1:] - tail[:, -most - 1 : -2], axis=2).min(axis=1)
        near = (longest > least) & (back <= 1.01 * max(tolerances) * longest)
        which = np.flatnonzero(near & np.isfinite(tail).all(axis=(1, 2)))
        rest = tail[which]
        steps = np.linalg.norm(np.diff(rest, axis=1), axis=2)
        repeats = np.isfinite(steps).all(axis=1)
        for p in range(2, most + 1):
            size = steps[:, -p:].max(axis=1)
            apart = np.linalg.norm(rest[:, -2 * p :] - rest[:, -3 * p : -p], axis=2).max(axis=1)
            for k, tolerance in enumerate(tolerances):
                hit = repeats & (size > least[which]) & (apart <= tolerance * size)
                out[which[hit & (out[which, k] == 0)], k] = p
            keep = (out[which] == 0).any(axis=1)
            which, rest, steps, repeats = which[keep], rest[keep], steps[keep], repeats[keep]
    return out


def as_cycle(verdict: Verdict, x: Float[np.ndarray, " d"], period: int, stable: bool) -> Verdict:
    """The verdict, for a descent whose iterates repeat."""
    return replace(
        verdict, kind="cycle", x=x, period=period, index=None, stable=stable,
        note=f"the iterates repeat after {period} steps",
    )  # fmt: skip


def _certify(objectives: Sequence[Objective], owner: np.ndarray, verdicts: list[Verdict]) -> None:
    """Marks the verdicts whose point the Krawczyk test proves."""
    from gdlab.critical.proof.certificate import certify_verdicts

    certify_verdicts(objectives, owner, verdicts)
