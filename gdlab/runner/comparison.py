"""Many structures, few lanes and steps of each: which go together, and what comes of them.

A structure's own program costs a compilation, an ensemble a few calls a step. Both give the same
bits, so that the cheaper way is taken.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import jax
import numpy as np

from gdlab.runner import chunks
from gdlab.runner.chunks import CHUNK_BYTES, Chunk
from gdlab.runner.ensemble import Ensemble, Member
from gdlab.runner.plan import Group, Job, as_floats, digest, stack
from gdlab.runner.pool import width
from gdlab.runner.progress import Progress

# Seconds, measured on one core of an AMD EPYC: a program of its own (0.25 where it is kept on disk,
# 0.9 where it is not), a piece of a step, and a call of one.
PROGRAM, PIECE, CALL = 0.5, 0.1, 40e-6


def ensembles(
    groups: Sequence[Group], jobs: Sequence[Job]
) -> tuple[list[list[Group]], list[Group]]:
    """The groups that go together, and those that are better carried out each by itself."""
    if jax.default_backend() != "cpu":
        return [], list(groups)  # a call of a piece would cost many times as much
    alike: dict[Hashable, list[Group]] = {}
    seen: dict[int, str] = {}
    for group in groups:
        job = jobs[group.jobs[0]]
        key = (job.objective.dim, job.precision, job.probes, digest(job.marks, seen))
        alike.setdefault(key, []).append(group)
    together, apart = [], set(map(id, groups))
    for candidates in alike.values():
        few = [group for group in candidates if _calls(group, jobs) * CALL < PROGRAM]
        if _cost(few, jobs) < PROGRAM * len(few):
            together += _cut(few, jobs)
            apart -= set(map(id, few))
    return together, [group for group in groups if id(group) in apart]


def _calls(group: Group, jobs: Sequence[Job]) -> float:
    """Calls of full blocks in a whole descent."""
    job = jobs[group.jobs[0]]
    lanes = sum(len(jobs[i].x0) for i in group.jobs)
    return 3 * lanes / width(job.objective.dim) * int(job.marks[-1])


def _cost(groups: Sequence[Group], jobs: Sequence[Job]) -> float:
    """Seconds of an ensemble: each piece once, and its calls."""
    if not groups:
        return 0.0
    pieces: set[Hashable] = set()
    for program in (group.program for group in groups):
        # Schedules that look at f are compiled with it.
        looks = program.f if program.schedule else None
        pieces |= {program.f, program.method, (program.schedule, looks)}
    steps = int(jobs[groups[0].jobs[0]].marks[-1])
    calls = sum(_calls(group, jobs) for group in groups) + steps * len(pieces)
    return (
        len(pieces) * PIECE + (calls + len(pieces) * int(jobs[groups[0].jobs[0]].marks[-1])) * CALL
    )


def _cut(groups: Sequence[Group], jobs: Sequence[Job]) -> list[list[Group]]:
    """Groups of one objective next to each other, in parts that fit in memory."""
    first: dict[Hashable, int] = {}
    ordered = sorted(groups, key=lambda g: first.setdefault(g.program.f, len(first)))
    parts: list[list[Group]] = [[]]
    size = 0
    for group in ordered:
        cost = sum(chunks.room(jobs[i], group.program.keep_path) for i in group.jobs)
        if parts[-1] and size + cost > CHUNK_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(group)
        size += cost
    return parts


def ensemble(groups: Sequence[Group], jobs: Sequence[Job], tails: bool) -> Ensemble:
    """The lanes of these groups before their first step."""
    members: list[Member] = []
    seen: dict[int, str] = {}
    for group in groups:
        counts = np.array([len(jobs[i].x0) for i in group.jobs])
        lanes, tables = stack(group.jobs, jobs, counts)
        o = jobs[group.jobs[0]].objective
        data, kind = o.data or {}, np.dtype(jobs[group.jobs[0]].precision)
        shared = {name: as_floats(data[name], kind) for name in o.shared}
        objective = (o.f, tuple((name, digest(data[name], seen)) for name in o.shared))
        members.append(Member(group.program, objective, shared, lanes, tables))
    every = [jobs[i] for group in groups for i in group.jobs]
    x0 = np.concatenate([job.x0 for job in every]).astype(every[0].precision).T
    f_star = [np.nan if (f := job.objective.facts.f_star) is None else f for job in every]
    known = np.repeat(np.array(f_star, float), [len(job.x0) for job in every])
    return Ensemble(members, Progress(x0, every[0].marks, known), tails)


def results(made: Ensemble, groups: Sequence[Group], jobs: Sequence[Job]) -> Iterator[Chunk]:
    """Carries the ensemble out; a chunk for each objective."""
    records = made.run()
    kept = [i for i in range(len(groups)) if i not in made.failed]
    of: dict[Hashable, list[int]] = {}
    for i in kept:
        of.setdefault(groups[i].program.f, []).append(i)
    for who in of.values():
        members = tuple(j for i in who for j in groups[i].jobs)
        lanes = np.concatenate([made.places[i] for i in who])
        at = dict(zip(members, chunks.places(members, jobs), strict=True))
        yield Chunk(members, at, records.part(lanes))
