"""Which structures go together in one program: small ones, that keep their bits in company.

A comparison of many rules on many problems has few lanes of each structure, and would wait for the
compiler: its structures are gathered in ensembles (`runner.ensemble`). Whether a group goes this
way or has a program of its own changes no bit (`runner.sameness`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import jax

from gdlab import numerics
from gdlab.errors import UsageError, blamed
from gdlab.runner import sameness
from gdlab.runner.plan import LEAST_ROW, Group, Job
from gdlab.runner.program import APART
from gdlab.runner.sameness import Code

# What a group may have to compute: from there on a program of its own is quicker.
MOST_LANE_STEPS = 2**20
# What an ensemble may hold: objectives, lanes, and bytes of records.
MOST_OBJECTIVES, MOST_LANES, MOST_BYTES = 16, 4096, 2**27
# CPU seconds that a step of an ensemble takes for each part and for each lane; and what a program
# costs that is compiled for a group: 0.2 where it is known already, else up to 1.3.
A_PART, A_LANE, A_PROGRAM = 5e-6, 1e-7, 0.4


@numerics.computing()
def ensembles(groups: Sequence[Group], jobs: Sequence[Job]) -> list[tuple[Group, ...]]:
    """The groups, each alone or with others; in order of first appearance."""
    if len(groups) < 2 or numerics.numerics() != "exact" or jax.default_backend() != "cpu":
        return [(group,) for group in groups]
    company: dict[Hashable, list[Group]] = {}
    for group in groups:
        first = jobs[group.jobs[0]]
        if lanes_of(group, jobs) * first.steps <= MOST_LANE_STEPS and keeps_bits(group, first):
            company.setdefault(group.grid, []).append(group)
    gathered = [
        part for these in company.values() for part in _filled(these, jobs) if _pays(part, jobs)
    ]
    of = {id(group): part for part in gathered for group in part}
    once = {id(part): part for group in groups if (part := of.get(id(group), (group,)))}
    return list(once.values())


def lanes_of(group: Group, jobs: Sequence[Job]) -> int:
    """How many lanes its jobs have."""
    return sum(len(jobs[i].x0) for i in group.jobs)


def keeps_bits(group: Group, job: Job) -> bool:
    """Whether this structure gives the same bits in any program; `job` is one of its jobs."""
    if job.objective.dim > APART:  # |g|^2 itself is a sum of many terms
        return False
    rules = parts(group, job)
    at_f = any(code.looks for code in rules) or bool(job.probes)
    codes = [_objective(group, job, False), *rules]
    if at_f:
        codes.append(_objective(group, job, True))
    codes += [sameness.of_probe(name, job.objective.dim, job.precision) for name in job.probes]
    return all(code.keeps for code in codes)


def parts(group: Group, job: Job) -> list[Code]:
    """The code of the method and, in closed loop, of the schedule."""
    dim, dtype = job.objective.dim, job.precision
    rules: list[tuple[Any, Any]] = [(job.method.transform, job.method.params)]
    if job.schedule.transform is not None:
        rules.append((job.schedule.transform, job.schedule.params))
    return [
        sameness.of_rule(factory, sameness.arrays_of(params, dtype), dim, dtype)
        for factory, params in rules
    ]


@numerics.computing()
def suspects(group: Group, job: Job) -> dict[Hashable, UsageError]:
    """What raises where it is traced by itself: the place and the name of a part -> one line."""
    found: dict[Hashable, UsageError] = {}
    named = [(0, f"objective={job.objective.name}", _objective(group, job, False))]
    rules = (f"method={job.method.name}", f"schedule={job.schedule.name}")
    named += [(k, name, code) for k, (name, code) in enumerate(zip(rules, parts(group, job)), 1)]
    for kind, name, code in named:
        if code.error is not None:
            try:
                with blamed(name):
                    raise code.error
            except UsageError as error:
                found[kind, group.parts[kind]] = error
    return found


def _objective(group: Group, job: Job, twice: bool) -> Code:
    data, dtype = job.objective.data, job.precision
    arrays = None if data is None else sameness.arrays_of(data, dtype)
    return sameness.of_objective(group.program.f, arrays, job.objective.dim, dtype, twice)


def _filled(groups: Sequence[Group], jobs: Sequence[Job]) -> Iterator[tuple[Group, ...]]:
    """Ensembles of as many objectives, lanes and records as one may hold."""
    by_objective: dict[Hashable, list[Group]] = {}
    for group in groups:
        by_objective.setdefault(group.parts[0], []).append(group)
    held: list[Group] = []
    lanes = 0
    most = min(MOST_LANES, MOST_BYTES // (LEAST_ROW * len(jobs[groups[0].jobs[0]].marks)))
    for same in by_objective.values():
        for group in same:
            more = lanes_of(group, jobs)
            objectives = {one.parts[0] for one in (*held, group)}
            if held and (lanes + more > most or len(objectives) > MOST_OBJECTIVES):
                yield tuple(held)
                held, lanes = [], 0
            held.append(group)
            lanes += more
    yield tuple(held)


def _pays(groups: Sequence[Group], jobs: Sequence[Job]) -> bool:
    """Whether one program of all costs less than one of each."""
    count = sum(len({group.parts[kind] for group in groups}) for kind in range(3))
    lanes = sum(lanes_of(group, jobs) for group in groups)
    steps = jobs[groups[0].jobs[0]].steps
    return len(groups) > 1 and steps * (A_PART * count + A_LANE * lanes) < A_PROGRAM * len(groups)
