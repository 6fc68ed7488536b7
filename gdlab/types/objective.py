"""Objectives and what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gdlab.errors import MissingFact, UsageError

Array = Any  # NumPy or JAX; the shape is said by jaxtyping where it matters


@dataclass(frozen=True)
class CriticalPoints:
    """Known points where the gradient vanishes.

    Attributes:
        x: the points, `[k, d]`.
        value: f there, `[k]`.
        index: Morse index (number of negative Hessian eigenvalues), `[k]`; -1 where degenerate.
        complete: whether these are all critical points in the objective's domain.
    """

    x: Float[np.ndarray, "k d"]
    value: Float[np.ndarray, " k"]
    index: Int[np.ndarray, " k"]
    complete: bool = False


@dataclass(frozen=True)
class Facts:
    """What is known of an objective; `None` means unknown.

    Attributes:
        f_star: global minimum.
        minimizers: all known global minimizers, `[k, d]`.
        L: smoothness constant (largest Hessian eigenvalue over the domain).
        mu: strong-convexity constant (smallest Hessian eigenvalue over the domain).
        domain: the box `[d, 2]` of (low, high) in which starts are drawn and points counted.
        critical_points: inventory of critical points.
        quadratic: whether f is a quadratic polynomial (exact line search is closed-form).
        source: where the numbers come from.
    """

    f_star: float | None = None
    minimizers: Float[np.ndarray, "k d"] | None = None
    L: float | None = None
    mu: float | None = None
    domain: Float[np.ndarray, "d 2"] | None = None
    critical_points: CriticalPoints | None = None
    quadratic: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("minimizers", "domain"):  # lists are what a person writes
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name), float))
        for name in ("f_star", "L", "mu"):
            if not is_real(getattr(self, name), none=True):
                raise UsageError(f"{name}={getattr(self, name)!r}: takes a number, or None")

    def need(self, who: str, objective: str, *names: str) -> tuple[Any, ...]:
        """The named facts; raises `MissingFact` naming the first that is unknown."""
        for name in names:
            if getattr(self, name) is None:
                raise MissingFact(f"{who} needs {name}; {objective} has none")
        return tuple(getattr(self, name) for name in names)


@dataclass(frozen=True, eq=False)
class Objective:
    """A function to descend on.

    `f(x) -> scalar` for a function without data, `f(data, x) -> scalar` with it; x is a flat
    vector `[dim]`. Jobs are fused when they share `f` itself, so `f` should be a module-level
    function and every number that a sweep may vary should live in `data`.

    Attributes:
        f: the function.
        dim: d.
        data: arrays that f reads, by name. Those named in `shared` (a data set, a matrix) are
            one copy for all lanes of a block; the others are stacked, one value a lane.
        shared: names in `data` that all lanes of a block share.
        name: what runs and figures call it.
        facts: what is known of it.
        unravel: flat vector -> the parameter pytree, for networks.
    """

    f: Callable[..., Any]
    dim: int
    data: Mapping[str, Array] | None = None
    shared: Sequence[str] = ()
    name: str = ""
    facts: Facts = field(default_factory=Facts)
    unravel: Callable[[Array], Any] | None = None

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", getattr(self.f, "__name__", "objective").strip("<>"))
        if not callable(self.f):
            raise UsageError(f"f={self.f!r}: takes a function x -> scalar")
        if isinstance(self.dim, bool) or not isinstance(self.dim, int | np.integer) or self.dim < 1:
            raise UsageError(f"dim={self.dim}: takes an integer >= 1")
        if self.data is not None and not isinstance(self.data, Mapping):
            raise UsageError(f"data={self.data!r}: takes arrays by name, as {{'A': A}}")
        for name, value in (self.data or {}).items():
            if getattr(value, "dtype", np.asarray(value).dtype).kind in "OSUMm":
                raise UsageError(f"data={{{name!r}: {value!r}}}: takes arrays of numbers")
        if lost := [name for name in self.shared if name not in (self.data or {})]:
            known = ", ".join(self.data or {}) or "nothing"
            raise UsageError(f"shared={lost[0]}: {self.name} has no such data; it has {known}")
        self._check_shapes()

    def _check_shapes(self) -> None:
        """Facts of another dimension would be wrong numbers in every record."""
        facts, points = self.facts, self.facts.critical_points
        k = None if points is None else np.shape(points.x)[:1]
        for name, value, takes, shape in (
            ("minimizers", facts.minimizers, "[k, d]", (None, self.dim)),
            ("domain", facts.domain, "[d, 2]", (self.dim, 2)),
            ("critical_points.x", None if points is None else points.x, "[k, d]", (None, self.dim)),
            ("critical_points.value", None if points is None else points.value, "[k]", k),
            ("critical_points.index", None if points is None else points.index, "[k]", k),
        ):
            if value is None or shape is None:
                continue
            has = np.shape(value)
            if len(has) != len(shape) or any(w not in (None, h) for h, w in zip(has, shape)):
                raise UsageError(
                    f"{name} has shape {has}: {self.name} of dimension {self.dim} takes {takes}"
                )

    def evaluate(self, data: Mapping[str, Array] | None, x: Array) -> Any:
        """f at x with the given data (traced, as a rule)."""
        return self.f(x) if data is None else self.f(data, x)

    def __call__(self, x: Array) -> Any:
        return self.evaluate(self.data, x)

    def with_facts(self, **facts: Any) -> Objective:
        return replace(self, facts=replace(self.facts, **facts))


def is_real(value: Any, none: bool = False) -> bool:
    """Whether a value is one real number."""
    if value is None:
        return none
    return np.ndim(value) == 0 and getattr(value, "dtype", np.asarray(value).dtype).kind in "biuf"
