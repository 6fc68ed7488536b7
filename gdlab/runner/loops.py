"""The only descent loop: a block of lanes, compiled once for each structure.

Lanes are the last axis: x is `[d, B]`, and one step written for one lane is vmapped over it. A lane
that has converged or left the finite numbers is frozen, state and all, so that what it is does not
depend on how long its company goes on. Where a step is cheap, the program is bursts of steps that
nothing interrupts, and what is recorded is looked at afterwards (`_Bursts`); else it is a loop over
record points around a loop over the steps between them (`_stretches`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float, Int

from gdlab import numerics
from gdlab.runner import fusion, watch
from gdlab.runner import program as step
from gdlab.runner.program import Lanes, Program, State, Step, rule_of, split
from gdlab.runner.table import Rows, get, held, put, room
from gdlab.types import Array

# Steps between two looks at whether a lane was to stop.
BURST = 64


class Segment(NamedTuple):
    """The new state, what was seen, and who goes on."""

    state: State
    rows: tuple[Rows, ...]
    active: Any

    def seen(self, rows: int) -> dict[str, np.ndarray]:
        """Name -> `[rows + 1, ..., B]`: what was seen at the record points, and at the end."""
        return {name: column for part in self.rows for name, column in part.columns(rows).items()}


@partial(jax.jit, static_argnums=0)
def start(program: Program, lanes: Lanes, x0: Float[Array, "d B"]) -> State:
    """The state at step 0."""

    def one(lane: Lanes, x: Float[Array, " d"]) -> tuple[Any, Any]:
        return split(x), rule_of(program, lane).init(split(x) if program.elementwise else x)

    x, rule = jax.vmap(one, in_axes=-1, out_axes=-1)(lanes, x0)
    return State(x, rule, jnp.zeros(x0.shape[-1], jnp.int32))


def segment(
    program: Program,
    shared: Mapping[str, Array],
    lanes: Lanes,
    state: State,
    sizes: Float[Array, "N S"],
    marks: Int[Array, " rows"],
    rows: int,
) -> Segment:
    """Runs a block over `rows` record points, or until no lane goes on.

    Args:
        program: the code.
        shared: data that all lanes read.
        lanes, state: the block.
        sizes: relative step sizes at the segment's steps, one column a table (open loop).
        marks: the record points, in steps from the segment's begin, and its end; beyond `rows`
            unused.
        rows: how many record points to visit.
    """
    block = _Block(program, shared, lanes)
    run = (
        _Bursts(block, state, sizes, marks, rows).run
        if keeps(program, state)
        else partial(_stretches, block, state, sizes, marks, rows)
    )
    return run()


def keeps(program: Program, state: State) -> bool:
    """Whether states are kept at record points: not what takes much room."""
    return program.elementwise and held((state.x, state.rule), 4 * program.dim)


# `segment`, compiled: each output by itself, which never fails, or all outputs together, which is
# faster where it is safe.
apart = jax.jit(segment, static_argnums=0)


@cache
def together() -> Any:
    """`segment`, compiled with its outputs computed together."""
    return jax.jit(segment, static_argnums=0, compiler_options=numerics.fused())


def compiled(program: Program, *arguments: Any) -> Any:
    """`apart` or `together`, whichever these arguments of `segment` allow; see `runner.fusion`."""
    shapes = tuple((np.shape(a), str(a.dtype)) for a in jax.tree.leaves(arguments[:3]))
    if (program, shapes) not in _safe:
        # `together` does not trace again what was traced here.
        traced = together().trace(program, *arguments)
        on_cpu = jax.default_backend() == "cpu"
        _safe[program, shapes] = on_cpu and fusion.is_safe(traced.jaxpr.jaxpr, program.dim)
    return together() if _safe[program, shapes] else apart


_safe: dict[Any, bool] = {}


class _Block:
    """The step of one lane, over all lanes of a block."""

    def __init__(self, program: Program, shared: Mapping[str, Array], lanes: Lanes) -> None:
        axes = (-1, -1, None if not program.gathered else -1)
        self.program, self.lanes = program, lanes
        data = {**watch.of_one(lanes.data or {}), **shared} if program.has_data else None
        self.reach, most = watch.reach_of(program.f, data, program.dim, lanes.scale.dtype)
        # Lanes of which it is known where f is finite.
        self.fits = watch.fit(shared, lanes.data, most) | (self.reach == 0)
        self._step = jax.vmap(partial(step.taken, program, shared), in_axes=axes, out_axes=-1)
        self._held = jax.vmap(partial(step.held, program, shared), in_axes=axes, out_axes=-1)
        self._unless = jax.vmap(
            partial(self._one_unless, shared), in_axes=(*axes, -1, -1), out_axes=-1
        )
        self._own = jax.vmap(partial(step.taken, program, shared), in_axes=-1, out_axes=-1)

    def step(self, state: State, table: Array, k: Any) -> Step:
        """The step k of all lanes."""
        return self._step(self.lanes, state, self._size(table, k))

    def held(self, state: State, table: Array, k: Any) -> State:
        """The step k of the lanes that are to take it."""
        return self._held(self.lanes, state, self._size(table, k))

    def square(self, before: State, after: Step) -> Array:
        """|g|^2 before a step; no number where f may not be finite."""
        return watch.square(after.g, 1.0, after.value, before.x, self.reach)

    def unless(
        self, state: State, table: Array, k: Any, unit: Array, goes: Array
    ) -> tuple[State, Array]:
        """The step k of the lanes whose |unit g|^2 is more than `goes`, and that square."""
        return self._unless(self.lanes, state, self._size(table, k), unit, goes)

    def _one_unless(
        self,
        shared: Mapping[str, Array],
        lane: Lanes,
        state: State,
        size: Array,
        unit: Array,
        goes: Array,
    ) -> tuple[State, Array]:
        # Lane by lane: chosen for all lanes at once, d = 100 costs a third more.
        after = step.taken(self.program, shared, lane, state, size)
        gg = watch.square(after.g, unit, after.value, state.x, self.reach)
        return step.where(gg > goes, after.state, state), gg

    def own(self, state: State, table: Array, k: Int[Array, " B"]) -> Step:
        """A step of each lane at a time of its own."""
        return self._own(self.lanes, state, table[k, self.lanes.column])

    def rows(self, state: State, K: int, but: str = "") -> Rows:
        """Room for what is seen at K record points and at the end, but for one name."""
        seen = _without(but, jax.eval_shape(self._own, self.lanes, state, self.lanes.scale).seen)
        shapes = tuple(a.shape[:-1] for a in seen.values())
        return Rows(room(seen, K + 1), tuple(seen), shapes)

    def _size(self, table: Array, k: Any) -> Array:
        row = lax.dynamic_index_in_dim(table, k, keepdims=False)
        return row[self.lanes.column] if self.program.gathered else row[0]


class _Carried(NamedTuple):
    """What goes from burst to burst.

    Attributes:
        k: steps taken since the segment's begin.
        i: the record point that comes next.
        state: of all lanes.
        active: which of them go on.
        kept: their states at the record points.
    """

    k: Any
    i: Any
    state: State
    active: Any
    kept: Array


class _Bursts:
    """Burst after burst of steps that nothing interrupts; what is recorded is looked at afterwards.

    All lanes take a burst's steps; where one was to stop on the way, the burst is taken again with
    care. Each step writes its state into the row of its record point, or of none: in few
    dimensions that costs less than to leave the loop.
    """

    def __init__(
        self, block: _Block, state: State, sizes: Array, marks: Int[Array, " M"], rows: Any
    ) -> None:
        self.block, self.begun, self.sizes, self.marks, self.rows = block, state, sizes, marks, rows
        self.K, self.N = marks.shape[0] - 1, sizes.shape[0]
        self.goes = watch.limits(block.lanes.gtol, 1.0, block.program.dim)[1]

    def run(self) -> Segment:
        """The whole segment."""
        begun, zero = self.begun, self.marks[0]  # a constant would fill the table one by one
        kept = put(room((begun.x, begun.rule), self.K + 1), zero, (begun.x, begun.rule))
        going = self.goes < jnp.inf  # padding never goes on, so it need not be taken care of
        first = _Carried(zero, zero + 1, begun, going, kept)
        end = lax.while_loop(self._goes_on, self._burst, first)
        kept = put(end.kept, zero + self.K, (end.state.x, end.state.rule))
        return self._segment(end._replace(kept=kept))

    def _goes_on(self, now: _Carried) -> Array:
        return (now.k < self.marks[self.rows]) & jnp.any(now.active)

    def _burst(self, now: _Carried) -> _Carried:
        until = jnp.minimum(now.k + BURST, self.marks[self.rows])
        # Few step sizes at a time: a loop that reads little is compiled as one function
        # (numerics.SMALL).
        few = min(BURST, self.N)
        begun = jnp.clip(now.k, 0, self.N - few)
        near = lax.dynamic_slice_in_dim(self.sizes, begun, few)

        def free(k: Any, carry: Any) -> Any:
            x, rule, least, i, kept = carry
            after = self.block.step(State(x, rule, now.state.t), near, k - begun)
            kept, i = self._keep(kept, i, k + 1, after.state)
            # jnp.minimum, which NaN stays in, would cost a third of the step: this one passes NaN
            # by, which comes in by the sum.
            gg = self.block.square(State(x, rule, now.state.t), after)
            least = jnp.where(gg < least, gg, least) + 0 * gg
            return after.state.x, after.state.rule, least, i, kept

        def careful(k: Any, carry: Any) -> Any:
            state, i, kept = carry
            after = self.block.held(state, near, k - begun)
            kept, i = self._keep(kept, i, k + 1, after)
            return after, i, kept

        most = jnp.full_like(self.goes, jnp.inf)
        state = now.state
        x, rule, least, later, kept = lax.fori_loop(
            now.k, until, free, (state.x, state.rule, most, now.i, now.kept)
        )
        through = now.active & self.block.fits & (least > self.goes)  # false of NaN
        again_until = jnp.where(jnp.any(now.active & ~through), until, now.k)
        again, _, kept = lax.fori_loop(now.k, again_until, careful, (state, now.i, kept))
        t = state.t + (until - now.k).astype(state.t.dtype)
        there = step.where(through, State(x, rule, t), again)
        # Where |g|^2 has underflowed, a lane takes every burst with care, and goes on.
        return _Carried(until, later, there, now.active & (there.t == t), kept)

    def _keep(self, kept: Array, i: Any, k: Any, state: State) -> tuple[Array, Any]:
        """The state before step k in row i if that is its record point, else in nobody's row."""
        due = self.marks[i] == k
        return put(kept, jnp.where(due, i, self.K), (state.x, state.rule)), i + due

    def _segment(self, end: _Carried) -> Segment:
        """What was seen at the record points, from the states that were kept there."""
        block, state, K = self.block, self.begun, self.K
        recorded = self.sizes[jnp.minimum(self.marks, self.N - 1)]

        def look(i: Any, table: Array) -> Array:
            x, rule = get(end.kept, i, (state.x, state.rule))
            view = block.step(State(x, rule, state.t), recorded, i).seen
            return put(table, i, _without("x", view))

        seen = block.rows(state, K, but="x")  # x is kept as it is
        table = lax.fori_loop(0, jnp.minimum(end.i, self.rows), look, seen.table)
        begin = state.t.max()  # every lane that still goes on has taken as many steps
        last = block.own(end.state, self.sizes, jnp.clip(end.state.t - begin, 0, self.N - 1))
        made: tuple[Rows, ...] = (replace(seen, table=put(table, K, _without("x", last.seen))),)
        if block.program.keep_path:
            made += (Rows(end.kept, ("x",), ((len(end.state.x),),)),)
        return Segment(end.state, made, last.going(block.lanes.gtol))


def _stretches(
    block: _Block, state: State, sizes: Array, marks: Int[Array, " rows"], rows: Any
) -> Segment:
    """Record point after record point, each looked at on its way, and the steps between."""
    lanes, K = block.lanes, marks.shape[0] - 1

    def stretch(begin: Any, until: Any, state: State, going: Array, unit: Array) -> State:
        """The steps between two record points, of the lanes that go on."""
        stops, goes = watch.limits(lanes.gtol, unit, block.program.dim)
        goes = jnp.where(going & block.fits, goes, jnp.inf)

        def free(k: Any, carry: Any) -> Any:
            return block.unless(carry[0], sizes, k, unit, goes)

        def careful(k: Any, state: State) -> State:
            return block.held(state, sizes, k)

        # A lane that is held sees the same |g|^2 at each further step: the last one tells.
        there, gg = lax.fori_loop(begin, until, free, (state, jnp.full_like(goes, jnp.inf)))
        told = (gg > goes) | (gg < stops) | ~going | (begin >= until)
        again = lax.fori_loop(begin, jnp.where(jnp.all(told), begin, until), careful, state)
        return step.where(told, there, again)

    def record(carry: Any) -> Any:
        i, k, state, going, table, _ = carry
        # The last view is the one at the end; a lane that froze on the way shows the step size of
        # its own last step.
        ending = (i == rows) | ~jnp.any(going)
        at = jnp.where(ending, jnp.clip(state.t - begin, 0, sizes.shape[0] - 1), k)
        after = block.own(state, sizes, at)
        table = put(table, jnp.where(ending, K, i), after.seen)
        until = jnp.where(ending, k, marks[i + 1])
        going = after.going(lanes.gtol)
        state = step.where(going & ~ending, after.state, state)
        state = stretch(k + 1, until, state, going, after.seen["1/g"])
        return i + 1, until, state, going, table, ending

    seen = block.rows(state, K)
    begin = state.t.max()  # every lane that still goes on has taken as many steps
    going = jnp.ones(lanes.gtol.shape, bool)
    _, _, state, active, table, _ = lax.while_loop(
        lambda c: ~c[-1],
        record,
        (0, jnp.zeros_like(marks[0]), state, going, seen.table, jnp.bool_(False)),
    )
    return Segment(state, (replace(seen, table=table),), active)


def _without(name: str, seen: Mapping[str, Array]) -> dict[str, Array]:
    return {key: value for key, value in seen.items() if key != name}
