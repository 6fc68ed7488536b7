"""A sweep carried out: its groups in chunks, each chunk's lanes as one pool, compiled ahead."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
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
from gdlab.runner.company import company
from gdlab.runner.comparison import ensembles, suspects
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
    works = [work for part in ensembles(groups, jobs) for work in _works(part, jobs)]
    devices = _devices()
    compiling: set[Any] = set()
    lost = _Blame(jobs)
    # Their threads compute as gdlab does for as long as they live.
    threads = partial(ThreadPoolExecutor, len(devices), initializer=numerics.enter)
    with threads() as workers, threads() as compilers:
        pool_of = partial(_pool_of, jobs=jobs, workers=workers, devices=devices, tails=tails)

        def prepare(work: _Work) -> Future[Pool]:
            new = len(work.groups) > 1 or work.groups[0].program not in compiling
            compiling.add(work.groups[0].program)
            return compilers.submit(pool_of, work, compiled=new)

        coming: deque[Future[Pool]] = deque()
        try:
            for i, work in enumerate(works):
                while len(coming) <= len(devices) and i + len(coming) < len(works):
                    coming.append(prepare(works[i + len(coming)]))
                first = coming.popleft()
                if isolate and (error := lost.known(work)):
                    yield Lost(work.members, error)
                    continue
                try:
                    done = list(_chunks_of(first.result(), work, jobs))
                except Exception as error:
                    if not isolate and len(work.groups) == 1:
                        raise
                    yield from _alone(work, jobs, pool_of, lost, error, isolate)
                else:
                    yield from done
        finally:
            compilers.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Work:
    """What one pool carries out: jobs of a group, or of several that go together."""

    groups: tuple[Group, ...]
    members: tuple[int, ...]


def _works(groups: tuple[Group, ...], jobs: Sequence[Job]) -> Iterator[_Work]:
    if len(groups) == 1:
        yield from (_Work(groups, members) for members in _chunks(groups[0], jobs))
    else:
        yield _Work(groups, tuple(i for group in groups for i in group.jobs))


class _Blame:
    """Parts of which a job has failed already: the other jobs that have them fail alike, unseen."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.errors: dict[Hashable, UsageError] = {}

    def known(self, work: _Work) -> UsageError | None:
        """The error of a part that all the work's jobs have."""
        (first, *others) = work.groups
        found = (self.errors.get((kind, part)) for kind, part in enumerate(first.parts))
        return None if others else next((error for error in found if error), None)

    def found(self, work: _Work) -> UsageError | None:
        """Whose fault it is that the work failed, if it is that of a part alone."""
        (group, *_) = work.groups
        self.errors |= suspects(group, self.jobs[group.jobs[0]])
        return self.known(work)


def _alone(
    work: _Work,
    jobs: Sequence[Job],
    pool_of: Callable[..., Pool],
    lost: _Blame,
    error: Exception,
    isolate: bool,
) -> Iterator[Chunk | Lost]:
    """The chunks of what failed together: each group by itself, or each job."""
    if len(work.groups) > 1:
        for group in work.groups:
            for one in _works((group,), jobs):
                try:
                    done = list(_chunks_of(pool_of(one), one, jobs))
                except Exception as trouble:
                    if not isolate:
                        raise
                    yield from _alone(one, jobs, pool_of, lost, trouble, isolate)
                else:
                    yield from done
    elif blamed := lost.found(work):
        yield Lost(work.members, blamed)
    else:
        again = partial(_part_of, work, pool_of)
        yield from _apart(work.members, jobs, again, error)


def _part_of(work: _Work, pool_of: Callable[..., Pool], members: tuple[int, ...]) -> Pool:
    return pool_of(_Work(work.groups, members))


@numerics.computing()
def _chunks_of(pool: Pool, work: _Work, jobs: Sequence[Job]) -> list[Chunk]:
    """What a pool computes: a chunk for each objective, whose end points are judged together."""
    if len(work.groups) == 1:
        return [_chunk(pool, work.members, jobs)]
    records = pool.run()
    chunks, begin = [], 0
    for _, groups in itertools.groupby(work.groups, lambda group: group.parts[0]):
        members = tuple(i for group in groups for i in group.jobs)
        places = _places(members, jobs)
        part = records.part(slice(begin, begin + places[-1].stop))
        begin += places[-1].stop
        lanes = dict(zip(members, places, strict=True))
        chunks.append(Chunk(members, lanes, part, int(part.steps.sum())))
    return chunks


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


def _pool_of(
    work: _Work,
    *,
    jobs: Sequence[Job],
    workers: ThreadPoolExecutor,
    devices: Sequence[Any],
    tails: bool,
    compiled: bool = False,
) -> Pool:
    """The lanes of some work before their first step, and the program compiled where asked for."""
    if len(work.groups) == 1:
        program = work.groups[0].program
        return _pool(program, work.members, jobs, workers, devices, tails, compiled)
    pool = company(work.groups, jobs, workers, devices, tails)
    if compiled:
        pool.compile()
    return pool


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
