"""The descent loop of an ensemble: one step, looked at every time it is taken."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float, Int

from gdlab.runner.ensemble import Block, Ensemble, Lanes
from gdlab.runner.loops import Segment
from gdlab.runner.program import State
from gdlab.runner.table import Rows, put
from gdlab.types import Array


class _Carried(NamedTuple):
    """What goes from step to step.

    Attributes:
        k, i: steps taken since the segment's begin, and the record point that comes next.
        state, going: of all lanes; who went on at the last record point.
        table: what was seen.
        ended: whether the last view was taken.
    """

    k: Any
    i: Any
    state: State
    going: Array
    table: Array
    ended: Array


@partial(jax.jit, static_argnums=0)
def start(ensemble: Ensemble, lanes: Lanes, x0: Float[Array, "d B"]) -> State:
    """The state at step 0."""
    return Block(ensemble, lanes).start(x0)


@partial(jax.jit, static_argnums=0)
def segment(
    ensemble: Ensemble,
    lanes: Lanes,
    state: State,
    sizes: Float[Array, "N S"],
    marks: Int[Array, " rows"],
    rows: int,
) -> Segment:
    """Runs all lanes over `rows` record points, or until none goes on; as `loops.segment`.

    The program holds one step, where those of `loops` hold up to five: every step is looked at,
    and what was seen is written into the row of its record point, or of none. That takes some
    times longer than a burst, and compiles in a fraction of the time.
    """
    block, K = Block(ensemble, lanes), marks.shape[0] - 1
    begin = state.t.max()

    def body(now: _Carried) -> _Carried:
        due = marks[now.i] == now.k
        ending = (now.k == marks[rows]) | ~jnp.any(now.going)
        at = jnp.where(ending, jnp.clip(now.state.t - begin, 0, sizes.shape[0] - 1), now.k)
        after = block.own(now.state, sizes, at)
        table = put(now.table, jnp.where(due & ~ending, now.i, K), after.seen)
        looked = after.going(lanes.gtol)
        state = block.where(looked & ~ending, after.state, now.state)
        going = jnp.where(due | ending, looked, now.going)
        return _Carried(now.k + 1, now.i + due, state, going, table, ending)

    seen = block.rows(state, sizes, K)
    zero = jnp.zeros_like(marks[0])
    every = jnp.ones(lanes.gtol.shape, bool)
    first = _Carried(zero, zero, state, every, seen.table, jnp.bool_(False))
    end = lax.while_loop(lambda now: ~now.ended, body, first)
    return Segment(end.state, (Rows(end.table, seen.names, seen.shapes),), end.going)
