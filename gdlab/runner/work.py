"""What a sweep carries out at once: jobs of a group, or several groups that go together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gdlab import numerics
from gdlab.errors import UsageError
from gdlab.runner import plan as limits
from gdlab.runner.company import company
from gdlab.runner.plan import Group, Job, as_floats, stack
from gdlab.runner.pool import Pool
from gdlab.types import Records

# A chunk of jobs is what is in memory at once: its records, and the block in flight.
CHUNK_BYTES = 192 * 2**20


@dataclass(frozen=True, eq=False)
class Chunk:
    """Results of some jobs of an objective: `records[i]` belongs to lane i, `lanes[j]` to job j."""

    jobs: tuple[int, ...]
    lanes: Mapping[int, slice]
    records: Records
    steps_computed: int


@dataclass(frozen=True)
class Work:
    """What one pool carries out."""

    groups: tuple[Group, ...]
    members: tuple[int, ...]

    @property
    def alone(self) -> bool:
        """Whether these are jobs of one structure."""
        return len(self.groups) == 1


@dataclass(frozen=True)
class Hands:
    """Who carries work out: the threads, if any, and the devices that blocks go to."""

    workers: Executor
    devices: Sequence[Any]
    tails: bool = False


def works(groups: tuple[Group, ...], jobs: Sequence[Job]) -> Iterator[Work]:
    """One for groups that go together; those of a group in chunks.

    Raises:
        UsageError: the record of a single job would not fit in memory.
    """
    if len(groups) == 1:
        yield from (Work(groups, members) for members in _chunks(groups[0], jobs))
    else:
        yield Work(groups, tuple(i for group in groups for i in group.jobs))


@numerics.computing()
def pool_of(work: Work, jobs: Sequence[Job], hands: Hands, compiled: bool = False) -> Pool:
    """The lanes of some work before their first step, and the program compiled where asked for."""
    if work.alone:
        pool = _pool(work, jobs, hands)
    else:
        pool = company(work.groups, jobs, hands.workers, hands.devices, hands.tails)
    if compiled:
        pool.compile()
    return pool


@numerics.computing()
def carried_out(pool: Pool, work: Work, jobs: Sequence[Job]) -> list[Chunk]:
    """What a pool computes: a chunk for each objective, whose end points are judged together."""
    records = pool.run()
    chunks, begin = [], 0
    for _, groups in itertools.groupby(work.groups, lambda group: group.parts[0]):
        members = work.members if work.alone else tuple(i for g in groups for i in g.jobs)
        lanes = places(members, jobs)
        end = begin + lanes[-1].stop
        part = records if work.alone else records.part(slice(begin, end))
        steps = pool.computed if work.alone else int(part.steps.sum())
        chunks.append(Chunk(members, dict(zip(members, lanes, strict=True)), part, steps))
        begin = end
    return chunks


def places(members: Sequence[int], jobs: Sequence[Job]) -> list[slice]:
    """The lanes of each job among those of all."""
    starts = np.cumsum([0] + [len(jobs[i].x0) for i in members])
    return [slice(a, b) for a, b in itertools.pairwise(starts)]


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


def _pool(work: Work, jobs: Sequence[Job], hands: Hands) -> Pool:
    """The lanes of jobs of one structure."""
    members = work.members
    first = jobs[members[0]]
    counts = np.array([len(jobs[i].x0) for i in members])
    lanes, tables = stack(members, jobs, counts)
    data = first.objective.data or {}
    dtype = np.dtype(first.precision)
    known = [np.nan if (f := jobs[i].objective.facts.f_star) is None else f for i in members]
    return Pool(
        program=replace(work.groups[0].program, gathered=len(tables) > 1),
        shared={name: as_floats(data[name], dtype) for name in first.objective.shared},
        lanes=lanes,
        x0=np.concatenate([jobs[i].x0 for i in members]).astype(dtype).T,
        f_star=np.repeat(np.array(known, float), counts),
        tables=tables,
        marks=first.marks,
        workers=hands.workers,
        devices=hands.devices,
        tails=hands.tails,
    )
