"""Lanes of one program, from their starts to their records.

Blocks of a fixed width are cut from the lanes that still go on, segment by segment, so that cost
follows the steps used. Nothing here knows of jobs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from gdlab import probes
from gdlab.runner import loops
from gdlab.runner.program import Lanes, Program, State
from gdlab.schedules.units import step_sizes
from gdlab.types import Records

# A segment ends where lanes may leave the pool: where the step count has doubled, from here on.
FIRST_SEGMENT = 128
TABLE_NUMBERS = 2**22
TAIL = 48  # three rounds of the longest cycle that is looked for


def width(dim: int) -> int:
    """Lanes in a block: it depends on the dimension alone, so that a lane's bits do too.

    Wide enough to fill vectors and to hide the loop's own cost, narrow enough to stay in the
    first-level cache and to leave a single descent quick.
    """
    return int(np.clip(2 ** int(math.log2(max(640 / dim, 1))), 16, 256))


@dataclass
class Pool:
    """The lanes of a chunk, from their starts to their records."""

    program: Program
    shared: Mapping[str, np.ndarray]
    lanes: Lanes
    x0: np.ndarray
    f_star: Float[np.ndarray, " n"]  # NaN where it is not known
    tables: Sequence[Callable[..., Any]]
    marks: Int[np.ndarray, " K"]
    workers: Executor
    devices: Sequence[Any]
    tails: bool
    looks: Any = None  # whether the schedule is a closed loop, of all lanes or of each
    computed: int = 0
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    state: Any = None
    _segment_of: Callable[..., loops.Segment] | None = None

    def __post_init__(self) -> None:
        self.n, self.block = self.x0.shape[1], width(self.program.dim)
        # Of each lane: its last row, the steps it took, whether it still goes on, and whether its
        # gradient at the end was above the tolerance.
        self.length = np.full(self.n, len(self.marks))
        self.end = np.zeros(self.n, np.int64)
        self.going = np.ones(self.n, bool)
        self.above = np.ones(self.n, bool)
        # All segments have the shapes of the longest, which most descents share: compiling costs
        # more than what is left empty.
        spans = [(b - a, int(self.marks[b] - self.marks[a])) for a, b in self._segments()]
        longest, steps = (max(lengths) for lengths in zip(*spans, strict=True))
        self.rows = rows_for(max(longest, TAIL))
        few = int(np.clip(2**18 // len(self.tables), 256, 2**14))
        self.steps = _bucket(max(steps, TAIL) + 1, few) if self.program.schedule is None else 1

    def compile(self) -> None:
        """Compiles what `run` will call: a segment of no steps."""
        self._block(np.arange(1), 0, self._marks([0]), self._sizes(0, 0), 0, self.devices[0])

    def run(self) -> Records:
        """Carries all lanes out."""
        alive = np.arange(self.n)
        for begin, stop in self._ranges():
            self._segment(alive, begin, stop)
            alive = alive[self.going[alive]]
            if not len(alive):
                break
        end = points(self.state.x).astype(float)
        return self._records(end, self._tail(np.flatnonzero(self.above)))

    def _tail(self, budget: np.ndarray) -> np.ndarray | None:
        """The iterates x_T ... x_{T+TAIL} of the lanes that used up their steps."""
        if not self.tails or not len(budget):
            return None
        T, tail = int(self.marks[-1]), np.full((self.n, TAIL + 1, self.program.dim), np.nan)
        blocks = [budget[i : i + self.block] for i in range(0, len(budget), self.block)]
        places = list(zip(blocks, _cycle(self.devices), strict=False))
        if not self.program.keep_path:  # a step at a time
            tail[budget, 0] = points(self.state.x)[budget]
            steppers = [self._stepper(members, device) for members, device in places]
            for t in range(TAIL):
                sizes = self._sizes(T + t, T + t + 1)
                for members, step in zip(blocks, steppers, strict=True):
                    tail[members, t + 1] = step(sizes)
            return tail
        marks, sizes = self._marks(range(TAIL + 1)), self._sizes(T, T + TAIL)
        for members, device in places:
            out, seen = self._block(members, 1, marks, sizes, TAIL, device)
            rest = points(out.state.x)[:, None]
            ended = np.arange(TAIL) >= (out.state.t - T)[:, None]  # its rows say nothing
            tail[members, :TAIL] = np.where(ended[..., None], rest, seen["x"][:, :TAIL])
            tail[members, TAIL:] = rest
        return tail

    def _stepper(self, members: np.ndarray, device: Any) -> Callable[[np.ndarray], np.ndarray]:
        """Takes a step of these lanes, of given sizes, and tells where they are `[m, d]`.

        Their state stays where the program left it, and what else it saw is not looked at.
        """
        marks, (lanes, index) = self._marks(range(2)), self._lanes(members)
        state = jax.tree.map(lambda a: a[..., index], self.state)

        def step(sizes: np.ndarray) -> np.ndarray:
            nonlocal state
            with jax.default_device(device):
                state = self._call(lanes, state, sizes, marks, 1).state
                return points(jax.tree.map(np.asarray, state.x))[: len(members)]

        return step

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

    def _ranges(self) -> Iterator[tuple[int, int]]:
        """The segments that are run.

        One block costs the same whoever has left it, so its segments are as long as fits into the
        tables, which have the shapes that more lanes have too.
        """
        if self.n > self.block or len(self.marks) < 2:
            yield from self._segments()
            return
        last, begin = len(self.marks) - 1, 0
        most = TABLE_NUMBERS if self.program.schedule is not None else self.steps - 1
        while begin < last:
            until = int(np.searchsorted(self.marks, self.marks[begin] + most, "right")) - 1
            stop = min(max(until, begin + 1), begin + self.rows, last)
            yield begin, stop
            begin = stop

    def _segment(self, alive: np.ndarray, begin: int, stop: int) -> None:
        marks = self._marks(self.marks[begin : stop + 1] - self.marks[begin])
        sizes = self._sizes(int(self.marks[begin]), int(self.marks[stop]))
        blocks = [alive[i : i + self.block] for i in range(0, len(alive), self.block)]
        tasks = [
            self.workers.submit(self._block, members, begin, marks, sizes, stop - begin, device)
            for members, device in zip(blocks, _cycle(self.devices), strict=False)
        ]
        for members, task in zip(blocks, tasks, strict=True):
            self._collect(members, begin, stop, *task.result())

    def _block(
        self, members: np.ndarray, begin: int, marks: Any, sizes: Any, rows: int, device: Any
    ) -> tuple[loops.Segment, dict[str, np.ndarray]]:
        """A segment of these lanes, and what was seen: name -> `[m, rows + 1, ...]`."""
        lanes, index = self._lanes(members)
        with jax.default_device(device):
            if begin == 0:
                state = loops.start(self.program, lanes, self.x0[:, index])
            else:
                state = jax.tree.map(lambda a: a[..., index], self.state)
            out = self._call(lanes, state, sizes, marks, rows)
            out = jax.tree.map(lambda a: np.asarray(a)[..., : len(members)], out)
        columns = probes.columns(out.seen(rows))
        return out, {name: np.moveaxis(column, -1, 0) for name, column in columns.items()}

    def _lanes(self, members: np.ndarray) -> tuple[Lanes, np.ndarray]:
        """A block of these lanes, and whose each place is; the first one's again as padding."""
        m = len(members)
        index = np.concatenate([members, np.full(self.block - m, members[0])])
        lanes = jax.tree.map(lambda a: a[..., index], self.lanes)
        lanes.gtol[m:] = np.inf
        return lanes, index

    def _call(self, lanes: Lanes, state: State, sizes: Any, marks: Any, rows: int) -> Any:
        arguments = (self.shared, lanes, state, sizes, marks, rows)
        if self._segment_of is None:
            self._segment_of = loops.compiled(self.program, *arguments)
        return self._segment_of(self.program, *arguments)

    def _collect(
        self,
        members: np.ndarray,
        begin: int,
        stop: int,
        out: loops.Segment,
        seen: Mapping[str, np.ndarray],
    ) -> None:
        for name, column in seen.items():
            if name not in self.columns:
                shape = (self.n, len(self.marks), *column.shape[2:])
                self.columns[name] = np.full(shape, np.nan)
            self.columns[name][members, begin:stop] = column[:, :-1]
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
        for name, column in seen.items():
            self.columns[name][who, row] = column[done, -1]
        self.above[who] = out.active[done]

    def _store(self, members: np.ndarray, state: State) -> None:
        for kept, new in zip(jax.tree.leaves(self.state), jax.tree.leaves(state), strict=True):
            kept[..., members] = new

    def _marks(self, steps: Sequence[int] | np.ndarray) -> np.ndarray:
        """Record points and the end of a segment, in steps from its begin; padded."""
        marks = np.zeros(self.rows + 1, np.int64)
        marks[: len(steps)] = steps
        return marks

    def _sizes(self, t0: int, t1: int) -> np.ndarray:
        """Step sizes of the steps t0 to t1, one column a table; padded."""
        t = np.arange(t0, t1 + 1)
        table = np.ones((self.steps, _bucket(len(self.tables), 1)), self.x0.dtype)
        if self.program.schedule is None:
            for column, sizes in enumerate(self.tables):
                table[: len(t), column] = step_sizes(sizes, t)
        return table

    def _records(self, end: np.ndarray, tail: np.ndarray | None) -> Records:
        columns, rows = self.columns, len(self.marks)
        path = columns.pop("x", None)
        step = np.broadcast_to(self.marks.astype(float), (self.n, rows)).copy()
        step[np.arange(self.n), self.length - 1] = self.end
        columns["step"] = step
        columns["grad_evals"] = step + columns.get("grad_evals", 0)  # one a step, and further ones
        for name in ("f_evals", "hvp_evals"):
            columns.setdefault(name, np.zeros((self.n, rows)))
        columns["gap"] = columns["loss"] - self.f_star[:, None]
        columns.setdefault("distance", np.full((self.n, rows), np.nan))
        status, reason = self._endings(tail)
        return Records(columns, self.length, end, status, path, tail=tail, reason=reason)

    def _endings(self, tail: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Status and reason of each lane (`types.STATUSES`, `types.REASONS`)."""
        last = (np.arange(self.n), self.length - 1)
        f_ok = np.isfinite(self.columns["loss"][last])
        # The norm of a finite gradient may be beyond the largest number: such a lane goes on.
        g_ok = np.isfinite(self.columns["grad_norm"][last]) | self.above
        status = np.where(self.above, "budget", np.where(f_ok & g_ok, "converged", "diverged"))
        lost = np.where(f_ok, "gradient", np.where(g_ok, "f", "f and gradient"))
        reason = np.where(self.above, "steps", np.where(f_ok & g_ok, "gtol", lost)).astype("U14")
        if tail is not None:
            eta = self.columns["step_size"][last]
            rests = self.above & (tail[:, 1:] == tail[:, :1]).all(axis=(1, 2))
            looks = self.program.schedule is not None if self.looks is None else self.looks
            ended = np.where(looks, "search", "schedule")
            still = np.where(eta == 0, ended, "rounding")
            no_step = np.isnan(self.columns["slope"][last]) & (eta != 0)  # u = 0: 0/0
            reason = np.where(rests, np.where(no_step, "direction", still), reason)
        return status, reason


def points(x: Any) -> np.ndarray:
    """Points of all lanes `[n, d]`, a copy."""
    return np.stack(x, axis=-1) if isinstance(x, tuple) else np.array(x.T)


def _cycle(devices: Sequence[Any]) -> Iterator[Any]:
    while True:
        yield from devices


def rows_for(points: int) -> int:
    """Rows of a segment's table: few shapes, but no more than a quarter left empty, since filling
    them with zeros costs as much as some steps."""
    if points <= 64:
        return 64
    quarter = 1 << (points - 1).bit_length() - 3
    return -(-points // quarter) * quarter


def _bucket(count: int, least: int) -> int:
    """The next power of two: few shapes, so few programs."""
    return max(least, 1 << (count - 1).bit_length())
