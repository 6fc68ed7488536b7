"""A sweep as few compiled programs: plan (group by structure), stack, run blocks of lanes, unstack.

A job is one descent configuration; it takes one lane for each of its starts. Jobs whose code,
shapes and record grid agree form a group, and a group is run as a pool of lanes.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from gdlab import numerics
from gdlab.errors import MissingFact, UsageError
from gdlab.probes import check_probes
from gdlab.runner.pool import Pool
from gdlab.runner.program import APART, Lanes, Program
from gdlab.types import Method, Objective, Records, Schedule

numerics.configure()  # whoever comes here first computes in 64 bits too

# A chunk of jobs is what is in memory at once: its records, and the block in flight.
CHUNK_BYTES = 192 * 2**20
MOST_BYTES = 4 * 2**30
LEAST_ROW = 80  # bytes of a recorded step
MOST_STEPS = 2**31 - 2  # counted in 32 bits
MOST_GTOL = 1e150  # compared squared
PATH_DIM = 3
HOPELESS = 8  # jobs that raise, each alone, before the rest of their chunk is given up


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


@dataclass(frozen=True)
class Group:
    """Jobs of one structure: the program that carries them out, and their places in the sweep."""

    program: Program
    jobs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Chunk:
    """Results of some jobs of a group: `records[i]` belongs to lane i, `lanes[j]` to job j."""

    jobs: tuple[int, ...]
    lanes: Mapping[int, slice]
    records: Records
    steps_computed: int


@dataclass(frozen=True)
class Lost:
    """Jobs that could not be carried out, and why."""

    jobs: tuple[int, ...]
    error: Exception


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
    programs: dict[Hashable, Program] = {}
    digests: dict[int, str] = {}
    for i, job in enumerate(jobs):
        o, data = job.objective, job.objective.data or {}
        program = Program(
            f=o.f,
            has_data=o.data is not None,
            dim=o.dim,
            method=job.method.transform,
            schedule=job.schedule.transform,
            probes=job.probes,
            keep_path=o.dim <= PATH_DIM,
            elementwise=job.method.elementwise
            and job.schedule.transform is None
            and o.dim <= APART,
        )
        shared = tuple((name, _digest(data[name], digests)) for name in o.shared)
        own = {name: v for name, v in data.items() if name not in o.shared}
        shapes = tuple(_form(p) for p in (own, job.method.params, job.schedule.params))
        known = None if o.facts.minimizers is None else np.shape(o.facts.minimizers)
        marks = _digest(job.marks, digests)
        key = (program, shared, shapes, known, marks, job.precision)
        groups.setdefault(key, []).append(i)
        programs[key] = program
    return [Group(programs[key], tuple(members)) for key, members in groups.items()]


def descents(
    objective: Objective,
    x0: Any,
    *,
    method: Method | None = None,
    schedule: Schedule | None = None,
    steps: int = 1000,
    gtol: float = 1e-8,
    record: str = "log",
    points: int = 100,
    probes: Sequence[str] = (),
    precision: str = "float64",
    tails: bool = False,
) -> Records:
    """Descents on one objective from one start `[d]` or many `[n, d]`, not judged.

    The arguments are those of `gdlab.descend`; `tails` as in `run`.

    Raises:
        UsageError: x0 has the wrong dimension, or a number is out of its range.
    """
    start = np.asarray(x0, float)
    if start.ndim not in (1, 2) or start.shape[-1] != objective.dim or not start.size:
        raise UsageError(
            f"x0 has shape {start.shape}: {objective.name} takes [{objective.dim}] "
            f"or [n, {objective.dim}]"
        )
    if not 0 <= steps <= MOST_STEPS or not 0 <= gtol <= MOST_GTOL:
        raise UsageError(
            f"steps={steps}, gtol={gtol}: take 0 to {MOST_STEPS:.2g} and 0 to {MOST_GTOL:g}"
        )
    if int(steps) != steps:
        raise UsageError(f"steps={steps}: takes an integer")
    if precision not in ("float64", "float32"):
        raise UsageError(f"precision={precision}: takes float64 or float32")
    check_probes("probes", probes)
    from gdlab import methods, schedules

    job = Job(
        objective=objective,
        method=method or methods.gradient(),
        schedule=schedule or schedules.constant(),
        x0=np.atleast_2d(start),
        steps=int(steps),
        gtol=float(gtol),
        marks=record_marks(int(steps), record, points),
        probes=tuple(probes),
        precision=precision,
    )
    (chunk,) = run([job], tails=tails)
    assert isinstance(chunk, Chunk)  # nothing is isolated
    return chunk.records


def run(
    jobs: Sequence[Job],
    groups: Sequence[Group] | None = None,
    tails: bool = False,
    isolate: bool = False,
) -> Iterator[Chunk | Lost]:
    """Carries the jobs out, chunk by chunk, each chunk's lanes as one pool.

    While a chunk computes, the programs of the next ones are compiled, one a core.

    Args:
        groups: of the jobs (default: `plan(jobs)`).
        tails: whether descents that used up their steps are followed for `pool.TAIL` more, as
            evidence of what they are doing (see `Records.tail`).
        isolate: whether a chunk that raises is yielded as `Lost`, and the others go on.

    Raises:
        UsageError: the record of a single job would not fit in memory.
    """
    groups = plan(jobs) if groups is None else groups
    chunks = [(group.program, members) for group in groups for members in _chunks(group, jobs)]
    devices = _devices()
    compiling: set[Program] = set()
    with ThreadPoolExecutor(len(devices)) as workers, ThreadPoolExecutor(len(devices)) as compilers:

        def prepare(program: Program, members: tuple[int, ...]) -> Future[Pool]:
            new = program not in compiling
            compiling.add(program)
            return compilers.submit(_pool, program, members, jobs, workers, devices, tails, new)

        coming: deque[Future[Pool]] = deque()
        try:
            for i, (program, members) in enumerate(chunks):
                while len(coming) <= len(devices) and i + len(coming) < len(chunks):
                    coming.append(prepare(*chunks[i + len(coming)]))
                first = coming.popleft()
                try:
                    done = _chunk(first.result(), members, jobs)
                except Exception as error:
                    if not isolate:
                        raise
                    again = partial(_pool, program, jobs=jobs, workers=workers, devices=devices)
                    yield from _apart(members, jobs, partial(again, tails=tails), error)
                else:
                    yield done
        finally:
            compilers.shutdown(cancel_futures=True)


def _chunk(pool: Pool, members: tuple[int, ...], jobs: Sequence[Job]) -> Chunk:
    records = pool.run()
    places = dict(zip(members, _places(members, jobs), strict=True))
    return Chunk(members, places, records, pool.computed)


def _apart(
    members: tuple[int, ...],
    jobs: Sequence[Job],
    pool_of: Callable[[tuple[int, ...]], Pool],
    error: Exception,
) -> Iterator[Chunk | Lost]:
    """The chunks of jobs that raised together: halved until a job that raises is alone.

    Where the first `HOPELESS` jobs that are alone all raise, the others are taken to be no better.
    """
    waiting, lost, kept = [(members, error)], 0, 0
    while waiting:
        these, error = waiting.pop()
        if len(these) == 1 or (lost >= HOPELESS and not kept):
            lost += len(these)
            yield Lost(these, error)
            continue
        halves = these[: len(these) // 2], these[len(these) // 2 :]
        for half in halves:
            try:
                done = _chunk(pool_of(half), half, jobs)
            except Exception as trouble:
                waiting.append((half, trouble))
            else:
                kept += 1
                yield done


def _chunks(group: Group, jobs: Sequence[Job]) -> Iterator[tuple[int, ...]]:
    members: list[int] = []
    size = 0
    for i in group.jobs:
        job = jobs[i]
        row = LEAST_ROW + 8 * (
            len(job.probes) + (job.objective.dim if group.program.keep_path else 0)
        )
        cost = len(job.x0) * (len(job.marks) * row + 8 * 4 * job.objective.dim)
        if cost > MOST_BYTES:
            raise UsageError(
                f"init.samples={len(job.x0)} with {len(job.marks)} recorded steps would take "
                f"{cost / 2**30:.0f} GB; use record=ends or a smaller record.points"
            )
        if members and size + cost > CHUNK_BYTES:
            yield tuple(members)
            members, size = [], 0
        members.append(i)
        size += cost
    yield tuple(members)


def _places(members: Sequence[int], jobs: Sequence[Job]) -> list[slice]:
    """The lanes of each job in its chunk."""
    starts = np.cumsum([0] + [len(jobs[i].x0) for i in members])
    return [slice(a, b) for a, b in itertools.pairwise(starts)]


def _pool(
    program: Program,
    members: tuple[int, ...],
    jobs: Sequence[Job],
    workers: ThreadPoolExecutor,
    devices: Sequence[Any],
    tails: bool = False,
    compiled: bool = False,
) -> Pool:
    """The lanes of a chunk before their first step, and the program compiled where asked for."""
    first = jobs[members[0]]
    counts = np.array([len(jobs[i].x0) for i in members])
    lanes, tables = _stack(members, jobs, counts)
    data = first.objective.data or {}
    dtype = np.dtype(first.precision)
    known = [np.nan if (f := jobs[i].objective.facts.f_star) is None else f for i in members]
    pool = Pool(
        program=replace(program, gathered=len(tables) > 1),
        shared={name: _as(data[name], dtype) for name in first.objective.shared},
        lanes=lanes,
        x0=np.concatenate([jobs[i].x0 for i in members]).astype(dtype).T,
        f_star=np.repeat(np.array(known, float), counts),
        tables=tables,
        marks=first.marks,
        workers=workers,
        devices=devices,
        tails=tails,
    )
    if compiled:
        pool.compile()
    return pool


def bind(params: Mapping[str, Any], objective: Objective) -> dict[str, float]:
    """Numbers of a rule, with those that depend on the objective worked out from its facts.

    Raises:
        MissingFact: a fact is unknown; names the rule, the fact and the objective.
    """
    try:
        return {name: v(objective.facts) if callable(v) else v for name, v in params.items()}
    except ValueError as error:  # a fact that is missing, or that does not allow the rule
        raise MissingFact(str(error).replace("this objective", objective.name)) from None


def _stack(
    members: Sequence[int], jobs: Sequence[Job], counts: Int[np.ndarray, " J"]
) -> tuple[Lanes, list[Callable[..., Any]]]:
    """The lanes of the jobs side by side, and the step-size tables that they follow."""
    group = [jobs[i] for i in members]
    first = group[0]
    dtype = np.dtype(first.precision)

    def side_by_side(values: Sequence[Any]) -> np.ndarray:
        stacked = np.stack([_as(v, dtype) for v in values], axis=-1)
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
        key = _identity(job.schedule.sizes)
        if key not in places:
            places[key] = len(tables)
            tables.append(job.schedule.sizes or np.ones_like)
        columns.append(places[key])
    lanes = Lanes(
        data=numbers(own) if first.objective.data is not None else None,
        method=numbers([bind(job.method.params, job.objective) for job in group]),
        schedule=numbers([bind(job.schedule.params, job.objective) for job in group]),
        scale=side_by_side(
            [bind({"scale": job.schedule.scale}, job.objective)["scale"] for job in group]
        ),
        column=np.repeat(np.array(columns, np.int32), counts),
        gtol2=side_by_side([job.gtol**2 for job in group]),
        minimizers=None
        if first.objective.facts.minimizers is None
        else side_by_side([job.objective.facts.minimizers for job in group]),
    )
    return lanes, tables


def _devices() -> list[Any]:
    """Where blocks go in turn, a worker each: all accelerators, or one CPU device once a core.

    XLA computes what several threads ask of one CPU device side by side, and compiles for it once.
    """
    devices = jax.local_devices()
    return devices if devices[0].platform != "cpu" else devices[:1] * numerics.cores()


def _form(values: Mapping[str, Any]) -> Hashable:
    """Names, shapes and types: what jobs share that lie side by side; numbers become floats."""

    def form(value: Any) -> Hashable:
        if callable(value):
            return ()  # a number that depends on the objective
        array = np.asarray(value)
        return array.shape, array.dtype.str if array.ndim else ""

    return tuple((name, form(value)) for name, value in values.items())


def _as(value: Any, dtype: np.dtype) -> np.ndarray:
    """Floats in the descent's precision; integers stay integers."""
    array = np.asarray(value)
    return array.astype(dtype) if array.dtype.kind == "f" or array.ndim == 0 else array


def _identity(sizes: Callable[..., Any] | None) -> Hashable:
    if isinstance(sizes, partial):
        return (sizes.func, sizes.args, tuple(sorted(sizes.keywords.items())))
    return sizes


def _digest(array: Any, seen: dict[int, str]) -> str:
    if id(array) not in seen:
        content = np.ascontiguousarray(array)
        form = f"{content.dtype.str}{content.shape}".encode()
        seen[id(array)] = hashlib.sha256(form + content.tobytes()).hexdigest()
    return seen[id(array)]
