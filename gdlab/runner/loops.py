"""The only descent loop: a block of lanes, compiled once for each structure.

Lanes are the last axis: x is `[d, B]`, and one step written for one lane is vmapped over it. A lane
that has converged or left the finite numbers is frozen, state and all, so that what it is does not
depend on how long its company goes on. Where a step is cheap, the program is bursts of steps that
nothing interrupts, and what is recorded is looked at afterwards (`_bursts`); else it is a loop over
record points around a loop over the steps between them (`_stretches`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float, Int

from gdlab.runner import program as step
from gdlab.runner.program import Lanes, Program, State, rule_of, split
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


@partial(jax.jit, static_argnums=0)
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
    # A state that takes much room is not kept for every record point.
    keeps = program.elementwise and held((state.x, state.rule), 4 * program.dim)
    run = _bursts if keeps else _stretches
    return run(_Block(program, shared, lanes), state, sizes, marks, rows)


class _Block:
    """The step of one lane, over all lanes of a block."""

    def __init__(self, program: Program, shared: Mapping[str, Array], lanes: Lanes) -> None:
        axes = (-1, -1, None if not program.gathered else -1)
        self.program, self.lanes = program, lanes
        self._step = jax.vmap(partial(step.taken, program, shared), in_axes=axes, out_axes=-1)
        self._held = jax.vmap(partial(step.held, program, shared), in_axes=axes, out_axes=-1)
        self._own = jax.vmap(partial(step.taken, program, shared), in_axes=-1, out_axes=-1)

    def step(self, state: State, table: Array, k: Any) -> tuple[State, Array, Mapping[str, Array]]:
        """The step k of all lanes: see `step.taken`."""
        return self._step(self.lanes, state, self._size(table, k))

    def held(self, state: State, table: Array, k: Any) -> State:
        """The step k of the lanes that are to take it."""
        return self._held(self.lanes, state, self._size(table, k))

    def own(
        self, state: State, table: Array, k: Int[Array, " B"]
    ) -> tuple[State, Array, Mapping[str, Array]]:
        """A step of each lane at a time of its own."""
        return self._own(self.lanes, state, table[k, self.lanes.column])

    def rows(self, state: State, K: int, but: str = "") -> Rows:
        """Room for what is seen at K record points and at the end, but for one name."""
        seen = jax.eval_shape(self._own, self.lanes, state, self.lanes.scale)[2]
        seen = _without(but, seen)
        shapes = tuple(a.shape[:-1] for a in seen.values())
        return Rows(room(seen, K + 1), tuple(seen), shapes)

    def _size(self, table: Array, k: Any) -> Array:
        row = lax.dynamic_index_in_dim(table, k, keepdims=False)
        return row[self.lanes.column] if self.program.gathered else row[0]


def _bursts(
    block: _Block, state: State, sizes: Array, marks: Int[Array, " rows"], rows: Array
) -> Segment:
    """Burst after burst of steps that nothing interrupts; what is recorded is looked at afterwards.

    All lanes take a burst's steps; where one was to stop on the way, the burst is taken again with
    care. Each step writes its state into the row of its record point, or of none: in few
    dimensions that costs less than to leave the loop.
    """
    lanes, K, N = block.lanes, marks.shape[0] - 1, sizes.shape[0]
    # Few step sizes at a time: a loop that reads little is compiled as one function
    # (numerics.SMALL).
    few = min(BURST, N)

    def keep(kept: Array, i: Any, k: Any, x: Any, rule: Any) -> tuple[Array, Any]:
        """The state before step k in row i if that is its record point, else in nobody's row."""
        due = marks[i] == k
        return put(kept, jnp.where(due, i, K), (x, rule)), i + due

    def burst(carry: Any) -> Any:
        k, i, state, active, kept = carry
        until = jnp.minimum(k + BURST, marks[rows])
        begun = jnp.clip(k, 0, N - few)
        near = lax.dynamic_slice_in_dim(sizes, begun, few)

        def free(k: Any, carry: Any) -> Any:
            x, rule, least, i, kept = carry
            after, gg, _ = block.step(State(x, rule, state.t), near, k - begun)
            kept, i = keep(kept, i, k + 1, after.x, after.rule)
            # jnp.minimum, which NaN stays in, would cost a third of the step: this one passes NaN
            # by, which comes in by the sum.
            least = jnp.where(gg < least, gg, least) + 0 * gg
            return after.x, after.rule, least, i, kept

        def careful(k: Any, carry: Any) -> Any:
            state, i, kept = carry
            after = block.held(state, near, k - begun)
            kept, i = keep(kept, i, k + 1, after.x, after.rule)
            return after, i, kept

        most = jnp.full_like(lanes.gtol2, jnp.inf)
        x, rule, least, later, kept = lax.fori_loop(
            k, until, free, (state.x, state.rule, most, i, kept)
        )
        through = active & (least > lanes.gtol2)  # false of NaN
        again_until = jnp.where(jnp.any(active & ~through), until, k)
        again, _, kept = lax.fori_loop(k, again_until, careful, (state, i, kept))
        t = state.t + (until - k).astype(state.t.dtype)
        return until, later, step.where(through, State(x, rule, t), again), through, kept

    def go_on(carry: Any) -> Any:
        k, _, _, active, _ = carry
        return (k < marks[rows]) & jnp.any(active)

    zero = marks[0]  # not a constant: XLA would fill the table element by element
    kept = put(room((state.x, state.rule), K + 1), zero, (state.x, state.rule))
    going = lanes.gtol2 < jnp.inf  # padding never goes on, so it need not be taken care of
    _, visited, end, _, kept = lax.while_loop(go_on, burst, (zero, zero + 1, state, going, kept))
    kept = put(kept, zero + K, (end.x, end.rule))
    recorded = sizes[jnp.minimum(marks, N - 1)]

    def look(i: Any, table: Array) -> Array:
        x, rule = get(kept, i, (state.x, state.rule))
        view = block.step(State(x, rule, state.t), recorded, i)[2]
        return put(table, i, _without("x", view))

    seen = block.rows(state, K, but="x")  # x is kept as it is
    table = lax.fori_loop(0, jnp.minimum(visited, rows), look, seen.table)
    begin = state.t.max()  # every lane that still goes on has taken as many steps
    _, gg, last = block.own(end, sizes, jnp.clip(end.t - begin, 0, N - 1))
    made: tuple[Rows, ...] = (replace(seen, table=put(table, K, _without("x", last))),)
    if block.program.keep_path:
        made += (Rows(kept, ("x",), ((len(end.x),),)),)
    return Segment(end, made, gg > lanes.gtol2)


def _stretches(
    block: _Block, state: State, sizes: Array, marks: Int[Array, " rows"], rows: Array
) -> Segment:
    """Record point after record point, each looked at on its way, and the steps between."""
    lanes, K = block.lanes, marks.shape[0] - 1

    def careful(k: Any, state: State) -> State:
        return block.held(state, sizes, k)

    def record(carry: Any) -> Any:
        i, k, state, going, table, _ = carry
        # The last view is the one at the end; a lane that froze on the way shows the step size of
        # its own last step.
        ending = (i == rows) | ~jnp.any(going)
        at = jnp.where(ending, jnp.clip(state.t - begin, 0, sizes.shape[0] - 1), k)
        after, gg, view = block.own(state, sizes, at)
        active = gg > lanes.gtol2
        table = put(table, jnp.where(ending, K, i), view)
        until = jnp.where(ending, k, marks[i + 1])
        state = step.where(active & ~ending, after, state)
        state = lax.fori_loop(k + 1, until, careful, state)
        return i + 1, until, state, active, table, ending

    seen = block.rows(state, K)
    begin = state.t.max()  # every lane that still goes on has taken as many steps
    going = jnp.ones(lanes.gtol2.shape, bool)
    _, _, state, active, table, _ = lax.while_loop(
        lambda c: ~c[-1],
        record,
        (0, jnp.zeros_like(marks[0]), state, going, seen.table, jnp.bool_(False)),
    )
    return Segment(state, (replace(seen, table=table),), active)


def _without(name: str, seen: Mapping[str, Array]) -> dict[str, Array]:
    return {key: value for key, value in seen.items() if key != name}
