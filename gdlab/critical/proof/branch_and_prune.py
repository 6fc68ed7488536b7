"""Branch and prune: every critical point in a box, each proved to be there exactly once.

All boxes of a level are treated at once. A box is dropped if the gradient's enclosure over it,
by plain evaluation or by the mean value form g(c) + H(X)(X - c), excludes zero; it is settled if
the Krawczyk test on the box blown up a little proves that exactly one critical point is there;
else it is cut to what K(X) leaves of it, and bisected. Points on the faces between boxes are no
trouble, since the blown-up boxes overlap. Degenerate points can never be proved this way: the
boxes around them remain, and are said. So do boxes in which f itself may jump (`smoothness.py`):
its gradient says nothing there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from gdlab.critical.proof import interval as iv
from gdlab.critical.proof.enclosure import Enclosure
from gdlab.critical.proof.inertia import morse_index
from gdlab.critical.proof.interval import Interval
from gdlab.critical.proof.krawczyk import inside, krawczyk
from gdlab.critical.proof.smoothness import JUMP, SMOOTH
from gdlab.types import Objective

BLOW = 0.25  # how far a box is blown up on each side, of its width
BATCH = 8192  # boxes at a time
JUMPS = 4096  # boxes in which f may jump that are cut further; more of them are a line or a face


@dataclass(frozen=True)
class Proof:
    """What branch and prune proved about a domain.

    Attributes:
        roots: enclosures of the critical points `[k, d, 2]`, one point exactly in each.
        index: their Morse indices `[k]`; -1 where it is not proved.
        border: whether an enclosure meets the domain's border `[k]`.
        unresolved: boxes about which nothing could be proved `[u, d, 2]`.
        level: how smooth f is at worst in a box that was not dropped (`smoothness.py`).
        boxes: how many were looked at.
    """

    roots: Float[np.ndarray, "k d 2"]
    index: Int[np.ndarray, " k"]
    border: Bool[np.ndarray, " k"]
    unresolved: Float[np.ndarray, "u d 2"]
    level: int
    boxes: int

    @property
    def complete(self) -> bool:
        """Whether `roots` are all critical points in the domain."""
        return not len(self.unresolved) and not bool(self.border.any())


@np.errstate(all="ignore")
def prune(
    objective: Objective | Enclosure,
    domain: Float[np.ndarray, "d 2"],
    *,
    most_boxes: int = 400_000,
    seconds: float = 20.0,
    smallest: float = 1e-6,
) -> Proof:
    """Finds and proves the critical points in the domain.

    Args:
        most_boxes: boxes to look at before giving up.
        seconds: time before giving up.
        smallest: width, relative to the domain, below which a box is not bisected.

    Raises:
        NotCertifiable: f uses an operation without an interval form.
    """
    enclosure = objective if isinstance(objective, Enclosure) else Enclosure(objective)
    side = domain[:, 1] - domain[:, 0]
    lo, hi = _grid(domain)
    found: list[tuple[np.ndarray, ...]] = []
    stuck: list[np.ndarray] = []
    seen, begin = 0, time.monotonic()
    while len(lo):
        if seen + len(lo) > most_boxes or time.monotonic() - begin > seconds:
            stuck.append(np.stack([lo, hi], axis=-1))
            break
        seen += len(lo)
        following = []
        for k in range(0, len(lo), BATCH):
            following.append(_level(enclosure, lo[k : k + BATCH], hi[k : k + BATCH], found))
        lo, hi, torn = (np.concatenate(a) for a in zip(*following, strict=True))
        done = np.all(hi - lo <= smallest * side, axis=1)
        if torn.sum() > JUMPS:
            done |= torn
        if done.any():
            stuck.append(np.stack([lo[done], hi[done]], axis=-1))
            lo, hi = lo[~done], hi[~done]
        lo, hi = _bisect(lo, hi, side)
    roots, border, unclear = _merge(found, domain)
    index = (
        morse_index(enclosure.H(roots[..., 0], roots[..., 1])) if len(roots) else np.zeros(0, int)
    )
    left = np.concatenate([*stuck, unclear])
    level = int(enclosure.level(left[..., 0], left[..., 1]).max()) if len(left) else SMOOTH
    return Proof(roots, index, border, left, level, seen)


def _grid(domain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The domain cut into some boxes, off the middle where symmetric functions have points."""
    d = len(domain)
    cuts = {1: 16, 2: 8, 3: 4}.get(d, 2)
    t = np.linspace(0.0, 1.0, cuts + 1)
    t[1:-1] += 0.013 / cuts
    edges = [low + t * (high - low) for low, high in domain]
    for edge, (low, high) in zip(edges, domain, strict=True):
        edge[0], edge[-1] = low, high
    which = np.indices((cuts,) * d).reshape(d, -1)
    lo = np.stack([edges[i][which[i]] for i in range(d)], axis=1)
    hi = np.stack([edges[i][which[i] + 1] for i in range(d)], axis=1)
    return lo, hi


def _level(
    enclosure: Enclosure, lo: np.ndarray, hi: np.ndarray, found: list[tuple[np.ndarray, ...]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One pass over boxes: the parts of them that remain, and in which of them f may jump.

    Proved points go to `found`.
    """
    torn = enclosure.level(lo, hi) == JUMP
    g = enclosure.g(lo, hi)
    may = np.all((g.lo <= 0) & (g.hi >= 0), axis=1) & ~torn
    whole_lo, whole_hi = lo[torn], hi[torn]
    lo, hi = lo[may], hi[may]
    if len(lo):
        lo, hi = _proved(enclosure, lo, hi, found)
    torn = np.arange(len(whole_lo) + len(lo)) < len(whole_lo)
    return np.concatenate([whole_lo, lo]), np.concatenate([whole_hi, hi]), torn


def _proved(
    enclosure: Enclosure, lo: np.ndarray, hi: np.ndarray, found: list[tuple[np.ndarray, ...]]
) -> tuple[np.ndarray, np.ndarray]:
    """The parts of boxes in which the mean value form and the Krawczyk test leave a doubt."""
    pad = BLOW * (hi - lo)
    wide_lo, wide_hi = lo - pad, hi + pad
    H = enclosure.H(wide_lo, wide_hi)
    c = 0.5 * lo + 0.5 * hi
    mean = iv.add(enclosure.g(c, c), iv.dot(H, iv.sub(Interval(lo, hi), iv.exact(c))))
    K = krawczyk(enclosure, wide_lo, wide_hi, H)
    may = np.all((mean.lo <= 0) & (mean.hi >= 0), axis=1)
    may &= np.all((K.lo <= hi) & (K.hi >= lo), axis=1)
    proved = may & inside(K, wide_lo, wide_hi)
    if proved.any():
        root = _narrow(enclosure, K.lo[proved], K.hi[proved])
        here = np.all((root.lo <= hi[proved]) & (root.hi >= lo[proved]), axis=1)
        boxes = (root.lo, root.hi, wide_lo[proved], wide_hi[proved])
        found.append(tuple(a[here] for a in boxes))
    rest = may & ~proved
    return np.maximum(lo, K.lo)[rest], np.minimum(hi, K.hi)[rest]


def _narrow(enclosure: Enclosure, lo: np.ndarray, hi: np.ndarray, rounds: int = 4) -> Interval:
    """The point's enclosure, narrowed by applying K to it."""
    for _ in range(rounds):
        K = krawczyk(enclosure, lo, hi, enclosure.H(lo, hi))
        lo, hi = np.maximum(lo, K.lo), np.minimum(hi, K.hi)
    return Interval(lo, hi)


def _bisect(lo: np.ndarray, hi: np.ndarray, side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each box cut in two across its longest side, a little off the middle."""
    if not len(lo):
        return lo, hi
    rows, axis = np.arange(len(lo)), np.argmax((hi - lo) / side, axis=1)
    cut = lo[rows, axis] + 0.4921875 * (hi[rows, axis] - lo[rows, axis])
    left, right = hi.copy(), lo.copy()
    left[rows, axis], right[rows, axis] = cut, cut
    return np.concatenate([lo, right]), np.concatenate([left, hi])


def _merge(
    found: list[tuple[np.ndarray, ...]], domain: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One enclosure a point, whether it meets the border, and enclosures that cannot be told apart.

    Two enclosures are of the same point if one lies in the box in which the other was proved to be
    alone; enclosures that do not overlap are of different points.
    """
    d = len(domain)
    if not sum(len(boxes[0]) for boxes in found):
        return np.zeros((0, d, 2)), np.zeros(0, bool), np.zeros((0, d, 2))
    lo, hi, wide_lo, wide_hi = (np.concatenate(a) for a in zip(*found, strict=True))
    reach = float((hi - lo).max()) * 1.001 + 1e-300
    pairs = cKDTree(0.5 * lo + 0.5 * hi).query_pairs(reach, p=np.inf, output_type="ndarray")
    i, j = pairs[:, 0], pairs[:, 1]
    overlap = np.all((lo[i] <= hi[j]) & (lo[j] <= hi[i]), axis=1)
    i, j = i[overlap], j[overlap]
    same = np.all((wide_lo[i] <= lo[j]) & (hi[j] <= wide_hi[i]), axis=1)
    same |= np.all((wide_lo[j] <= lo[i]) & (hi[i] <= wide_hi[j]), axis=1)
    graph = coo_array((np.ones(same.sum()), (i[same], j[same])), shape=(len(lo), len(lo)))
    group = connected_components(graph, directed=False)[1]
    kept = np.unique(group, return_index=True)[1]
    doubtful = np.unique(i[~same & (group[i] != group[j])])
    unclear = np.stack([lo[doubtful], hi[doubtful]], axis=-1)
    lo, hi = lo[kept], hi[kept]
    out = np.any((hi < domain[:, 0]) | (lo > domain[:, 1]), axis=1)
    lo, hi = lo[~out], hi[~out]
    border = np.any((lo < domain[:, 0]) | (hi > domain[:, 1]), axis=1)
    return np.stack([lo, hi], axis=-1), border, unclear
