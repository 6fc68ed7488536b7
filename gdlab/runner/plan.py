"""Jobs grouped by structure: what one compiled program can carry out side by side.

A job is one descent configuration; it takes one lane for each of its starts. Jobs whose code,
shapes and record grid agree form a group.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gdlab.errors import MissingFact, UsageError, blamed
from gdlab.runner.program import APART, Lanes, Program
from gdlab.types import Method, Objective, Schedule

MOST_BYTES = 4 * 2**30  # of the records of one job
LEAST_ROW = 80  # bytes of a recorded step
MOST_STEPS = 2**31 - 2  # counted in 32 bits
MOST_GTOL = 1e150
PATH_DIM = 3


@dataclass(frozen=True)
class Numbers:
    """The numbers of a rule on one objective, with those that depend on its facts worked out."""

    method: Mapping[str, float]
    schedule: Mapping[str, float]
    scale: float


def bind(objective: Objective, method: Method, schedule: Schedule) -> Numbers:
    """The numbers of this rule on this objective.

    Raises:
        MissingFact: a fact is unknown; names the rule, the fact and the objective.
        UsageError: a user's function of the facts fails; names the rule.
    """

    def numbers(whose: str, params: Mapping[str, Any]) -> dict[str, float]:
        with blamed(whose):
            try:
                return {k: v(objective.facts) if callable(v) else v for k, v in params.items()}
            except ValueError as error:  # a fact is missing, or does not allow the rule
                said = str(error).replace("this objective", objective.name)
                raise MissingFact(said) from None

    rule = f"schedule={schedule.name}"
    scale = numbers(rule, {"scale": schedule.scale})["scale"]
    own = numbers(rule, schedule.params)
    return Numbers(numbers(f"method={method.name}", method.params), own, scale)


@dataclass(frozen=True, eq=False)
class Job:
    """One descent configuration, ready to run.

    Attributes:
        x0: starts `[n, d]`.
        steps: at most.
        gtol: converged once ||grad f|| <= gtol.
        marks: steps at which to record, ascending from 0 to `steps` (see `record_marks`).
        probes: names of further probes.
        precision: `float64` or `float32`.
        numbers: those of the rule on this objective (default: worked out here, which raises
            `MissingFact` where a fact is unknown).
    """

    objective: Objective
    method: Method
    schedule: Schedule
    x0: Float[np.ndarray, "n d"]
    steps: int
    gtol: float
    marks: Int[np.ndarray, " K"]
    probes: tuple[str, ...] = ()
    precision: str = "float64"
    numbers: Numbers | None = None

    def __post_init__(self) -> None:
        if self.numbers is None:
            bound = bind(self.objective, self.method, self.schedule)
            object.__setattr__(self, "numbers", bound)


@dataclass(frozen=True)
class Group:
    """Jobs of one structure: the program that carries them out, and their places in the sweep.

    Attributes:
        parts: what tells its objective, its method and its schedule from others.
        grid: what all jobs have in common that one call of a program carries out.
    """

    program: Program
    jobs: tuple[int, ...]
    parts: tuple[Hashable, Hashable, Hashable]
    grid: Hashable


@lru_cache(maxsize=64)
def record_marks(steps: int, spacing: str = "log", points: int = 100) -> Int[np.ndarray, " K"]:
    """The steps that are recorded: 0, `steps`, and about `points` between.

    Args:
        spacing: `log` (evenly in log step), `linear`, `all` (every step) or `ends`.

    Raises:
        UsageError: no such spacing, or no descent with as many records fits in memory.
    """
    if spacing not in ("log", "linear", "all", "ends"):
        raise UsageError(f"record.spacing={spacing}: takes log, linear, all or ends")
    every = spacing == "all" or (spacing != "ends" and points > steps)
    count = steps if every else 0 if spacing == "ends" else points
    if count * LEAST_ROW > MOST_BYTES:
        raise UsageError(
            f"steps={steps} with {count:,} recorded would take {count * LEAST_ROW / 2**30:.0f} GB; "
            "use record=ends or a smaller record.points"
        )
    inner = np.array([])
    if every:
        inner = np.arange(steps + 1)
    elif spacing == "log":
        inner = np.logspace(0, math.log10(max(steps, 1)), max(points - 1, 1))
    elif spacing == "linear":
        inner = np.linspace(0, steps, max(points, 2))
    marks = np.unique(np.concatenate([[0], np.round(inner), [steps]]).astype(np.int64))
    marks.flags.writeable = False  # all jobs have the same
    return marks


def plan(jobs: Sequence[Job]) -> list[Group]:
    """Groups of jobs that one program can carry out, in order of first appearance."""
    groups: dict[Hashable, list[int]] = {}
    made: dict[Hashable, Group] = {}
    digests: dict[int, str] = {}
    for i, job in enumerate(jobs):
        group = _group(i, job, digests)
        facts = job.objective.facts
        known = None if facts.minimizers is None else np.shape(facts.minimizers)
        key = (group.program, group.parts, group.grid, known)
        groups.setdefault(key, []).append(i)
        made.setdefault(key, group)
    return [replace(made[key], jobs=tuple(members)) for key, members in groups.items()]


def _group(i: int, job: Job, digests: dict[int, str]) -> Group:
    """The group of one job."""
    o, data = job.objective, job.objective.data or {}
    program = Program(
        f=o.f,
        has_data=o.data is not None,
        dim=o.dim,
        method=job.method.transform,
        schedule=job.schedule.transform,
        probes=job.probes,
        keep_path=o.dim <= PATH_DIM,
        elementwise=job.method.elementwise and job.schedule.transform is None and o.dim <= APART,
    )
    shared = tuple((name, _digest(data[name], digests)) for name in o.shared)
    own = {name: v for name, v in data.items() if name not in o.shared}
    parts = (
        (o.f, o.data is not None, shared, _form(own)),
        (job.method.transform, _form(job.method.params)),
        (job.schedule.transform, _form(job.schedule.params)),
    )
    grid = (o.dim, job.probes, program.keep_path, _digest(job.marks, digests), job.precision)
    return Group(program, (i,), parts, grid)


def stack(
    members: Sequence[int], jobs: Sequence[Job], counts: Int[np.ndarray, " J"]
) -> tuple[Lanes, list[Callable[..., Any]]]:
    """The lanes of the jobs side by side, and the step-size tables that they follow."""
    group = [jobs[i] for i in members]
    first = group[0]
    dtype = np.dtype(first.precision)

    def side_by_side(values: Sequence[Any]) -> np.ndarray:
        stacked = np.stack([as_floats(v, dtype) for v in values], axis=-1)
        return np.repeat(stacked, counts, axis=-1)

    def numbers(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        return {name: side_by_side([row[name] for row in rows]) for name in rows[0]}

    own = [
        {k: v for k, v in (job.objective.data or {}).items() if k not in job.objective.shared}
        for job in group
    ]
    places: dict[Hashable, int] = {}
    tables: list[Callable[..., Any]] = []
    columns: list[int] = []
    for job in group:
        key = identity(job.schedule.sizes)
        if key not in places:
            places[key] = len(tables)
            tables.append(job.schedule.sizes or np.ones_like)
        columns.append(places[key])
    rules = [job.numbers for job in group if job.numbers is not None]  # every job has them
    lanes = Lanes(
        data=numbers(own) if first.objective.data is not None else None,
        method=numbers([rule.method for rule in rules]),
        schedule=numbers([rule.schedule for rule in rules]),
        scale=side_by_side([rule.scale for rule in rules]),
        column=np.repeat(np.array(columns, np.int32), counts),
        gtol=side_by_side([float(job.gtol) for job in group]),
        minimizers=None
        if first.objective.facts.minimizers is None
        else side_by_side([job.objective.facts.minimizers for job in group]),
    )
    return lanes, tables


def _form(values: Mapping[str, Any]) -> Hashable:
    """Names, shapes and types: what jobs share that lie side by side; numbers become floats."""

    def form(value: Any) -> Hashable:
        if callable(value):
            return ()  # a number that depends on the objective
        array = np.asarray(value)
        return array.shape, array.dtype.str if array.ndim else ""

    return tuple((name, form(value)) for name, value in values.items())


def as_floats(value: Any, dtype: np.dtype) -> np.ndarray:
    """Floats in the descent's precision; integers stay integers."""
    array = np.asarray(value)
    return array.astype(dtype) if array.dtype.kind == "f" or array.ndim == 0 else array


def identity(sizes: Callable[..., Any] | None) -> Hashable:
    if isinstance(sizes, partial):
        return (sizes.func, sizes.args, tuple(sorted(sizes.keywords.items())))
    return sizes


def _digest(array: Any, seen: dict[int, str]) -> str:
    if id(array) not in seen:
        content = np.ascontiguousarray(array)
        form = f"{content.dtype.str}{content.shape}".encode()
        seen[id(array)] = hashlib.sha256(form + content.tobytes()).hexdigest()
    return seen[id(array)]
