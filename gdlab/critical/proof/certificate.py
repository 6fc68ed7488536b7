"""The certificate of verdicts: one critical point, of the index that was said, and no other nearby.

A verdict is `certified` if the Krawczyk test proves exactly one critical point within 1e-7 of its
length, and the index of the Hessian throughout that box is the one that the verdict names. A point
that is degenerate as far as rounding lets tell is what its proved index says. Where the proof fails
for a reason that a person should know, the verdict's note says it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from gdlab.critical.enclosures import Enclosures
from gdlab.critical.lengths import scales
from gdlab.critical.proof.enclosure import Boxes, Enclosure
from gdlab.critical.proof.krawczyk import around, decide
from gdlab.critical.proof.primitives import NotCertifiable
from gdlab.critical.proof.smoothness import JUMP, SMOOTH, WORDS
from gdlab.types import Objective, Verdict

BATCH = 4096  # boxes at a time
RADIUS = 1e-7  # of a point's length
NAMED = ("minimum", "maximum", "saddle")
GRID = 1e-9  # points in one cell of this size, of their length, are tried once


@dataclass(frozen=True)
class Examined:
    """What the proof found within RADIUS of each of m points.

    Attributes:
        index: Morse index of the only critical point there; -1: none is proved.
        none: no critical point is there.
        level: how smooth f is there (`smoothness.py`).
        excess: f may vary there by more than a smooth f would, where it may jump.
        rules: derivative rules of f that the proof does not use.
    """

    index: Int[np.ndarray, " m"]
    none: Bool[np.ndarray, " m"]
    level: Int[np.ndarray, " m"]
    excess: Bool[np.ndarray, " m"]
    rules: tuple[str, ...]


def examine(
    enclosure: Enclosure,
    x: Float[np.ndarray, "m d"],
    radius: Float[np.ndarray, "m d"],
    data: Boxes = None,
) -> Examined:
    """Tries to prove one critical point within the radius, along each axis, of each x."""
    lo, hi = around(x, radius)
    tested = decide(enclosure, lo, hi, data)
    level = enclosure.level(lo, hi, data)
    excess = np.zeros(len(x), bool)
    if (level == JUMP).any():  # a smooth f varies by its slope, which is about zero
        value, slope = enclosure.f(lo, hi, data), enclosure.g(lo, hi, data)
        with np.errstate(all="ignore"):
            most = np.sum(radius * np.maximum(np.abs(slope.lo), np.abs(slope.hi)), axis=1)
            smooth = 1e3 * most + 1e-12 * np.minimum(np.abs(value.lo), np.abs(value.hi))
            excess = (level == JUMP) & ~(value.hi - value.lo <= smooth)
    index = np.where(tested.one, tested.index, -1)
    return Examined(index, tested.none, level, excess, enclosure.rules)


def certify_verdicts(
    enclosures: Enclosures, objectives: Sequence[Objective], verdicts: list[Verdict]
) -> None:
    """Marks in place the verdicts that the test proves.

    Args:
        enclosures: of the objectives, which share their code; it knows whose each point is.
    """
    members = [i for i, v in enumerate(verdicts) if v.kind in NAMED or v.nullity]
    if not members:
        return
    x = np.stack([verdicts[i].x for i in members])
    points = np.array(members)
    mine = enclosures.at.owner[points]
    length = scales(objectives, mine, x)
    sample, group = _places(enclosures.at.lanes, mine, x, length)
    radius = np.repeat(RADIUS * length[:, None], x.shape[1], axis=1)
    parts = []
    try:
        enclosure = enclosures.enclosure
        for begin in range(0, len(sample), BATCH):
            part = sample[begin : begin + BATCH]
            data = enclosures.data(points[part])
            parts.append(examine(enclosure, x[part], radius[part], data))
    except NotCertifiable as reason:
        for i in members:
            note = f"numerical: no interval form of {reason}"
            verdicts[i] = replace(verdicts[i], note=verdicts[i].note or note)
        return
    for i, k in zip(members, group, strict=True):
        verdicts[i] = explained(verdicts[i], parts[k // BATCH], k % BATCH)


def explained(verdict: Verdict, found: Examined, k: int) -> Verdict:
    """The verdict with what was found at it, as the k-th point; the note says what speaks against
    it."""
    if found.index[k] >= 0:
        return settled(verdict, int(found.index[k]))
    note, sound = "", verdict.stable
    if found.level[k] > SMOOTH:
        note = f"numerical: f may have {WORDS[found.level[k]]} here"
        # In one dimension both sides were looked at; in more, a cone may lie between directions.
        sound = sound and not found.excess[k] and len(verdict.x) == 1
    elif found.none[k] and found.rules:
        rules = ", ".join(found.rules)
        note = f"f has no critical point here: its derivative rule ({rules}) is not that of f"
        return replace(verdict, certified=False, stable=False, note=note)
    return replace(verdict, certified=False, stable=bool(sound), note=verdict.note or note)


def settled(verdict: Verdict, index: int) -> Verdict:
    """The verdict on a point at which exactly one critical point, of this index, is proved.

    Args:
        index: -1: none is proved.
    """
    if index < 0 or not (verdict.kind in NAMED or verdict.nullity):
        return replace(verdict, certified=False)
    if verdict.nullity:
        d = len(verdict.x)
        kind = "minimum" if index == 0 else "maximum" if index == d else "saddle"
        return replace(verdict, kind=kind, index=index, nullity=0, certified=True)
    if index == verdict.index:
        return replace(verdict, certified=True)
    note = f"numerical: the Hessian of f itself has index {index} here"
    return replace(verdict, certified=False, stable=False, note=verdict.note or note)


def _places(
    lanes: Mapping[str, np.ndarray], mine: np.ndarray, x: np.ndarray, length: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One of each set of points that are the same place of the same numbers, and whose each is.

    Args:
        lanes: arrays of data, the objectives along their last axis.
    """
    same = np.zeros(int(mine.max()) + 1, int)
    if lanes:
        flat = [a.reshape(-1, a.shape[-1]).T.astype(float) for a in lanes.values()]
        same = np.ravel(np.unique(np.concatenate(flat, axis=1), axis=0, return_inverse=True)[1])
    # A power of two, so that neighbours of a place are rounded alike.
    grid = GRID * np.exp2(np.round(np.log2(length)))[:, None]
    key = np.column_stack([same[mine], grid, np.round(x / grid) + 0.0])
    _, sample, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
    return sample, np.ravel(group)
