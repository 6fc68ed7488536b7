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

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from gdlab import numerics
from gdlab.critical.proof import interval as iv
from gdlab.critical.proof.enclosure import Boxes, Enclosure
from gdlab.critical.proof.inertia import morse_index
from gdlab.critical.proof.interval import Interval
from gdlab.types import Objective


@dataclass(frozen=True)
class Decision:
    """What the test decided about each of m boxes.

    Attributes:
        one: exactly one critical point is proved to lie in the box.
        none: none is.
        index: its Morse index, that of the Hessian throughout the box; -1: not proved.
    """

    one: Bool[np.ndarray, " m"]
    none: Bool[np.ndarray, " m"]
    index: Int[np.ndarray, " m"]


@np.errstate(all="ignore")
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
    middle = np.where(regular[:, None, None], H.mid, np.eye(d))
    # Scaled by powers of two, so that it is the same matrix whose determinant says whether it is
    # singular, and no pivot underflows.
    size = np.exp2(np.clip(np.frexp(np.abs(middle).max(axis=(1, 2)))[1], -1000, 1000))
    middle = middle / size[:, None, None]
    singular = np.linalg.slogdet(middle)[0] == 0
    middle[singular] = np.eye(d)
    Y = np.linalg.inv(middle) / size[:, None, None]
    singular |= ~np.isfinite(Y).all(axis=(1, 2))
    Y = iv.exact(np.where(singular[:, None, None], np.eye(d), Y))
    c = lo + 0.5 * (hi - lo)
    x, center = Interval(lo, hi), iv.exact(c)
    rest = iv.sub(iv.exact(np.eye(d)[None]), iv.product(Y, H))
    move = iv.sub(iv.dot(rest, iv.sub(x, center)), iv.dot(Y, enclosure.g(c, c, data)))
    K = iv.add(center, move)
    lost = (singular | ~regular)[:, None] | np.isnan(K.lo) | np.isnan(K.hi)
    return Interval(np.where(lost, -np.inf, K.lo), np.where(lost, np.inf, K.hi))


def inside(K: Interval, lo: np.ndarray, hi: np.ndarray) -> Bool[np.ndarray, " B"]:
    """Whether K lies in the interior of each box."""
    return np.all((K.lo > lo) & (K.hi < hi), axis=1)


def decide(
    enclosure: Enclosure,
    lo: Float[np.ndarray, "m d"],
    hi: Float[np.ndarray, "m d"],
    data: Boxes = None,
) -> Decision:
    """Which boxes hold one critical point, which none, and of which index."""
    H = enclosure.H(lo, hi, data)
    K = krawczyk(enclosure, lo, hi, H, data)
    none = np.any((K.lo > hi) | (K.hi < lo), axis=1)
    return Decision(inside(K, lo, hi), none, morse_index(H))


@numerics.computing()
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
    return decide(enclosure, *around(x, radius), data).one


def around(x: Any, radius: Any) -> tuple[np.ndarray, np.ndarray]:
    """The boxes around points, of one radius or of one along each axis."""
    x = np.atleast_2d(np.asarray(x, float))
    r = np.asarray(radius, float)
    r = np.broadcast_to(r if r.ndim == 2 else r[..., None], x.shape)
    return x - r, x + r
