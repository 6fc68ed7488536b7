"""Proof that exactly one critical point lies in a box: the Krawczyk test.

With the midpoint c of a box X, any matrix Y near the inverse of the Hessian, and an enclosure
H(X) of the Hessian over the box,

    K(X) = c - Y g(c) + (I - Y H(X)) (X - c).

K(X) in the interior of X proves that X holds exactly one critical point; K(X) disjoint from X
proves that it holds none; every critical point of X lies in K(X).

Reference: R. Krawczyk, Computing 4 (1969) 187; A. Neumaier, Interval Methods for Systems of
Equations, 1990, sec. 5.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from gdlab.critical.lengths import scales
from gdlab.critical.proof import interval as iv
from gdlab.critical.proof.enclosure import Boxes, Enclosure, NotCertifiable
from gdlab.critical.proof.interval import Interval
from gdlab.types import Objective, Verdict

BATCH = 4096  # boxes at a time


def krawczyk(
    enclosure: Enclosure,
    lo: Float[np.ndarray, "B d"],
    hi: Float[np.ndarray, "B d"],
    H: Interval,
    data: Boxes = None,
) -> Interval:
    """K(X) of each box, given H enclosed over it; infinite where no Y is found."""
    d = lo.shape[1]
    regular = np.isfinite(H.lo).all(axis=(1, 2)) & np.isfinite(H.hi).all(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        middle = np.where(regular[:, None, None], H.mid, np.eye(d))
    size = np.abs(middle).max(axis=(1, 2))
    with np.errstate(all="ignore"):
        det = np.linalg.det(middle / np.where(size > 0, size, 1.0)[:, None, None])
    singular = ~(np.abs(det) > 1e-200)
    middle[singular] = np.eye(d)
    Y = iv.exact(np.linalg.inv(middle))
    c = lo + 0.5 * (hi - lo)
    x, center = Interval(lo, hi), iv.exact(c)
    rest = iv.sub(iv.exact(np.eye(d)[None]), iv.product(Y, H))
    move = iv.sub(iv.dot(rest, iv.sub(x, center)), iv.dot(Y, enclosure.g(c, c, data)))
    K = iv.add(center, move)
    lost = (singular | ~regular)[:, None]
    return Interval(np.where(lost, -np.inf, K.lo), np.where(lost, np.inf, K.hi))


def inside(K: Interval, lo: np.ndarray, hi: np.ndarray) -> Bool[np.ndarray, " B"]:
    """Whether K lies in the interior of each box."""
    return np.all((K.lo > lo) & (K.hi < hi), axis=1)


def certify(
    objective: Objective | Enclosure,
    x: Float[np.ndarray, "m d"],
    radius: float | Float[np.ndarray, " m"] | Float[np.ndarray, "m d"] = 1e-7,
    data: Boxes = None,
) -> Bool[np.ndarray, " m"]:
    """Whether exactly one critical point is proved to lie within `radius` of each x.

    Args:
        radius: along all axes, or along each `[m, d]`.

    Raises:
        NotCertifiable: f uses an operation without an interval form; the message is its name.
    """
    enclosure = objective if isinstance(objective, Enclosure) else Enclosure(objective)
    x = np.atleast_2d(np.asarray(x, float))
    r = np.asarray(radius, float)
    r = np.broadcast_to(r if r.ndim == 2 else r[..., None], x.shape)
    lo, hi = x - r, x + r
    H = enclosure.H(lo, hi, data)
    return inside(krawczyk(enclosure, lo, hi, H, data), lo, hi)


def certify_verdicts(
    objectives: Sequence[Objective], owner: np.ndarray, verdicts: list[Verdict]
) -> None:
    """Marks in place the verdicts whose point the test proves; the objectives share their code.

    Points within 1e-9 of their length are tried once: their boxes have a radius of 1e-7 of it.
    """
    members = [i for i, v in enumerate(verdicts) if v.kind in ("minimum", "maximum", "saddle")]
    if not members:
        return
    first = objectives[0]
    x = np.stack([verdicts[i].x for i in members])
    names = sorted(first.data or {})
    own = [name for name in names if name not in first.shared]
    tables = {
        name: np.stack([np.asarray(o.data[name]) for o in objectives if o.data]) for name in own
    }
    same = np.zeros(len(objectives), int)
    if own:
        flat = np.concatenate(
            [a.reshape(len(a), -1).astype(float) for a in tables.values()], axis=1
        )
        same = np.ravel(np.unique(flat, axis=0, return_inverse=True)[1])
    mine = owner[members]
    length = scales(objectives, mine, x)
    # A power of two, so that neighbours of a place are rounded alike.
    grid = 1e-9 * np.exp2(np.round(np.log2(length)))[:, None]
    key = np.column_stack([same[mine], grid, np.round(x / grid) + 0.0])
    _, sample, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
    proved = np.zeros(len(sample), bool)
    try:
        enclosure = Enclosure(first)
        for begin in range(0, len(sample), BATCH):
            part = sample[begin : begin + BATCH]
            data = [
                tables[n][mine[part]] if n in tables else np.asarray((first.data or {})[n])[None]
                for n in names
            ]
            radius = 1e-7 * length[part]
            proved[begin : begin + BATCH] = certify(enclosure, x[part], radius, data)
    except NotCertifiable as reason:
        note = f"numerical: no interval form of {reason}"
        for i in members:
            verdicts[i] = replace(verdicts[i], note=verdicts[i].note or note)
        return
    for i, k in zip(members, np.ravel(group), strict=True):
        if proved[k]:
            verdicts[i] = replace(verdicts[i], certified=True)
