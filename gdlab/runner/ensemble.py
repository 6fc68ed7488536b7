"""Descents of many structures side by side, step by step from the host.

Each piece of a step is called once for all lanes that it serves: an objective's gradient for all
rules, a method for all objectives. A call costs some 30 us and a structure's own program a second
of compilation, so that this is the way of comparisons: many structures, few lanes and steps each.
Blocks have the width of those of `pool`, and a lane's bits are the same on both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from gdlab import probes
from gdlab.runner import pieces
from gdlab.runner.pieces import Gradient, Kind
from gdlab.runner.pool import TABLE_NUMBERS, width
from gdlab.runner.program import Lanes, Program
from gdlab.runner.progress import TAIL, Progress
from gdlab.schedules.units import step_sizes
from gdlab.types import Records


@dataclass(frozen=True, eq=False)
class Member:
    """A structure's lanes in an ensemble.

    Attributes:
        objective: what tells its objective, data and all, from others.
        shared: data that all its lanes read.
        lanes: their numbers.
        tables: the step-size tables that `lanes.column` counts.
    """

    program: Program
    objective: Hashable
    shared: Mapping[str, np.ndarray]
    lanes: Lanes
    tables: Sequence[Callable[..., Any]]

    def __len__(self) -> int:
        return len(self.lanes.gtol)


@dataclass(eq=False)
class Block:
    """Lanes that a piece is called for at once.

    Attributes:
        members: their places in the ensemble `[m]`; index: the same, padded `[B]`.
        lanes: their numbers, on the device; memory: what the rule remembers of them.
    """

    members: Int[np.ndarray, " m"]
    index: Int[np.ndarray, " B"]
    lanes: Any
    memory: Any


@dataclass(eq=False)
class Stage:
    """The lanes that one piece serves.

    Attributes:
        piece: from `pieces`, with its program and the data that all lanes share.
        members: whose lanes they are, as numbers in the ensemble.
        places: the lanes' places in the ensemble.
        lanes: their numbers.
        rule: whether it is a piece of a rule; memory: what that remembers of them.
        error: why it cannot be carried out.
    """

    piece: Callable[..., Any]
    members: Sequence[int]
    places: Int[np.ndarray, " m"]
    lanes: Lanes
    rule: bool
    memory: Any
    error: Exception | None = None
    blocks: list[Block] = field(default_factory=list)

    def cut(self, alive: np.ndarray, B: int) -> None:
        """Blocks of the lanes that are alive."""
        local = np.flatnonzero(alive[self.places])
        self.blocks = []
        for part, padded in _padded(local, B):
            lanes, memory = jax.device_put(_at((self.lanes, self.memory), padded))
            self.blocks.append(Block(self.places[part], self.places[padded], lanes, memory))

    def keep(self) -> None:
        """Takes the blocks' memories back."""
        if not jax.tree.leaves(self.memory):
            return
        order = np.argsort(self.places)
        for block in self.blocks:
            local = order[np.searchsorted(self.places, block.members, sorter=order)]
            for kept, new in zip(jax.tree.leaves(self.memory), jax.tree.leaves(block.memory)):
                kept[..., local] = np.asarray(new)[..., : len(local)]

    def __call__(self, block: Block, *arguments: np.ndarray | Gradient) -> Any:
        """The piece at one block, of what all lanes have."""
        memory = (block.memory,) if self.rule else ()
        at = block.index
        here = [
            a[..., at] if isinstance(a, np.ndarray) else Gradient(*(b[..., at] for b in a))
            for a in arguments
        ]
        return self.piece(block.lanes, *memory, *here)


class Ensemble:
    """Structures of one dimension, precision, record grid and set of probes.

    Args:
        members: the structures; their lanes lie one after the other.
        progress: of all lanes.
        tails: whether lanes that used up their steps are followed for `TAIL` more.
    """

    def __init__(self, members: Sequence[Member], progress: Progress, tails: bool) -> None:
        self.members, self.progress, self.tails = members, progress, tails
        self.n, (self.dim, _) = progress.n, progress.x0.shape
        self.B = width(self.dim)
        ends = np.cumsum([len(member) for member in members])
        self.places = [np.arange(end - len(m), end) for m, end in zip(members, ends)]
        kind = progress.x0.dtype
        self.t = np.zeros(self.n, np.int64)
        self.x = progress.x0.copy()
        self.at = Gradient(np.zeros(self.n, kind), np.zeros_like(self.x), np.ones(self.n, bool))
        self.p, self.u, self.eta = (
            np.zeros_like(self.x),
            np.zeros_like(self.x),
            self.at.value.copy(),
        )
        self.coming: list[tuple[Block, Any]] = []
        self.tables: list[Callable[..., Any]] = []
        self.column = np.zeros(self.n, np.int64)
        self.looks = np.zeros(self.n, bool)
        for member, places in zip(members, self.places):
            self.column[places] = len(self.tables) + member.lanes.column
            self.tables += member.tables
            self.looks[places] = member.program.schedule is not None
        self.failed: dict[int, Exception] = {}
        self._stages()

    @property
    def stages(self) -> list[Stage]:
        """All pieces' lanes, in the order of a step."""
        return [*self.gradients, *self.directions, *self.advances, *self.views]

    def prepare(self, workers: Executor) -> dict[int, Exception]:
        """Compiles all pieces; returns the members that cannot be carried out, and why."""
        self._cut(np.arange(self.n))
        self._look(self._sizes(0, 0), 0, workers)
        self._see({}, 0, 1, workers)
        for stage in self.stages:
            if stage.error is not None:
                self.failed |= dict.fromkeys(stage.members, stage.error)
        return self.failed

    def run(self) -> Records:
        """Carries all lanes out."""
        able = np.ones(self.n, bool)
        for i in self.failed:
            able[self.places[i]] = False
        self.progress.going &= able
        for begin, stop in self.progress.segments(max(64, TABLE_NUMBERS // len(self.tables))):
            self._segment(np.flatnonzero(self.progress.going), begin, stop)
            if not self.progress.going.any():
                break
        end = self.x.T.astype(float)
        budget = np.flatnonzero(self.progress.above & able)
        tail = self._tail(budget) if self.tails and len(budget) else None
        return self.progress.records(end, tail, self.looks)

    def _segment(self, alive: np.ndarray, begin: int, stop: int) -> None:
        marks = self.progress.marks[begin : stop + 1]
        first, last = int(marks[0]), int(marks[-1])
        raw: dict[str, np.ndarray] = {}
        row = 0
        self._cut(alive)
        sizes = self._sizes(first, last)
        for t in range(first, last):
            self._look(sizes, first)
            if not self.at.going[alive].any():
                break
            if t == marks[row]:
                self._see(raw, row, len(marks))
                row += 1
            self._commit()
        self._look(sizes, first)
        self._see(raw, len(marks) - 1, len(marks))
        for stage in self.stages:
            stage.keep()
        seen = probes.columns({name: column[..., alive] for name, column in raw.items()})
        self.progress.collect(
            alive,
            begin,
            stop,
            self.t[alive],
            self.at.going[alive],
            {name: np.moveaxis(column, -1, 0) for name, column in seen.items()},
        )

    def _tail(self, budget: np.ndarray) -> np.ndarray:
        """The iterates x_T ... x_{T+TAIL} of the lanes that used up their steps."""
        T = int(self.progress.marks[-1])
        tail = np.full((self.n, TAIL + 1, self.dim), np.nan)
        self._cut(budget)
        sizes = self._sizes(T, T + TAIL)
        for t in range(TAIL):
            tail[budget, t] = self.x.T[budget]
            self._look(sizes, T)
            self._commit()
        tail[budget, TAIL] = self.x.T[budget]
        return tail

    def _look(self, sizes: np.ndarray, first: int, workers: Executor | None = None) -> None:
        """The next step of all lanes, which `_commit` takes."""
        for block, out in _each(self.gradients, (self.x,), workers):
            for kept, new in zip(self.at, out):
                kept[..., block.members] = _of(block, new)
        directions = _each(self.directions, (self.x, self.at), workers)
        for block, out in directions:
            self.p[:, block.members] = _of(block, out.p)
        ahead = np.clip(self.t - first, 0, len(sizes) - 1)  # of lanes in no block: any
        size = sizes[ahead, self.column]
        advances = _each(self.advances, (self.x, self.at, self.p, size), workers)
        for block, out in advances:
            self.u[:, block.members], self.eta[block.members] = (
                _of(block, out.u),
                _of(block, out.eta),
            )
        self.coming = [*directions, *advances]

    def _commit(self) -> None:
        for block, out in self.coming:
            block.memory = out.memory
            if isinstance(out, pieces.Advance):
                self.x[:, block.members] = _of(block, out.x)
        self.t += self.at.going

    def _see(
        self, raw: dict[str, np.ndarray], row: int, rows: int, workers: Executor | None = None
    ) -> None:
        """What is to be recorded of the step, into a row."""
        arguments = (self.x, self.at, self.u, self.eta)
        for block, out in _each(self.views, arguments, workers):
            for name, values in out.items():
                put = _of(block, values)
                if name not in raw:
                    raw[name] = np.full((rows, *put.shape[:-1], self.n), np.nan)
                raw[name][row][..., block.members] = put
        counted: dict[str, np.ndarray] = {}
        for block, out in self.coming:
            for name, count in out.counts.items():
                counted.setdefault(name, np.zeros(self.n))[block.members] += _of(block, count)
        for name, count in counted.items():
            raw.setdefault(name, np.zeros((rows, self.n)))[row] = count

    def _cut(self, alive: np.ndarray) -> None:
        mask = np.zeros(self.n, bool)
        mask[alive] = True
        self.at.going[:] = False  # those of the lanes that are in no block
        for stage in self.stages:
            stage.cut(mask, self.B)

    def _sizes(self, t0: int, t1: int) -> np.ndarray:
        """Step sizes of the steps t0 to t1, one column a table."""
        t = np.arange(t0, t1 + 1)
        ones = np.ones(len(t))  # of schedules that look
        columns = [ones if s is np.ones_like else step_sizes(s, t) for s in self.tables]
        return np.stack(columns, -1).astype(self.x.dtype)

    def _stages(self) -> None:
        """The pieces, and the lanes that each serves."""
        kinds = (pieces.GRADIENT, pieces.DIRECTION, pieces.ADVANCE, pieces.VIEW)
        found: dict[Kind, dict[Hashable, list[int]]] = {kind: {} for kind in kinds}
        for i, member in enumerate(self.members):
            try:
                keys = [self._key(kind, member) for kind in kinds]
            except Exception as error:  # whatever a user's rule raises as it is traced
                self.failed[i] = error
                continue
            for kind, key in zip(kinds, keys):
                found[kind].setdefault(key, []).append(i)
        self.gradients, self.directions, self.advances, self.views = (
            [self._stage(kind, who) for who in found[kind].values()] for kind in kinds
        )

    def _key(self, kind: Kind, member: Member) -> Hashable:
        """What the lanes of one call of a piece have in common."""
        f = self._reads_f(kind, member)
        form = pieces.form_of(kind.lanes(member.lanes, f))
        return kind.of(member.program, f), form, member.objective if f else None

    def _reads_f(self, kind: Kind, member: Member) -> bool:
        if kind.rule is None:
            return kind is pieces.GRADIENT or bool(member.program.probes)
        form = pieces.form_of(kind.lanes(member.lanes, False))
        x = jax.ShapeDtypeStruct((self.dim, self.B), self.x.dtype)
        return pieces.rule_reads_f(kind, kind.of(member.program, False), form, x)

    def _stage(self, kind: Kind, who: list[int]) -> Stage:
        members = [self.members[i] for i in who]
        f = self._reads_f(kind, members[0])
        program = kind.of(members[0].program, f)
        lanes = jax.tree.map(
            lambda *parts: np.concatenate(parts, -1), *(kind.lanes(m.lanes, f) for m in members)
        )
        places = np.concatenate([self.places[i] for i in who])
        shared = jax.device_put(dict(members[0].shared)) if f else {}
        memory = None if kind.rule is None else self._memory(kind.rule, program, lanes, places)
        piece = partial(kind.call, program, shared)
        return Stage(piece, who, places, lanes, kind.rule is not None, memory)

    def _memory(self, rule: int, program: Program, lanes: Lanes, places: np.ndarray) -> Any:
        """A rule's memory of all its lanes at step 0."""
        parts = [
            pieces.memories(program, _at(lanes, padded), self.x[:, places[padded]])[rule]
            for _, padded in _padded(np.arange(len(places)), self.B)
        ]
        return jax.tree.map(lambda *parts: np.concatenate(parts, -1)[..., : len(places)], *parts)


def _each(
    stages: Sequence[Stage], arguments: tuple[Any, ...], workers: Executor | None
) -> list[tuple[Block, Any]]:
    """The piece of each stage at each of its blocks; with workers, compiled by them before."""
    if workers is not None:
        list(workers.map(partial(_try, arguments), stages))
    return [(block, stage(block, *arguments)) for stage in stages for block in stage.blocks]


def _try(arguments: tuple[Any, ...], stage: Stage) -> None:
    try:
        stage(stage.blocks[0], *arguments)
    except Exception as error:  # whatever a user's code raises as it is traced
        stage.error, stage.blocks = error, []


def _padded(lanes: np.ndarray, B: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Parts of at most B lanes, each also filled up to B with its first one."""
    for i in range(0, len(lanes), B):
        part = lanes[i : i + B]
        yield part, np.concatenate([part, np.full(B - len(part), part[0])])


def _at(tree: Any, index: np.ndarray) -> Any:
    """These lanes of all arrays `[..., n]`."""
    return jax.tree.map(lambda a: a[..., index], tree)


def _of(block: Block, array: Any) -> np.ndarray:
    """Of the block's lanes, on the host."""
    return np.asarray(array)[..., : len(block.members)]
