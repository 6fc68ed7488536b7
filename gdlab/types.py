"""The nouns of the laboratory: objectives and their facts, step rules, records, verdicts.

d = dimension, T = recorded steps, n = starts (or jobs), k = known points.
Everything here is frozen data; what computes with it lives in the rooms above.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from gdlab.errors import MissingFact, UsageError

if TYPE_CHECKING:  # optax brings jax, which takes half a second
    import optax

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
            if not _is_real(getattr(self, name), none=True):
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


# A step rule is chain(method, schedule). Both are recipes: `transform(**params)` is an optax
# transformation, called inside the compiled program with traced numbers, so that a sweep over
# `params` reuses the program. A number that depends on the objective is given as a function of
# its facts.
FromFacts = Callable[[Facts], float]


@dataclass(frozen=True)
class Method:
    """Gives the descent direction: transforms the gradient g into p, to be scaled by eta > 0.

    Attributes:
        name: as in `conf/method`.
        transform: module-level factory of the optax transformation g -> p.
        params: its numbers, or functions of the objective's facts; they ride in lanes.
        elementwise: p_i depends on the history of g_i alone, so that the runner may hand over the
            coordinates one by one (a tuple of scalars), which fuses best.
    """

    name: str
    transform: Callable[..., optax.GradientTransformationExtraArgs]
    params: Mapping[str, float | FromFacts] = field(default_factory=dict)
    elementwise: bool = False

    def __post_init__(self) -> None:
        _check_transform(f"method {self.name}", self.transform)


@dataclass(frozen=True)
class Schedule:
    """Scales the direction: x <- x + eta_t p_t.

    Open loop: eta_t = scale * sizes(t), evaluated before the descent; the sizes are data.
    Closed loop: `transform(**params)` is an optax transformation p -> eta p that is given
    `value`, `grad` and `value_fn`, and keeps `step_size` and (if it spends any) `f_evals`,
    `hvp_evals` in its state. Exactly one of `sizes` and `transform` is set.

    Attributes:
        name: as in `conf/schedule`.
        scale: unit of the step size: a number, or a function of the facts (1/L, 2/(L+mu)).
        sizes: t `[T]` (integers from 0) -> relative step sizes `[T]`.
        transform: module-level factory of the closed-loop transformation.
        params: its numbers, or functions of the objective's facts; they ride in lanes.
    """

    name: str
    scale: float | FromFacts = 1.0
    sizes: Callable[[Int[np.ndarray, " T"]], Float[np.ndarray, " T"]] | None = None
    transform: Callable[..., optax.GradientTransformationExtraArgs] | None = None
    params: Mapping[str, float | FromFacts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.sizes is None) == (self.transform is None):
            raise ValueError(f"schedule {self.name}: give exactly one of sizes and transform")
        if self.sizes is not None and not callable(self.sizes):
            raise ValueError(
                f"schedule {self.name}: sizes takes a function of the steps t [T] -> [T], not "
                f"{type(self.sizes).__name__}; e.g. lambda t: steps[t % len(steps)]"
            )
        if self.transform is not None:
            _check_transform(f"schedule {self.name}", self.transform)
        if not callable(self.scale) and not _is_real(self.scale):
            raise ValueError(
                f"schedule {self.name}: scale={self.scale!r}: takes a number, or a function of the "
                "objective's facts"
            )


def _check_transform(who: str, transform: Any) -> None:
    if not callable(transform):
        raise ValueError(
            f"{who}: transform={transform!r}: takes a function of the numbers in `params` that "
            "makes an optax transformation"
        )


def _is_real(value: Any, none: bool = False) -> bool:
    """Whether a value is one real number."""
    if value is None:
        return none
    return np.ndim(value) == 0 and getattr(value, "dtype", np.asarray(value).dtype).kind in "biuf"


STATUSES = ("converged", "budget", "diverged")
# Why a descent ended. Of `budget`, what holds still is said only where its last step did not move
# x; `steps` is that it still moved, or that nobody looked.
REASONS = {
    "gtol": "the gradient is as small as gtol",
    "steps": "the steps are used up",
    "schedule": "the schedule has ended: its step sizes are 0",
    "search": "the rule finds no step: its step size is 0",
    "direction": "the method gives no direction: its step is 0",
    "rounding": "the step is lost in the rounding of x",
    "f": "f is not finite",
    "gradient": "the gradient is not finite",
    "f and gradient": "f and the gradient are not finite",
}
KINDS = (
    "minimum",
    "maximum",
    "saddle",
    "degenerate",
    "plateau",
    "cycle",
    "diverged",
    "not_critical",
)


@dataclass(frozen=True)
class Verdict:
    """What an end point is, and the evidence.

    Attributes:
        kind: one of `KINDS`. `plateau`: the gradient is small but polishing leaves the
            neighbourhood. `not_critical`: descent had not converged.
        index: Morse index, number of certainly negative Hessian eigenvalues; None unless critical.
        x: the polished point `[d]` (the end point itself where polishing failed).
        value: f at `x`.
        grad_norm: ||grad f|| at `x`; `grad_norm_before` at the end point as descent left it.
        moved: distance from the end point to `x`.
        eigenvalues: of the Hessian at `x`, ascending `[d]` (extreme ones only where
            `method == "lanczos"`).
        eigenvalue_error: bound on the error of each eigenvalue.
        nullity: number of eigenvalues within the error of zero.
        is_global: True/False where the facts decide it, else None.
        reached: position in the objective's known critical points, None where none is near.
        period: of a cycle.
        stable: the verdict is the same with tolerances ten times larger and smaller.
        certified: an interval Krawczyk test proved that exactly one critical point lies nearby.
        method: "dense", "lanczos" or "none" (how the eigenvalues were found).
        note: one sentence for a person, where something needs saying.
    """

    kind: str
    x: Float[np.ndarray, " d"]
    value: float
    grad_norm: float
    grad_norm_before: float
    index: int | None = None
    moved: float = 0.0
    eigenvalues: Float[np.ndarray, " m"] | None = None
    eigenvalue_error: float = 0.0
    nullity: int = 0
    is_global: bool | None = None
    reached: int | None = None
    period: int | None = None
    stable: bool = True
    certified: bool = False
    method: str = "dense"
    note: str = ""

    @property
    def label(self) -> str:
        """For tables and tags: `minimum`, `saddle of index 1`, `degenerate (nullity 2)` ..."""
        if self.kind == "saddle":
            return f"saddle of index {self.index}"
        if self.kind == "degenerate":
            return f"degenerate (nullity {self.nullity})"
        if self.kind == "cycle":
            return f"cycle of period {self.period}"
        return self.kind.replace("_", " ")


# Recorded at each recorded step, in this order, for every descent. At step t they describe x_t
# and the step that is about to be taken from it.
COLUMNS = (
    "step",
    "loss",
    "grad_norm",
    "step_size",
    "gap",
    "distance",
    "slope",
    "angle",
    "f_evals",
    "grad_evals",
    "hvp_evals",
)


@dataclass(frozen=True, eq=False)
class Record:
    """One descent. Step 0 is the initialization; the last row is the end point.

    Attributes:
        columns: `COLUMNS` (and further probes) -> `[T]`. `gap` = loss - f_star and `distance` to
            the nearest known minimizer are NaN where the facts lack them; `slope` = u'g/|u| is
            the directional derivative along the step (eq. 4.3), `angle` in radians between the
            step and -g (eq. 4.4); `f_evals`, `grad_evals`, `hvp_evals` count what was spent to
            reach x_t.
        path: x at each recorded step `[T, d]`, kept where d <= 3, else None.
        x: the end point `[d]`.
        status: `converged` (||grad|| <= gtol), `budget` (steps used up) or `diverged` (f or the
            gradient is not finite; the last row is the first bad step).
        verdict: what the end point is.
        reason: why it ended, one of `REASONS`.
    """

    columns: Mapping[str, np.ndarray]
    x: Float[np.ndarray, " d"]
    status: str
    path: Float[np.ndarray, "T d"] | None = None
    verdict: Verdict | None = None
    reason: str = ""

    @property
    def ending(self) -> str:
        """Why it ended, in words: `the gradient is not finite at step 12`."""
        words = REASONS.get(self.reason, "")
        return f"{words} at step {self.steps}" if self.status == "diverged" and words else words

    def __getattr__(self, name: str) -> np.ndarray:
        # A copy is asked for names like __setstate__ before it has any columns.
        columns = self.__dict__.get("columns", {})
        if name in columns:
            return columns[name]
        raise AttributeError(f"Record has no {name!r}; it has {list(columns)}")

    @property
    def steps(self) -> int:
        """Steps taken."""
        return int(self.columns["step"][-1])

    def final(self, name: str) -> float:
        """Last recorded value of a column."""
        return float(self.columns[name][-1])


@dataclass(frozen=True, eq=False)
class Records:
    """n descents side by side; `records[i]` is one `Record`.

    Attributes:
        columns: name -> `[n, T]`, rows beyond `length[i]` are meaningless padding.
        path: `[n, T, d]` or None.
        length: rows of each `[n]`.
        x: end points `[n, d]`.
        status: `[n]` strings.
        verdicts: one each, or None if not asked for.
        tail: iterates after the last recorded step, of descents that used up their steps
            `[n, m, d]` (NaN for the others), or None: evidence of cycles.
        reason: why each ended `[n]`, of `REASONS`; None where nobody asked.
    """

    columns: Mapping[str, np.ndarray]
    length: Int[np.ndarray, " n"]
    x: Float[np.ndarray, "n d"]
    status: np.ndarray
    path: Float[np.ndarray, "n T d"] | None = None
    verdicts: Sequence[Verdict] | None = None
    tail: Float[np.ndarray, "n m d"] | None = None
    reason: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Record:
        rows = int(self.length[i])
        return Record(
            columns={name: values[i, :rows] for name, values in self.columns.items()},
            x=self.x[i],
            status=str(self.status[i]),
            path=None if self.path is None else self.path[i, :rows],
            verdict=None if self.verdicts is None else self.verdicts[i],
            reason="" if self.reason is None else str(self.reason[i]),
        )

    @property
    def steps(self) -> Int[np.ndarray, " n"]:
        """Steps taken by each, `[n]`."""
        return self.columns["step"][np.arange(len(self)), self.length - 1].astype(np.int64)

    def final(self, name: str) -> np.ndarray:
        """Last recorded value of a column, `[n]`."""
        return self.columns[name][np.arange(len(self)), self.length - 1]

    def part(self, lanes: slice, verdicts: Sequence[Verdict] | None = None) -> Records:
        """Some of the descents, as views of these arrays."""
        return Records(
            columns={name: values[lanes] for name, values in self.columns.items()},
            length=self.length[lanes],
            x=self.x[lanes],
            status=self.status[lanes],
            path=None if self.path is None else self.path[lanes],
            verdicts=verdicts,
            tail=None if self.tail is None else self.tail[lanes],
            reason=None if self.reason is None else self.reason[lanes],
        )
