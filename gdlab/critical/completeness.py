"""Proofs for a census: the points that were found against those that are proved to be there.

A point is certified if one critical point of f, and no other, is proved to lie within the census's
tolerance of it, and the Hessian there is proved to have the index that the point is said to have.
The census is exact if branch and prune left nothing open and its points and the certified ones are
the same, one by one.
"""

from __future__ import annotations

import numpy as np

from gdlab.critical.census_result import Census
from gdlab.critical.lengths import lengths
from gdlab.critical.multistart import Multistart
from gdlab.critical.proof.branch_and_prune import Proof, prune
from gdlab.critical.proof.certificate import BATCH, RADIUS, examine, explained, settled
from gdlab.critical.proof.enclosure import Enclosure
from gdlab.critical.proof.primitives import NotCertifiable
from gdlab.critical.proof.smoothness import JUMP, SMOOTH, WORDS
from gdlab.types import Objective

PROVE = 3  # largest dimension of branch and prune
CERTIFY = 8  # largest dimension in which single points are certified


def prove(
    result: Census, objective: Objective, seen: Multistart, certified: bool | str, seconds: float
) -> None:
    """Branch and prune where d <= 3, else the certificate of each point; fills in the result."""
    d = objective.dim
    if certified is False or (certified == "auto" and d > CERTIFY):
        result.why = "no proof was asked for" if certified is False else f"d = {d} is too large"
        return
    try:
        enclosure = Enclosure(objective)
        if d <= PROVE:
            result.proof = prune(enclosure, result.domain, seconds=seconds)
            _add(seen, result.proof)
            result.why = _open_questions(result.proof)
        else:
            result.why = f"branch and prune takes d <= {PROVE}"
        _mark(enclosure, seen, result.proof)
    except NotCertifiable as reason:
        result.proof, result.why = None, f"no interval form of {reason}"
        return
    proof = result.proof
    if proof is not None and proof.complete:
        agreed = sum(v.certified for v in seen.points)
        if not agreed == len(seen.points) == len(proof.roots):
            result.proof, result.why = None, (
                f"points proved: {len(proof.roots)}, found: {len(seen.points)}, the same: {agreed}"
                f"{_aside(enclosure)}"
            )  # fmt: skip


def is_smooth(objective: Objective, domain: np.ndarray, proof: Proof | None) -> bool:
    """Whether f is proved to be smooth throughout the domain, as far as a check needs to know."""
    if proof is not None:
        return proof.level == SMOOTH
    try:
        enclosure = Enclosure(objective)
        level = enclosure.level(domain[None, :, 0], domain[None, :, 1])
        return not enclosure.rules and bool(np.all(level == SMOOTH))
    except NotCertifiable:
        return False


def _aside(enclosure: Enclosure) -> str:
    rules = ", ".join(enclosure.rules)
    return f"; f brings its own derivative rule ({rules}), no proof believes it" if rules else ""


def _add(seen: Multistart, proof: Proof) -> None:
    """What Newton missed, without a hit."""
    if len(proof.roots):
        hits = list(seen.hits)
        seen.take(proof.roots.mean(axis=2))
        seen.hits[: len(hits)] = hits


def _open_questions(proof: Proof) -> str:
    if not proof.complete and not len(proof.unresolved):
        return "a point lies on the border"
    if not len(proof.unresolved):
        return ""
    low, high = proof.unresolved[..., 0].min(axis=0), proof.unresolved[..., 1].max(axis=0)
    where = ", ".join(f"{a:.4g} to {b:.4g}" for a, b in zip(low, high, strict=True))
    n = len(proof.unresolved)
    what = f", where f may have {WORDS[proof.level]}" if proof.level > SMOOTH else ""
    if proof.level == JUMP:
        what += " (a choice, sign or rounding may change)"
    return f"{n:,} small box{'es' * (n != 1)} unresolved, within ({where}){what}"


def _mark(enclosure: Enclosure, seen: Multistart, proof: Proof | None) -> None:
    """Marks the points that are proved as certified; a proved index settles a degenerate one."""
    if not seen.points:
        return
    x = np.array([v.x for v in seen.points])
    rest = np.arange(len(x))
    if proof is not None and len(proof.roots):
        roots = proof.roots.mean(axis=2)
        # One root beside the point, and one point beside the root: no two are taken for one.
        pairs = seen.neighbours(x, roots)
        of_point = np.bincount(pairs[:, 0], minlength=len(x))
        of_root = np.bincount(pairs[:, 1], minlength=len(roots))
        alone = pairs[(of_point[pairs[:, 0]] == 1) & (of_root[pairs[:, 1]] == 1)]
        for k, root in alone:
            seen.points[k] = settled(seen.points[k], int(proof.index[root]))
        rest = np.flatnonzero(of_point == 0)
    radius = RADIUS * lengths(seen.box, x)
    for begin in range(0, len(rest), BATCH):
        part = rest[begin : begin + BATCH]
        found = examine(enclosure, x[part], radius[part])
        for i, k in enumerate(part):
            seen.points[k] = explained(seen.points[k], found, i)
