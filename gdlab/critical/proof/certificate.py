"""The certificate of verdicts: one critical point, of the index that was said, and no other nearby.

A verdict is `certified` if the Krawczyk test proves exactly one critical point within 1e-7 of its
length, and the index of the Hessian throughout that box is the one that the verdict names. A point
that is degenerate as far as rounding lets tell is what its proved index says. Where the proof fails
for a reason that a person should know, the verdict's note says it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

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


def certify_verdicts(
    objectives: Sequence[Objective], owner: np.ndarray, verdicts: list[Verdict]
) -> None:
    """Marks in place the verdicts that the test proves; the objectives share their code."""
    members = [i for i, v in enumerate(verdicts) if v.kind in NAMED or v.nullity]
    if not members:
        return
    x = np.stack([verdicts[i].x for i in members])
    mine = owner[members]
    length = scales(objectives, mine, x)
    tables = _tables(objectives)
    sample, group = _places(tables, mine, x, length)
    try:
        enclosure = Enclosure(objectives[0])
        parts = []
        for begin in range(0, len(sample), BATCH):
            part = sample[begin : begin + BATCH]
            data = [
                tables[name][mine[part]] if name in tables else shared
                for name, shared in zip(enclosure.names, enclosure.data, strict=True)
            ]
            parts.append(_judged(enclosure, x[part], RADIUS * length[part], data))
    except NotCertifiable as reason:
        for i in members:
            _note(verdicts, i, f"numerical: no interval form of {reason}")
        return
    one, none, index, level, spread = (np.concatenate(a) for a in zip(*parts, strict=True))
    for i, k in zip(members, group, strict=True):
        v = verdicts[i]
        if one[k] and index[k] >= 0:
            verdicts[i] = settled(v, int(index[k]))
        elif level[k] > SMOOTH:
            # What f may differ by within the box, against what a smooth function would.
            size = np.abs(v.eigenvalues).max() if v.eigenvalues is not None else 0.0
            r = RADIUS * length[sample[k]] * np.sqrt(x.shape[1])
            torn = level[k] == JUMP and not spread[k] <= 1e3 * (size * r**2 + 1e-13 * abs(v.value))
            verdicts[i] = replace(v, stable=v.stable and not torn)
            _note(verdicts, i, f"numerical: f may have {WORDS[level[k]]} here")
        elif none[k] and enclosure.rules:
            verdicts[i] = replace(v, stable=False)
            _note(
                verdicts, i,
                "f has no critical point here: its derivative rule "
                f"({', '.join(enclosure.rules)}) is not that of f",
            )  # fmt: skip


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


def _note(verdicts: list[Verdict], i: int, words: str) -> None:
    verdicts[i] = replace(verdicts[i], note=verdicts[i].note or words)


def _judged(
    enclosure: Enclosure, x: np.ndarray, radius: np.ndarray, data: Boxes
) -> tuple[np.ndarray, ...]:
    """The test at points, how smooth f is there, and by how much it may differ (if not smooth)."""
    lo, hi = around(x, radius)
    tested = decide(enclosure, lo, hi, data)
    level, spread = enclosure.level(lo, hi, data), np.zeros(len(x))
    if (level == JUMP).any():
        value = enclosure.f(lo, hi, data)
        spread = value.hi - value.lo
    return tested.one, tested.none, tested.index, level, spread


def _tables(objectives: Sequence[Objective]) -> dict[str, np.ndarray]:
    """The arrays of data that each objective has for itself, stacked."""
    first = objectives[0]
    return {
        name: np.stack([np.asarray(o.data[name]) for o in objectives if o.data])
        for name in sorted(first.data or {})
        if name not in first.shared
    }


def _places(
    tables: dict[str, np.ndarray], mine: np.ndarray, x: np.ndarray, length: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One of each set of points that are the same place of the same numbers, and whose each is."""
    same = np.zeros(int(mine.max()) + 1, int)
    if tables:
        flat = [a.reshape(len(a), -1).astype(float) for a in tables.values()]
        same = np.ravel(np.unique(np.concatenate(flat, axis=1), axis=0, return_inverse=True)[1])
    # A power of two, so that neighbours of a place are rounded alike.
    grid = GRID * np.exp2(np.round(np.log2(length)))[:, None]
    key = np.column_stack([same[mine], grid, np.round(x / grid) + 0.0])
    _, sample, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
    return sample, np.ravel(group)
