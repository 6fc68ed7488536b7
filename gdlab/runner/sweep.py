"""A sweep carried out: its groups in chunks, each chunk's lanes as one pool, compiled ahead."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np

from gdlab import numerics
from gdlab.errors import UsageError
from gdlab.probes import check_probes
from gdlab.runner import plan as limits
from gdlab.runner import tracing
from gdlab.runner.plan import Group, Job, as_floats, plan, record_marks, stack
from gdlab.runner.pool import Pool
from gdlab.runner.program import Program
from gdlab.types import Method, Objective, Records, Schedule

__all__ = ["Chunk", "Group", "Job", "Lost", "descents", "plan", "record_marks", "run"]

# A chunk of jobs is what is in memory at once: its records, and the block in flight.
CHUNK_BYTES = 192 * 2**20
HOPELESS = 8  # jobs that raise, each alone, before the rest of their chunk is given up


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


@numerics.computing()
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
    if not 0 <= steps <= limits.MOST_STEPS or not 0 <= gtol <= limits.MOST_GTOL:
        raise UsageError(
            f"steps={steps}, gtol={gtol}: take 0 to {limits.MOST_STEPS:.2g} "
            f"and 0 to {limits.MOST_GTOL:g}"
        )
    if int(steps) != steps:
        raise UsageError(f"steps={steps}: takes an integer")
    if precision not in ("float64", "float32"):
        raise UsageError(f"precision={precision}: takes float64 or float32")
    check_probes("probes", probes)
    from gdlab import methods, schedules

    job = Job(
        objective=tracing.checked(objective, objective.name),
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
    # Their threads compute as gdlab does for as long as they live.
    threads = partial(ThreadPoolExecutor, len(devices), initializer=numerics.enter)
    with threads() as workers, threads() as compilers:

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


@numerics.computing()
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
        row = limits.LEAST_ROW + 8 * (
            len(job.probes) + (job.objective.dim if group.program.keep_path else 0)
        )
        cost = len(job.x0) * (len(job.marks) * row + 8 * 4 * job.objective.dim)
        if cost > limits.MOST_BYTES:
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


@numerics.computing()
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
    lanes, tables = stack(members, jobs, counts)
    data = first.objective.data or {}
    dtype = np.dtype(first.precision)
    known = [np.nan if (f := jobs[i].objective.facts.f_star) is None else f for i in members]
    pool = Pool(
        program=replace(program, gathered=len(tables) > 1),
        shared={name: as_floats(data[name], dtype) for name in first.objective.shared},
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


@numerics.computing()
def _devices() -> list[Any]:
    """Where blocks go in turn, a worker each: all accelerators, or one CPU device once a core.

    XLA computes what several threads ask of one CPU device side by side, and compiles for it once.
    """
    devices = jax.local_devices()
    return devices if devices[0].platform != "cpu" else devices[:1] * numerics.cores()
