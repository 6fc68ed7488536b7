"""A sweep as few compiled programs: plan (group by structure), stack, run blocks of lanes, unstack.

A job is one descent configuration; it takes one lane for each of its starts. Jobs whose code,
shapes and record grid agree form a group, and a group is a pool of lanes: blocks of a fixed width
are cut from the lanes that still go on, so that cost follows the steps used.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from gdlab import descent, numerics, registry
from gdlab.errors import MissingFact, UsageError
from gdlab.types import Method, Objective, Records, Schedule

numerics.configure()  # whoever comes here first computes in 64 bits too

# A chunk of jobs is what is in memory at once: its records, and the block in flight.
CHUNK_BYTES = 192 * 2**20
MOST_BYTES = 4 * 2**30
# A segment ends where lanes may leave the pool: where the step count has doubled, from here on.
FIRST_SEGMENT = 128
TABLE_NUMBERS = 2**22
MOST_STEPS = 2**31 - 2  # counted in 32 bits
MOST_GTOL = 1e150  # compared squared
TAIL = 48  # three rounds of the longest cycle that is looked for
PATH_DIM = 3


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

    program: descent.Program
    jobs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Chunk:
    """Results of some jobs of a group: `records[i]` belongs to lane i, `lanes[j]` to job j."""

    jobs: tuple[int, ...]
    lanes: Mapping[int, slice]
    records: Records
    steps_computed: int


def record_marks(steps: int, spacing: str = "log", points: int = 100) -> Int[np.ndarray, " K"]:
    """The steps that are recorded: 0, `steps`, and about `points` between.

    Args:
        spacing: `log` (evenly in log step), `linear`, `all` (every step) or `ends`.
    """
    if spacing == "all" or (spacing != "ends" and points > steps):
        return np.arange(steps + 1)
    if spacing == "log":
        inner = np.logspace(0, math.log10(max(steps, 1)), max(points - 1, 1))
    elif spacing == "linear":
        inner = np.linspace(0, steps, max(points, 2))
    elif spacing == "ends":
        inner = np.array([])
    else:
        raise UsageError(f"record.spacing={spacing}: takes log, linear, all or ends")
    marks = np.unique(np.round(inner).astype(np.int64))
    return np.unique(np.concatenate([[0], marks, [steps]]))


def width(dim: int) -> int:
    """Lanes in a block: it depends on the dimension alone, so that a lane's bits do too.

    Wide enough to fill vectors and to hide the loop's own cost, narrow enough to stay in the
    first-level cache and to leave a single descent quick.
    """
    return int(np.clip(2 ** int(math.log2(max(640 / dim, 1))), 16, 256))


def plan(jobs: Sequence[Job]) -> list[Group]:
    """Groups of jobs that one program can carry out, in order of first appearance."""
    groups: dict[Hashable, list[int]] = {}
    programs: dict[Hashable, descent.Program] = {}
    digests: dict[int, str] = {}
    for i, job in enumerate(jobs):
        o, data = job.objective, job.objective.data or {}
        program = descent.Program(
            f=o.f,
            has_data=o.data is not None,
            dim=o.dim,
            method=job.method.transform,
            schedule=job.schedule.transform,
            probes=job.probes,
            keep_path=o.dim <= PATH_DIM,
            elementwise=job.method.elementwise
            and job.schedule.transform is None
            and o.dim <= descent.APART,
        )
        shared = tuple((name, _digest(data[name], digests)) for name in o.shared)
        shapes = tuple((name, np.shape(v)) for name, v in data.items() if name not in o.shared)
        rule = (tuple(job.method.params), tuple(job.schedule.params))
        known = None if o.facts.minimizers is None else np.shape(o.facts.minimizers)
        key = (program, shared, shapes, rule, known, job.marks.tobytes(), job.precision)
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
    for name in probes:
        if name not in registry.factories("probe"):
            known = list(registry.factories("probe"))
            raise UsageError(f"probes={probes!r}: {name}: {registry.suggest(name, known)}")
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
    return chunk.records


def run(
    jobs: Sequence[Job], groups: Sequence[Group] | None = None, tails: bool = False
) -> Iterator[Chunk]:
    """Carries the jobs out, chunk by chunk, each chunk's lanes as one pool.

    Args:
        groups: of the jobs (default: `plan(jobs)`).
        tails: whether descents that used up their steps are followed for `TAIL` more, as evidence
            of what they are doing (see `Records.tail`).

    Raises:
        UsageError: the record of a single job would not fit in memory.
    """
    devices = _devices()
    with ThreadPoolExecutor(len(devices)) as pool:
        for group in plan(jobs) if groups is None else groups:
            for members in _chunks(group, jobs):
                yield _run_chunk(group.program, members, jobs, pool, devices, tails)


def _chunks(group: Group, jobs: Sequence[Job]) -> Iterator[tuple[int, ...]]:
    members: list[int] = []
    size = 0
    for i in group.jobs:
        job = jobs[i]
        row = 8 * (10 + len(job.probes) + (job.objective.dim if group.program.keep_path else 0))
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


def _run_chunk(
    program: descent.Program,
    members: tuple[int, ...],
    jobs: Sequence[Job],
    pool: ThreadPoolExecutor,
    devices: Sequence[Any],
    tails: bool = False,
) -> Chunk:
    first = jobs[members[0]]
    starts = np.cumsum([0] + [len(jobs[i].x0) for i in members])
    places = {i: slice(a, b) for i, a, b in zip(members, starts, starts[1:], strict=False)}
    lanes, tables = _stack(members, jobs, np.diff(starts))
    data = first.objective.data or {}
    dtype = np.dtype(first.precision)
    shared = {name: _as(data[name], dtype) for name in first.objective.shared}
    x0 = np.concatenate([jobs[i].x0 for i in members]).astype(dtype).T
    program = replace(program, gathered=len(tables) > 1)
    known = [np.nan if (f := jobs[i].objective.facts.f_star) is None else f for i in members]
    f_star = np.repeat(np.array(known, float), np.diff(starts))
    block = _Pool(program, shared, lanes, x0, f_star, tables, first.marks, pool, devices, tails)
    return Chunk(members, places, block.run(), block.computed)


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
) -> tuple[descent.Lanes, list[Callable[..., Any]]]:
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
            tables.append(job.schedule.sizes or _ones)
        columns.append(places[key])
    lanes = descent.Lanes(
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


@dataclass
class _Pool:
    """The lanes of a chunk, from their starts to their records."""

    program: descent.Program
    shared: Mapping[str, np.ndarray]
    lanes: descent.Lanes
    x0: np.ndarray
    f_star: Float[np.ndarray, " n"]  # NaN where it is not known
    tables: Sequence[Callable[..., Any]]
    marks: Int[np.ndarray, " K"]
    workers: ThreadPoolExecutor
    devices: Sequence[Any]
    tails: bool
    computed: int = 0
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    state: Any = None

    def run(self) -> Records:
        n, rows = self.x0.shape[1], len(self.marks)
        self.n, self.block = n, width(self.program.dim)
        # All segments have the shapes of the longest, which most descents share: compiling costs
        # more than what is left empty.
        spans = [(b - a, int(self.marks[b] - self.marks[a])) for a, b in self._segments()]
        longest, steps = (max(lengths) for lengths in zip(*spans, strict=True))
        self.rows = _bucket(max(longest, TAIL), 128)
        few = int(np.clip(2**18 // len(self.tables), 256, 2**14))
        self.steps = _bucket(max(steps, TAIL) + 1, few) if self.program.schedule is None else 1
        self.length = np.full(n, rows)
        self.end = np.zeros(n, np.int64)
        self.going = np.ones(n, bool)
        alive = np.arange(n)
        for begin, stop in self._segments():
            self._segment(alive, begin, stop)
            alive = alive[self.going[alive]]
            if not len(alive):
                break
        end = _points(self.state.x).astype(float)
        return self._records(end, self._tail(np.flatnonzero(self.columns["going"])))

    def _tail(self, budget: np.ndarray) -> np.ndarray | None:
        """The iterates x_T ... x_{T+TAIL} of the lanes that used up their steps."""
        if not self.tails or not len(budget):
            return None
        T, tail = int(self.marks[-1]), np.full((self.n, TAIL + 1, self.program.dim), np.nan)
        stride = TAIL if self.program.keep_path else 1  # without paths, a step at a time
        for t in range(0, TAIL, stride):
            gaps = np.zeros(self.rows, np.int64)
            gaps[:stride] = 1
            sizes = self._sizes(T + t, T + t + stride)
            for i in range(0, len(budget), self.block):
                members = budget[i : i + self.block]
                device = self.devices[(i // self.block) % len(self.devices)]
                out = self._block(members, 1, gaps, sizes, stride, device)
                if self.program.keep_path:
                    tail[members, :TAIL] = np.moveaxis(out.rows["x"][:TAIL], -1, 0)
                else:
                    tail[members, t] = _points(self.state.x)[members]
                self._store(members, out.state)
        tail[budget, TAIL] = _points(self.state.x)[budget]
        return tail

    def _segments(self) -> Iterator[tuple[int, int]]:
        """Ranges of record points; lanes may leave between them."""
        gaps, begin, cap = np.diff(self.marks), 0, max(64, TABLE_NUMBERS // len(self.tables))
        if not len(gaps):
            yield 0, 0  # no step: the start alone is looked at
        while begin < len(gaps):
            t = self.marks[begin]
            until = t + min(max(t, FIRST_SEGMENT), cap)
            stop = max(int(np.searchsorted(self.marks, until, "right")) - 1, begin + 1)
            stop = min(stop, begin + 4096)
            yield begin, stop
            begin = stop

    def _segment(self, alive: np.ndarray, begin: int, stop: int) -> None:
        gaps = np.zeros(self.rows, np.int64)
        gaps[: stop - begin] = np.diff(self.marks[begin : stop + 1])
        sizes = self._sizes(int(self.marks[begin]), int(self.marks[stop]))
        blocks = [alive[i : i + self.block] for i in range(0, len(alive), self.block)]
        tasks = [
            self.workers.submit(self._block, members, begin, gaps, sizes, stop - begin, device)
            for members, device in zip(blocks, _cycle(self.devices), strict=False)
        ]
        for members, task in zip(blocks, tasks, strict=True):
            self._collect(members, begin, stop, task.result())

    def _block(
        self, members: np.ndarray, begin: int, gaps: Any, sizes: Any, rows: int, device: Any
    ) -> descent.Segment:
        m = len(members)
        index = np.concatenate([members, np.full(self.block - m, members[0])])
        lanes = jax.tree.map(lambda a: a[..., index], self.lanes)
        lanes.gtol2[m:] = np.inf
        with jax.default_device(device):
            if begin == 0:
                state = descent.start(self.program, lanes, self.x0[:, index])
            else:
                state = jax.tree.map(lambda a: a[..., index], self.state)
            out = descent.segment(self.program, self.shared, lanes, state, sizes, gaps, rows)
            return jax.tree.map(lambda a: np.asarray(a)[..., :m], out)

    def _collect(self, members: np.ndarray, begin: int, stop: int, out: descent.Segment) -> None:
        rows = stop - begin
        for name, seen in out.rows.items():
            if name not in self.columns:
                shape = (self.n, len(self.marks), *seen.shape[1:-1])
                self.columns[name] = np.full(shape, np.nan)
            self.columns[name][members, begin:stop] = np.moveaxis(seen[:rows], -1, 0)
        if self.state is None:
            self.state = jax.tree.map(
                lambda a: np.zeros((*a.shape[:-1], self.n), a.dtype), out.state
            )
        self._store(members, out.state)
        t = out.state.t
        self.computed += int(t.sum() - self.marks[begin] * len(members))
        self.going[members] = out.active & (t < self.marks[-1])
        done = ~self.going[members]
        who, row = members[done], np.searchsorted(self.marks[:-1], t[done], "left")
        self.length[who], self.end[who] = row + 1, t[done]
        for name, seen in out.last.items():
            self.columns[name][who, row] = np.moveaxis(seen, -1, 0)[done]
        self.columns.setdefault("going", np.zeros(self.n))[who] = out.active[done]

    def _store(self, members: np.ndarray, state: descent.State) -> None:
        for kept, new in zip(jax.tree.leaves(self.state), jax.tree.leaves(state), strict=True):
            kept[..., members] = new

    def _sizes(self, t0: int, t1: int) -> np.ndarray:
        """Step sizes of the steps t0 to t1, one column a table; padded."""
        t = np.arange(t0, t1 + 1)
        table = np.ones((self.steps, _bucket(len(self.tables), 1)), self.x0.dtype)
        if self.program.schedule is None:
            for column, sizes in enumerate(self.tables):
                table[: len(t), column] = sizes(t)
        return table

    def _records(self, end: np.ndarray, tail: np.ndarray | None) -> Records:
        columns, rows = self.columns, len(self.marks)
        going = columns.pop("going")
        path = columns.pop("x", None)
        step = np.broadcast_to(self.marks.astype(float), (self.n, rows)).copy()
        step[np.arange(self.n), self.length - 1] = self.end
        columns["step"] = step
        columns["angle"] = 2 * np.arctan(columns.pop("tan_half_angle"))
        columns["grad_evals"] = step.copy()
        for name in ("f_evals", "hvp_evals"):
            columns.setdefault(name, np.zeros((self.n, rows)))
        columns["gap"] = columns["loss"] - self.f_star[:, None]
        columns.setdefault("distance", np.full((self.n, rows), np.nan))
        final = (np.arange(self.n), self.length - 1)
        # What stopped with a large gradient stopped since |g|^2, or f, overflowed; with gtol = 0,
        # what stopped with a small one stopped since |g|^2 underflowed, which is convergence.
        gtol = 1.001 * np.sqrt(np.asarray(self.lanes.gtol2, float))
        small = columns["grad_norm"][final] <= np.maximum(gtol, 1.0)
        small &= np.isfinite(columns["loss"][final])
        status = np.where(going > 0, "budget", np.where(small, "converged", "diverged"))
        return Records(columns, self.length, end, status, path, tail=tail)


def _ones(t: np.ndarray) -> np.ndarray:
    """Sizes of a closed-loop schedule, which has none of its own."""
    return np.ones(len(t))


def _points(x: Any) -> np.ndarray:
    """Points of all lanes `[n, d]`, a copy."""
    return np.stack(x, axis=-1) if isinstance(x, tuple) else np.array(x.T)


def _devices() -> list[Any]:
    """Where blocks go in turn, a worker each: all accelerators, or one CPU device once a core.

    XLA computes what several threads ask of one CPU device side by side, and compiles for it once.
    """
    devices = jax.local_devices()
    return devices if devices[0].platform != "cpu" else devices[:1] * len(os.sched_getaffinity(0))


def _cycle(devices: Sequence[Any]) -> Iterator[Any]:
    while True:
        yield from devices


def _as(value: Any, dtype: np.dtype) -> np.ndarray:
    """Floats in the descent's precision; integers stay integers."""
    array = np.asarray(value)
    return array.astype(dtype) if array.dtype.kind == "f" or array.ndim == 0 else array


def _bucket(count: int, least: int) -> int:
    """The next power of two: few shapes, so few programs."""
    return max(least, 1 << (count - 1).bit_length())


def _identity(sizes: Callable[..., Any] | None) -> Hashable:
    if isinstance(sizes, partial):
        return (sizes.func, sizes.args, tuple(sorted(sizes.keywords.items())))
    return sizes


def _digest(array: Any, seen: dict[int, str]) -> str:
    if id(array) not in seen:
        seen[id(array)] = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return seen[id(array)]
