"""Enclosures of f and its derivatives at many points, each with the data of its own objective."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gdlab.critical.derivatives import Derivatives
from gdlab.critical.proof.enclosure import Enclosure
from gdlab.critical.proof.interval import Interval
from gdlab.critical.proof.primitives import NotCertifiable
from gdlab.types import Objective

NUMBERS = 2**22  # in an array of intervals, at most


class Enclosures:
    """Interval forms of objectives that share their program.

    Args:
        at: the objectives' derivatives, which know whose data each point has.
        objective: one of them.
    """

    def __init__(self, at: Derivatives, objective: Objective) -> None:
        self.at, self.objective = at, objective

    @cached_property
    def enclosure(self) -> Enclosure:
        """The interval form; raises `NotCertifiable` where there is none."""
        return Enclosure(self.objective)

    @cached_property
    def _width(self) -> int:
        """Numbers in the largest array that one box needs."""
        return _width(self.enclosure.program.f.jaxpr)

    def __call__(
        self,
        what: str,
        lo: Float[np.ndarray, "m d"],
        hi: Float[np.ndarray, "m d"],
        points: Int[np.ndarray, " m"],
    ) -> Interval | None:
        """Encloses `f` `[m]`, `g` `[m, d]` or `H` `[m, d, d]` on boxes.

        Returns:
            None where f has no interval form, or one that would not fit into memory.
        """
        try:
            if self._width > NUMBERS:
                return None
            rows = max(NUMBERS // self._width, 1)
            parts = [
                getattr(self.enclosure, what)(lo[k], hi[k], self.data(points[k]))
                for k in (slice(b, b + rows) for b in range(0, len(lo), rows))
            ]
        except NotCertifiable:
            return None
        return Interval(
            np.concatenate([p.lo for p in parts]), np.concatenate([p.hi for p in parts])
        )

    def data(self, points: Int[np.ndarray, " m"]) -> list[np.ndarray]:
        """The data in the order of their names, a leading axis of boxes each."""
        at, out = self.at, []
        for name in sorted(self.objective.data or {}):
            if name in at.lanes:
                out.append(np.moveaxis(at.lanes[name][..., at.owner[points]], -1, 0))
            else:
                out.append(at.shared[name][None])
        return out


def _width(jaxpr: Any) -> int:
    """Numbers in the largest array of the program; a product of matrices holds all its terms."""
    most = 1
    for eqn in jaxpr.eqns:
        for v in eqn.outvars:
            most = max(most, int(np.prod(v.aval.shape, dtype=float)))
        if eqn.primitive.name == "dot_general":
            (contract, _), _ = eqn.params["dimension_numbers"]
            terms = float(np.prod(eqn.outvars[0].aval.shape, dtype=float))
            for axis in contract:
                terms *= eqn.invars[0].aval.shape[axis]
            most = max(most, int(min(terms, 1e18)))
        for name in ("jaxpr", "call_jaxpr"):
            if name in eqn.params:
                most = max(most, _width(getattr(eqn.params[name], "jaxpr", eqn.params[name])))
    return most
