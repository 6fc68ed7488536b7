"""Jobs in chunks: what is in memory at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gdlab.errors import UsageError
from gdlab.runner import plan as limits
from gdlab.runner.plan import Group, Job
from gdlab.types import Records

# Of the records of a chunk; the block in flight comes on top.
CHUNK_BYTES = 192 * 2**20


@dataclass(frozen=True, eq=False)
class Chunk:
    """Results of some jobs: `records[i]` belongs to lane i, `lanes[j]` to job j."""

    jobs: tuple[int, ...]
    lanes: Mapping[int, slice]
    records: Records


@dataclass(frozen=True)
class Lost:
    """Jobs that could not be carried out, and why."""

    jobs: tuple[int, ...]
    error: Exception


def chunks(group: Group, jobs: Sequence[Job]) -> Iterator[tuple[int, ...]]:
    """A group's jobs, in parts that fit.

    Raises:
        UsageError: the record of a single job would not fit in memory.
    """
    members: list[int] = []
    size = 0
    for i in group.jobs:
        cost = room(jobs[i], group.program.keep_path)
        if members and size + cost > CHUNK_BYTES:
            yield tuple(members)
            members, size = [], 0
        members.append(i)
        size += cost
    yield tuple(members)


def room(job: Job, keep_path: bool) -> int:
    """Bytes that a job's records take.

    Raises:
        UsageError: they would not fit in memory.
    """
    row = limits.LEAST_ROW + 8 * (len(job.probes) + (job.objective.dim if keep_path else 0))
    cost = len(job.x0) * (len(job.marks) * row + 8 * 4 * job.objective.dim)
    if cost > limits.MOST_BYTES:
        raise UsageError(
            f"init.samples={len(job.x0)} with {len(job.marks)} recorded steps would take "
            f"{cost / 2**30:.0f} GB; use record=ends or a smaller record.points"
        )
    return cost


def places(members: Sequence[int], jobs: Sequence[Job]) -> list[slice]:
    """The lanes of each job in its chunk."""
    starts = np.cumsum([0] + [len(jobs[i].x0) for i in members])
    return [slice(a, b) for a, b in itertools.pairwise(starts)]
