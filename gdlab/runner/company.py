"""Lanes of several structures side by side, from their starts to their records."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from gdlab import probes
from gdlab.runner import ensemble, loops, sameness
from gdlab.runner.ensemble import Ensemble, Lanes, Parts, View
from gdlab.runner.evaluation import Numbers, Order
from gdlab.runner.plan import Group, Job, as_floats, identity, stack
from gdlab.runner.pool import Pool
from gdlab.runner.program import State

# Numbers in the table of a segment.
MOST_NUMBERS = 2**24


@dataclass
class Company(Pool):
    """As `Pool`, of an ensemble: all lanes go to the program at once, and stay in it.

    Attributes:
        code, numbers: what is compiled, and its lanes.
        places: where the ensemble has each lane.
        lane_of: which lane lies at each of the ensemble's places.
    """

    code: Any = None
    numbers: Any = None
    places: Any = None
    lane_of: Any = None
    whole: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.block = self.n

    def _segments(self) -> Iterator[tuple[int, int]]:
        """Ranges of record points: as many as a table holds."""
        last = len(self.marks) - 1
        height = 12 + len(self.program.probes) + self.program.dim
        many = int(np.clip(MOST_NUMBERS // (height * len(self.lane_of)), 1, 4096))
        most, begin = max(64, 2**22 // len(self.tables)), 0
        yield from () if last else [(0, 0)]
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
                self.whole = ensemble.start(self.code, self.numbers, x0)
            out = ensemble.segment(self.code, self.numbers, self.whole, sizes, marks, rows)
            self.whole = out.state
        at = self.places[members]
        state = State(out.state.x, (), out.state.t)
        state, seen, active = jax.tree.map(
            lambda a: np.asarray(a)[..., at], (state, out.seen(rows), out.active)
        )
        columns = {n: np.moveaxis(c, -1, 0) for n, c in probes.columns(seen).items()}
        return loops.Segment(state, (), active), columns


def company(
    groups: Sequence[Group],
    jobs: Sequence[Job],
    workers: ThreadPoolExecutor,
    devices: Sequence[Any],
    tails: bool,
) -> Company:
    """The lanes of several groups, before their first step."""
    first = jobs[groups[0].jobs[0]]
    dtype = np.dtype(first.precision)
    stacks, lengths = [], []
    for group in groups:
        counts = np.array([len(jobs[i].x0) for i in group.jobs])
        stacks.append(stack(group.jobs, jobs, counts))
        lengths.append(int(counts.sum()))
    by_objective, by_method, by_schedule = (
        _Sorting([group.parts[kind] for group in groups], lengths) for kind in range(3)
    )
    # The lanes lie as they are sorted by schedule.
    lane_of = by_schedule.lanes()
    places = by_schedule.back()
    tables, columns = _tables([t for _, t in stacks], [s.column for s, _ in stacks])
    side = lambda name: np.concatenate([getattr(s, name) for s, _ in stacks])[lane_of]
    gtol = side("gtol")
    padding = np.ones(len(lane_of), bool)
    padding[places] = False
    gtol[padding] = np.inf
    one = [groups[i] for i in by_objective.firsts]
    objectives = [jobs[g.jobs[0]].objective for g in one]
    numbers = Numbers(
        own=tuple(by_objective.numbers([s.data for s, _ in stacks])),
        shared=tuple({k: as_floats(o.data[k], dtype) for k in o.shared} for o in objectives),
    )
    program = groups[0].program
    code = Ensemble(
        functions=tuple((g.program.f, g.program.has_data) for g in one),
        methods=tuple(groups[i].program.method for i in by_method.firsts),
        schedules=tuple(groups[i].program.schedule for i in by_schedule.firsts),
        dim=program.dim,
        probes=program.probes,
        keep_path=program.keep_path,
    )

    def looks(factory: Any, own: Mapping[str, np.ndarray]) -> bool:
        if factory is None:
            return False
        params = sameness.arrays_of({k: a[..., 0] for k, a in own.items()}, first.precision)
        return sameness.of_rule(factory, params, program.dim, first.precision).looks

    def parts(kind: _Sorting, name: str, factories: Any) -> Parts:
        params = kind.numbers([getattr(s, name) for s, _ in stacks])
        views = tuple(
            by_objective.view(kind.slots[p]) if looks(f, own) else None
            for p, (f, own) in enumerate(zip(factories, params, strict=True))
        )
        return Parts(tuple(params), kind.order(lane_of, places), views)

    known = [jobs[i].objective.facts.f_star for g in groups for i in g.jobs]
    counts = [len(jobs[i].x0) for g in groups for i in g.jobs]
    lanes = Lanes(
        numbers=numbers,
        by_objective=by_objective.order(lane_of, places),
        methods=parts(by_method, "method", code.methods),
        schedules=parts(by_schedule, "schedule", code.schedules),
        scale=side("scale"),
        column=columns[lane_of],
        gtol=gtol,
        minimizers=_minimizers(
            [s.minimizers for s, _ in stacks], lengths, program.dim, dtype, lane_of
        ),
        bursts=np.repeat(_bursts(groups, [s for s, _ in stacks]), lengths)[lane_of],
        view=by_objective.view(lane_of) if program.probes else None,
    )
    return Company(
        program=replace(program, schedule=None),
        shared={},
        lanes=stacks[0][0],
        x0=np.concatenate([jobs[i].x0 for g in groups for i in g.jobs]).astype(dtype).T,
        f_star=np.repeat([np.nan if f is None else f for f in known], counts).astype(float),
        tables=tables,
        marks=first.marks,
        workers=workers,
        devices=devices,
        tails=tails,
        looks=np.repeat([g.program.schedule is not None for g in groups], lengths),
        code=code,
        numbers=lanes,
        places=places,
        lane_of=lane_of,
    )


class _Sorting:
    """Lanes sorted by one kind of parts, with room for some more of each.

    Attributes:
        firsts: of each part, the first group that has it.
        slots: of each part, its lanes; padded by its first.
    """

    def __init__(self, keys: Sequence[Hashable], lengths: Sequence[int]) -> None:
        names = list(dict.fromkeys(keys))
        self.firsts = [keys.index(name) for name in names]
        self.part = np.repeat([names.index(key) for key in keys], lengths)
        self.groups = [[g for g, key in enumerate(keys) if key == name] for name in names]
        self.slots = [_padded(np.flatnonzero(self.part == p)) for p in range(len(names))]
        self.ends = np.cumsum([0, *lengths])

    def lanes(self) -> Int[np.ndarray, " B"]:
        return np.concatenate(self.slots)

    def back(self) -> Int[np.ndarray, " n"]:
        """The place of each lane."""
        lanes = self.lanes()
        back = np.zeros(len(self.part), np.int32)
        back[lanes[::-1]] = np.arange(len(lanes), dtype=np.int32)[::-1]  # the first of its places
        return back

    def order(self, lane_of: np.ndarray, places: np.ndarray) -> Order:
        """From and to the places of an ensemble."""
        return Order(tuple(places[s].astype(np.int32) for s in self.slots), self.back()[lane_of])

    def numbers(self, rows: Sequence[Mapping[str, np.ndarray] | None]) -> list[Any]:
        """Of each part, the numbers of its lanes, given those of each group."""
        made = []
        for groups, slots in zip(self.groups, self.slots, strict=True):
            at = np.concatenate([np.arange(self.ends[g], self.ends[g + 1]) for g in groups])
            where = np.searchsorted(at, slots)
            if rows[groups[0]] is None:
                made.append(None)
                continue
            made.append(
                {
                    k: np.concatenate([rows[g][k] for g in groups], axis=-1)[..., where]
                    for k in rows[groups[0]]
                }
            )
        return made

    def view(self, lanes: np.ndarray) -> View:
        """These lanes, sorted by this kind."""
        sorted_, data = [], []
        for p, slots in enumerate(self.slots):
            at = _padded(np.flatnonzero(self.part[lanes] == p))
            sorted_.append(at.astype(np.int32))
            data.append(
                np.searchsorted(slots[: (self.part == p).sum()], lanes[at]).astype(np.int32)
            )
        flat = np.concatenate(sorted_)
        back = np.zeros(len(lanes), np.int32)
        back[flat[::-1]] = np.arange(len(flat), dtype=np.int32)[::-1]
        return View(Order(tuple(sorted_), back), tuple(data))


def _padded(lanes: np.ndarray) -> np.ndarray:
    """With room up to a power of two, so that few lanes more are no other program."""
    if not len(lanes):
        return lanes
    room = max(8, 1 << (len(lanes) - 1).bit_length())
    return np.concatenate([lanes, np.full(room - len(lanes), lanes[0])])


def _tables(tables: Sequence[Sequence[Any]], columns: Sequence[np.ndarray]) -> Any:
    places: dict[Any, int] = {}
    found: list[Any] = []
    out = []
    for own, column in zip(tables, columns, strict=True):
        at = []
        for sizes in own:
            key = identity(sizes)
            if key not in places:
                places[key] = len(found)
                found.append(sizes)
            at.append(places[key])
        out.append(np.array(at, np.int32)[column])
    return found, np.concatenate(out)


def _minimizers(
    known: Sequence[Any], lengths: Sequence[int], dim: int, dtype: Any, lane_of: Any
) -> Any:
    """Those of all lanes; a lane that has fewer has its first several times."""
    if all(m is None for m in known):
        return None
    k = max(len(m) for m in known if m is not None)
    parts = []
    for m, n in zip(known, lengths, strict=True):
        if m is None:
            parts.append(np.full((k, dim, n), np.nan, dtype))
        else:
            parts.append(np.concatenate([m, np.repeat(m[:1], k - len(m), axis=0)]))
    return np.concatenate(parts, axis=-1)[..., lane_of]


def _bursts(groups: Sequence[Group], stacks: Sequence[Any]) -> list[bool]:
    """Whether each group's own program would take bursts of steps."""
    known: dict[Any, bool] = {}
    found = []
    for group, lanes in zip(groups, stacks, strict=True):
        program = group.program
        key = (program.method, program.elementwise)
        if key not in known:
            x0 = np.zeros((program.dim, len(lanes.gtol)), lanes.gtol.dtype)
            known[key] = program.elementwise and loops.keeps(
                program, jax.eval_shape(partial(loops.start, program), lanes, x0)
            )
        found.append(known[key])
    return found
