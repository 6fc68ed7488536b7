"""Lengths against which distances between points are small.

A point's length is its size, or 1 where that is more: the length over which most functions change.
The sides of the domain say when they change faster: half of a side is the most it can be. Rounding
says the least: a point is known to a few units in its last place, and Newton's ends spread over
some of the domain's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from gdlab.types import Objective

FINE = 1e-5  # of |x|: its rounding error is 1e-11 of that length
WIDE = 1e-7  # of half a side


def halves(domain: Float[np.ndarray, "d 2"] | None, d: int) -> Float[np.ndarray, " d"]:
    """Half the sides of the domain; infinite where there is none."""
    if domain is None:
        return np.full(d, np.inf)
    return np.maximum(0.5 * domain[:, 1] - 0.5 * domain[:, 0], 1e-300)


def base(domain: Float[np.ndarray, "d 2"] | None, d: int) -> Float[np.ndarray, " d"]:
    """Length along each axis that no point's is much below: units to search neighbours in."""
    return np.minimum(halves(domain, d), 1.0)


def lengths(
    domain: Float[np.ndarray, "d 2"] | None, x: Float[np.ndarray, "m d"]
) -> Float[np.ndarray, "m d"]:
    """Length at each point along each axis: clip(max(1, |x|), WIDE h, h), at least FINE |x_j|."""
    size = np.maximum(np.abs(x).max(axis=1, initial=0.0), 1.0)[:, None]
    h = halves(domain, x.shape[1])
    wide = np.where(np.isfinite(h), WIDE * h, 0.0)
    return np.maximum(np.clip(size, wide, h), FINE * np.abs(x))


def scales(
    objectives: Sequence[Objective], owner: np.ndarray, x: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, " n"]:
    """One length for each point, from the longest side of its objective's domain."""
    used, place = np.unique(owner, return_inverse=True)  # few points may have many objectives
    domains = [objectives[k].facts.domain for k in used]
    half = np.array([float(halves(domain, x.shape[1]).max()) for domain in domains])
    most = np.abs(x).max(axis=1, initial=0.0)
    return np.maximum(np.minimum(np.maximum(most, 1.0), half[place]), FINE * most)


def within(objective: Objective, box: Float[np.ndarray, "d 2"]) -> Objective:
    """The objective with the box as its domain, if it has none or a wider one."""
    own = halves(objective.facts.domain, objective.dim).max()
    if own <= halves(box, objective.dim).max():
        return objective
    return replace(objective, facts=replace(objective.facts, domain=box))
