"""Lanes of several structures side by side, from their starts to their records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from gdlab import probes
from gdlab.runner import ensemble_loop, loops, sameness
from gdlab.runner import program as step
from gdlab.runner.ensemble import Ensemble, Lanes, Parts
from gdlab.runner.evaluation import Numbers
from gdlab.runner.plan import Group, Job, as_floats, identity, stack
from gdlab.runner.pool import TABLE_NUMBERS, Pool, points
from gdlab.runner.program import State
from gdlab.runner.sorting import Sorting

MOST_NUMBERS = 2**24  # in the table of a segment
HEIGHT = 12  # of a row, but for further probes and paths


@dataclass
class Company(Pool):
    """As `Pool`, of an ensemble: all lanes go to the program at once, and stay in it.

    Attributes:
        code, numbers: what is compiled, and its lanes.
        lane_of, place_of: the lane at each of the ensemble's places, and the place of each lane.
        whole: the state of all places.
    """

    code: Any = None
    numbers: Any = None
    lane_of: Any = None
    place_of: Any = None
    whole: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.block = self.n

    def _segments(self) -> Iterator[tuple[int, int]]:
        """Ranges of record points, as many as a table holds: lanes stay to the end."""
        last, begin = len(self.marks) - 1, 0
        height = HEIGHT + len(self.program.probes) + self.program.dim
        many = int(np.clip(MOST_NUMBERS // (height * len(self.lane_of)), 1, 4096))
        most = max(64, TABLE_NUMBERS // len(self.tables))
        if not last:
            yield 0, 0  # no step: the start alone is looked at
        while begin < last:
            until = int(np.searchsorted(self.marks, self.marks[begin] + most, "right")) - 1
            stop = min(max(until, begin + 1), begin + many, last)
            yield begin, stop
            begin = stop

    def _block(
        self, members: np.ndarray, begin: int, marks: Any, sizes: Any, rows: int, device: Any
    ) -> tuple[loops.Segment, dict[str, np.ndarray]]:
        with jax.default_device(device):
            if begin == 0:
                x0 = self.x0[:, self.lane_of]
                self.whole = ensemble_loop.start(self.code, self.numbers, x0)
            out = ensemble_loop.segment(self.code, self.numbers, self.whole, sizes, marks, rows)
            self.whole = out.state
        at = self.place_of[members]
        state = State(out.state.x, (), out.state.t)
        state, seen, active = jax.tree.map(
            lambda a: np.asarray(a)[..., at], (state, out.seen(rows), out.active)
        )
        columns = {n: np.moveaxis(c, -1, 0) for n, c in probes.columns(seen).items()}
        return loops.Segment(state, (), active), columns

    def _stepper(self, members: np.ndarray, device: Any) -> Callable[[np.ndarray], np.ndarray]:
        marks = self._marks(range(2))

        def step(sizes: np.ndarray) -> np.ndarray:
            return points(self._block(members, 1, marks, sizes, 1, device)[0].state.x)

        return step


def company(
    groups: Sequence[Group],
    jobs: Sequence[Job],
    workers: Executor,
    devices: Sequence[Any],
    tails: bool,
) -> Company:
    """The lanes of several groups before their first step, group after group."""
    members = [jobs[i] for group in groups for i in group.jobs]
    counts = [len(job.x0) for job in members]
    program, dtype = groups[0].program, np.dtype(members[0].precision)
    made = _Made(groups, jobs)
    known = [np.nan if (f := job.objective.facts.f_star) is None else f for job in members]
    return Company(
        program=replace(program, schedule=None),
        shared={},
        lanes=made.stacks[0],
        x0=np.concatenate([job.x0 for job in members]).astype(dtype).T,
        f_star=np.repeat(np.array(known, float), counts),
        tables=made.tables,
        marks=members[0].marks,
        workers=workers,
        devices=devices,
        tails=tails,
        looks=np.repeat([job.schedule.transform is not None for job in members], counts),
        code=made.code(),
        numbers=made.lanes(),
        lane_of=made.lane_of,
        place_of=made.place_of,
    )


class _Made:
    """An ensemble of groups: its code and its lanes, which lie as they are sorted by schedule."""

    def __init__(self, groups: Sequence[Group], jobs: Sequence[Job]) -> None:
        self.groups = groups
        self.firsts = [jobs[group.jobs[0]] for group in groups]
        counts = [np.array([len(jobs[i].x0) for i in group.jobs]) for group in groups]
        self.lengths = [int(count.sum()) for count in counts]
        both = [stack(g.jobs, jobs, count) for g, count in zip(groups, counts, strict=True)]
        self.stacks = [lanes for lanes, _ in both]
        self.tables, self.columns = _one_table(both)
        self.by_objective, self.by_method, self.by_schedule = (
            Sorting([group.parts[kind] for group in groups], self.lengths) for kind in range(3)
        )
        self.lane_of, self.place_of = self.by_schedule.lanes(), self.by_schedule.back()
        self.program, self.dtype = groups[0].program, np.dtype(self.firsts[0].precision)

    def code(self) -> Ensemble:
        """What is compiled."""
        programs = [group.program for group in self.groups]
        own = self.program
        return Ensemble(
            tuple((programs[i].f, programs[i].has_data) for i in self.by_objective.firsts),
            tuple(programs[i].method for i in self.by_method.firsts),
            tuple(programs[i].schedule for i in self.by_schedule.firsts),
            own.dim,
            own.probes,
            own.keep_path,
        )

    def lanes(self) -> Lanes:
        """Its numbers."""
        code = self.code()
        objectives = [self.firsts[i].objective for i in self.by_objective.firsts]
        shared = [
            {name: as_floats((o.data or {})[name], self.dtype) for name in o.shared}
            for o in objectives
        ]
        own = self.by_objective.numbers([lanes.data for lanes in self.stacks])
        return Lanes(
            numbers=Numbers(tuple(own), tuple(shared)),
            by_objective=self.by_objective.order(self.lane_of, self.place_of),
            methods=self._parts(self.by_method, "method", code.methods),
            schedules=self._parts(self.by_schedule, "schedule", code.schedules),
            scale=self._beside([lanes.scale for lanes in self.stacks]),
            column=self._beside(self.columns),
            gtol=self._gtol(),
            minimizers=self._minimizers(),
            view=self.by_objective.view(self.lane_of) if code.probes else None,
        )

    def _beside(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """What each place has, of what the groups' lanes have."""
        return np.concatenate(values, axis=-1)[..., self.lane_of]

    def _gtol(self) -> np.ndarray:
        """As asked for; infinite where a place has no lane of its own."""
        gtol = self._beside([lanes.gtol for lanes in self.stacks])
        free = np.ones(len(gtol), bool)
        free[self.place_of] = False
        gtol[free] = np.inf
        return gtol

    def _minimizers(self) -> np.ndarray | None:
        """Those of all lanes; a lane that has fewer has its first several times, or none."""
        known = [lanes.minimizers for lanes in self.stacks]
        most = max((len(m) for m in known if m is not None), default=0)
        if not most:
            return None
        parts = [
            np.full((most, self.program.dim, n), np.nan, self.dtype)
            if m is None
            else np.concatenate([m, np.repeat(m[:1], most - len(m), axis=0)])
            for m, n in zip(known, self.lengths, strict=True)
        ]
        return self._beside(parts)

    def _parts(self, kind: Sorting, name: str, factories: Sequence[Any]) -> Parts:
        params = kind.numbers([getattr(lanes, name) for lanes in self.stacks])
        views = tuple(
            self.by_objective.view(lanes) if self._looks(factory, own) else None
            for factory, own, lanes in zip(factories, params, kind.places, strict=True)
        )
        return Parts(tuple(params), kind.order(self.lane_of, self.place_of), views)

    def _looks(self, factory: Any, own: Mapping[str, np.ndarray]) -> bool:
        """Whether a part looks at f."""
        if factory is None:
            return False
        dtype = self.dtype.name
        params = sameness.arrays_of({k: a[..., 0] for k, a in own.items()}, dtype)
        return sameness.of_rule(factory, params, self.program.dim, dtype).looks


def _one_table(
    both: Sequence[tuple[step.Lanes, Sequence[Callable[..., Any]]]],
) -> tuple[list[Callable[..., Any]], list[Int[np.ndarray, " n"]]]:
    """The step-size tables of all groups, each once, and the one that each lane follows."""
    places: dict[Any, int] = {identity(np.ones_like): 0}  # closed loop: nobody reads it
    found: list[Callable[..., Any]] = [_ones]
    columns = []
    for lanes, tables in both:
        for sizes in tables:
            if identity(sizes) not in places:
                places[identity(sizes)] = len(found)
                found.append(sizes)
        at = np.array([places[identity(sizes)] for sizes in tables], np.int32)
        columns.append(at[lanes.column])
    return found, columns


def _ones(t: Int[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
    return np.ones(t.shape)
