"""f, its gradient and its Hessian enclosed on boxes: their programs, carried out with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gdlab.critical.proof import interval as iv
from gdlab.critical.proof.interval import Interval
from gdlab.critical.proof.primitives import (
    BODIES,
    CALLS,
    TAKE_NONFINITE,
    NotCertifiable,
    apply,
    nonfinite,
)
from gdlab.critical.proof.program import differentiate, trace
from gdlab.critical.proof.smoothness import levelled
from gdlab.types import Objective

Boxes = Sequence[np.ndarray] | None


class Enclosure:
    """f, g and H of an objective on boxes, each box with data of its own if need be.

    They are of f itself: derivative rules that f brings along are not used (`program.py`).

    Attributes:
        names: of the arrays of data, in the order in which boxes have them.
        rules: the derivative rules of f that are not used.

    Raises:
        NotCertifiable: f uses an operation without an interval form; the message is its name. Some
            are found only when it is evaluated.
    """

    def __init__(self, objective: Objective) -> None:
        self.names = sorted(objective.data or {})
        self.data = [np.asarray((objective.data or {})[name])[None] for name in self.names]
        shapes = tuple((n, a.shape[1:], a.dtype) for n, a in zip(self.names, self.data))
        self._key = objective.f, objective.dim, None if objective.data is None else shapes
        self.program = trace(*self._key)
        self.rules = self.program.rules

    def f(
        self, lo: Float[np.ndarray, "B d"], hi: Float[np.ndarray, "B d"], data: Boxes = None
    ) -> Interval:
        """Encloses f on each box `[B]`: every value that it takes there, if it is finite.

        Args:
            data: arrays with a leading axis of boxes, in the order of `names`; None: the
                objective's own.
        """
        # Levels also keep what may be undefined from being asked whether it is a number.
        return self._run(self.program.f, lo, hi, data, levels=not self.program.smooth)

    def g(
        self, lo: Float[np.ndarray, "B d"], hi: Float[np.ndarray, "B d"], data: Boxes = None
    ) -> Interval:
        """Encloses the gradient on each box `[B, d]`, wherever f has one; blind for jumps of f."""
        return self._run(differentiate(*self._key).g, lo, hi, data)

    def H(
        self, lo: Float[np.ndarray, "B d"], hi: Float[np.ndarray, "B d"], data: Boxes = None
    ) -> Interval:
        """Encloses the Hessian on each box `[B, d, d]`; infinite where f may not be smooth."""
        H = self._run(differentiate(*self._key).H, lo, hi, data)
        if self.program.smooth:
            return H
        rough = (self.level(lo, hi, data) > 0).reshape(-1, 1, 1)
        return Interval(np.where(rough, -np.inf, H.lo), np.where(rough, np.inf, H.hi))

    def level(
        self, lo: Float[np.ndarray, "B d"], hi: Float[np.ndarray, "B d"], data: Boxes = None
    ) -> Int[np.ndarray, " B"]:
        """How smooth f is on each box: SMOOTH, KINK, POLE or JUMP (`smoothness.py`)."""
        if self.program.smooth:
            return np.zeros(len(lo), int)
        level = self._run(self.program.f, lo, hi, data, levels=True).level
        return np.broadcast_to(0 if level is None else level, (len(lo),)).astype(int)

    def _run(
        self, closed: Any, lo: np.ndarray, hi: np.ndarray, data: Boxes, levels: bool = False
    ) -> Interval:
        lo, hi = np.asarray(lo, float), np.asarray(hi, float)
        numbers = [iv.exact(a) for a in (self.data if data is None else data)]
        source = self.program if closed is self.program.f else differentiate(*self._key)
        strict = not source.finite or any(nonfinite(a).any() for a in numbers)
        with np.errstate(all="ignore"):
            (out,) = interpret(
                closed.jaxpr, closed.consts, [Interval(lo, hi), *numbers], strict, levels
            )
        shape = (len(lo), *out.shape[1:])
        return Interval(np.broadcast_to(out.lo, shape), np.broadcast_to(out.hi, shape), out.level)


def interpret(
    jaxpr: Any,
    consts: Sequence[Any],
    args: Sequence[Interval],
    strict: bool = False,
    levels: bool = False,
) -> list[Interval]:
    """The program's outputs; every interval has a leading axis of boxes.

    Args:
        strict: whether infinity or NaN may be among the numbers; refused where it would matter.
        levels: whether to find how smooth each result is.
    """
    known: dict[Any, Interval] = {}

    def read(atom: Any) -> Interval:
        if hasattr(atom, "val"):
            return iv.exact(np.asarray(atom.val)[None])
        return known[atom]

    for var, value in zip(jaxpr.constvars, consts, strict=True):
        known[var] = iv.exact(np.asarray(value)[None])
    for var, arg in zip(jaxpr.invars, args, strict=True):
        known[var] = arg
    for eqn in jaxpr.eqns:
        inputs = [read(atom) for atom in eqn.invars]
        if eqn.primitive.name in CALLS:
            body = next(eqn.params[k] for k in BODIES if k in eqn.params)
            inner, numbers = getattr(body, "jaxpr", body), getattr(body, "consts", ())
            outputs = interpret(inner, numbers, inputs, strict)
        else:
            spoilt = strict and eqn.primitive.name not in TAKE_NONFINITE
            if spoilt and any(nonfinite(a).any() for a in inputs):
                raise NotCertifiable("inf or nan among the data")
            outputs = apply(eqn, inputs)
        if levels:
            outputs = levelled(eqn, inputs, outputs)
        for var, out in zip(eqn.outvars, outputs, strict=True):
            known[var] = out
    return [read(atom) for atom in jaxpr.outvars]
