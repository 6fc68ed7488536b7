"""Lanes of one program, from their starts to their records.

Blocks of a fixed width are cut from the lanes that still go on, segment by segment, so that cost
follows the steps used. Nothing here knows of jobs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from gdlab import probes
from gdlab.runner import loops
from gdlab.runner.program import Lanes, Program
from gdlab.runner.progress import TAIL, Progress
from gdlab.schedules.units import step_sizes
from gdlab.types import Records

TABLE_NUMBERS = 2**22


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
    progress: Progress
    tables: Sequence[Callable[..., Any]]
    workers: ThreadPoolExecutor
    devices: Sequence[Any]
    tails: bool
    state: Any = None
    _segment_of: Callable[..., loops.Segment] | None = None

    def __post_init__(self) -> None:
        self.n, self.block = self.progress.n, width(self.program.dim)
        cap = max(64, TABLE_NUMBERS // len(self.tables))
        self.segments = self.progress.segments(cap)
        # All segments have the shapes of the longest, which most descents share: compiling costs
        # more than what is left empty.
        marks = self.progress.marks
        spans = [(b - a, int(marks[b] - marks[a])) for a, b in self.segments]
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
        for begin, stop in self.segments:
            self._segment(alive, begin, stop)
            alive = alive[self.progress.going[alive]]
            if not len(alive):
                break
        end = _points(self.state.x).astype(float)
        tail = self._tail(np.flatnonzero(self.progress.above)) if self.tails else None
        return self.progress.records(end, tail, looks=self.program.schedule is not None)

    def _tail(self, budget: np.ndarray) -> np.ndarray | None:
        """The iterates x_T ... x_{T+TAIL} of the lanes that used up their steps."""
        if not len(budget):
            return None
        T = int(self.progress.marks[-1])
        tail = np.full((self.n, TAIL + 1, self.program.dim), np.nan)
        stride = TAIL if self.program.keep_path else 1  # without paths, a step at a time
        for t in range(0, TAIL, stride):
            marks = self._marks(range(stride + 1))
            sizes = self._sizes(T + t, T + t + stride)
            for i in range(0, len(budget), self.block):
                members = budget[i : i + self.block]
                device = self.devices[(i // self.block) % len(self.devices)]
                out, seen = self._block(members, 1, marks, sizes, stride, device)
                if self.program.keep_path:
                    path, rest = seen["x"][:, :TAIL], _points(out.state.x)[:, None]
                    ended = np.arange(TAIL) >= (out.state.t - T)[:, None]  # its rows say nothing
                    tail[members, :TAIL] = np.where(ended[..., None], rest, path)
                else:
                    tail[members, t] = _points(self.state.x)[members]
                self._store(members, out.state)
        tail[budget, TAIL] = _points(self.state.x)[budget]
        return tail

    def _segment(self, alive: np.ndarray, begin: int, stop: int) -> None:
        marks = self.progress.marks
        near = self._marks(marks[begin : stop + 1] - marks[begin])
        sizes = self._sizes(int(marks[begin]), int(marks[stop]))
        blocks = [alive[i : i + self.block] for i in range(0, len(alive), self.block)]
        tasks = [
            self.workers.submit(self._block, members, begin, near, sizes, stop - begin, device)
            for members, device in zip(blocks, _cycle(self.devices), strict=False)
        ]
        for members, task in zip(blocks, tasks, strict=True):
            out, seen = task.result()
            self._store(members, out.state)
            self.progress.collect(members, begin, stop, out.state.t, out.active, seen)

    def _block(
        self, members: np.ndarray, begin: int, marks: Any, sizes: Any, rows: int, device: Any
    ) -> tuple[loops.Segment, dict[str, np.ndarray]]:
        """A segment of these lanes, and what was seen: name -> `[m, rows + 1, ...]`."""
        m = len(members)
        index = np.concatenate([members, np.full(self.block - m, members[0])])
        lanes = jax.tree.map(lambda a: a[..., index], self.lanes)
        lanes.gtol[m:] = np.inf
        with jax.default_device(device):
            if begin == 0:
                state = loops.start(self.program, lanes, self.progress.x0[:, index])
            else:
                state = jax.tree.map(lambda a: a[..., index], self.state)
            arguments = (self.shared, lanes, state, sizes, marks, rows)
            if self._segment_of is None:
                self._segment_of = loops.compiled(self.program, *arguments)
            out = self._segment_of(self.program, *arguments)
            out = jax.tree.map(lambda a: np.asarray(a)[..., :m], out)
        columns = probes.columns(out.seen(rows))
        return out, {name: np.moveaxis(column, -1, 0) for name, column in columns.items()}

    def _store(self, members: np.ndarray, state: Any) -> None:
        if self.state is None:
            self.state = jax.tree.map(lambda a: np.zeros((*a.shape[:-1], self.n), a.dtype), state)
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
        table = np.ones((self.steps, _bucket(len(self.tables), 1)), self.progress.x0.dtype)
        if self.program.schedule is None:
            for column, sizes in enumerate(self.tables):
                table[: len(t), column] = step_sizes(sizes, t)
        return table


def _points(x: Any) -> np.ndarray:
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
