"""The only descent loop: a block of lanes, compiled once for each structure.

Lanes are the last axis: x is `[d, B]`, and one step written for one lane is vmapped over it. A lane
that has converged or left the finite numbers is frozen, state and all, so that what it is does not
depend on how long its company goes on. Where a step is cheap, the program is bursts of steps that
nothing interrupts, and what is recorded is looked at afterwards (`_bursts`); else it is a loop over
record points around a loop over the steps between them (`_stretches`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Float, Int

from gdlab import probes, registry
from gdlab.types import Array

# Up to this dimension the coordinates are carried apart, each an array over lanes.
APART = 4
# Steps between two looks at whether a lane was to stop.
BURST = 64


@dataclass(frozen=True)
class Program:
    """What is compiled: everything that is code. All numbers are arguments.

    Attributes:
        f, has_data: the objective's function and whether it takes data.
        dim: d.
        method, schedule: factories of the optax transformations; schedule None = open loop.
        probes: names of further probes.
        keep_path: whether x is recorded.
        gathered: whether lanes follow different step-size tables.
        elementwise: whether the rule takes the coordinates one by one (open loop, few of them).
    """

    f: Callable[..., Any]
    has_data: bool
    dim: int
    method: Callable[..., optax.GradientTransformationExtraArgs]
    schedule: Callable[..., optax.GradientTransformationExtraArgs] | None
    probes: tuple[str, ...] = ()
    keep_path: bool = False
    gathered: bool = False
    elementwise: bool = False


class Lanes(NamedTuple):
    """A block's numbers; every leaf ends in the lane axis `[..., B]`.

    Attributes:
        data: what the objective reads, without what lanes share.
        method, schedule: parameters of the rule.
        scale: unit of the step size (open loop).
        column: which step-size table the lane follows (open loop).
        gtol2: squared tolerance on ||grad f||; infinite for padding.
        minimizers: `[k, d, B]` or None.
    """

    data: Mapping[str, Array] | None
    method: Mapping[str, Array]
    schedule: Mapping[str, Array]
    scale: Float[Array, " B"]
    column: Int[Array, " B"]
    gtol2: Float[Array, " B"]
    minimizers: Float[Array, "k d B"] | None


class State(NamedTuple):
    """What descent carries: the point, the rule's memory, and the steps taken."""

    x: Any  # [d, B]; a tuple of d arrays [B] where d <= APART
    rule: Any
    t: Int[Array, " B"]  # int32: half the memory, and 2e9 steps are enough


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Rows:
    """What was seen at each record point, and at the segment's end.

    All of it is one array, since XLA writes a row of one array in place, but copies several arrays
    that are written side by side.

    Attributes:
        table: a row for each record point, and the last for the segment's end.
        names, shapes: of what a row begins with, in order.
    """

    table: Float[Array, "K+1 L B"]
    names: tuple[str, ...] = field(metadata={"static": True})
    shapes: tuple[tuple[int, ...], ...] = field(metadata={"static": True})

    def columns(self, rows: int) -> dict[str, np.ndarray]:
        """Name -> `[rows + 1, ..., B]`: the first rows, and the last."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])
        visited = np.concatenate([self.table[:rows], self.table[-1:]])
        parts = np.split(visited, ends, axis=1)[:-1]
        return {
            name: part.reshape(len(part), *shape, part.shape[-1])
            for name, shape, part in zip(self.names, self.shapes, parts, strict=True)
        }


class Segment(NamedTuple):
    """The new state, what was seen, and who goes on."""

    state: State
    rows: tuple[Rows, ...]
    active: Any

    def seen(self, rows: int) -> dict[str, np.ndarray]:
        """Name -> `[rows + 1, ..., B]`: what was seen at the record points, and at the end."""
        return {name: column for part in self.rows for name, column in part.columns(rows).items()}


class Coordinates:
    """A point whose coordinates are apart: f may index and unpack it, and nothing else."""

    def __init__(self, parts: tuple[Array, ...]) -> None:
        self._parts = parts
        self.shape, self.size, self.ndim = (len(parts),), len(parts), 1

    def __getitem__(self, i: int) -> Array:
        if not isinstance(i, int):
            raise TypeError("only single coordinates")
        return self._parts[i]

    def __len__(self) -> int:
        return len(self._parts)


def value_and_grad(f: Callable[[Any], Array], x: Any) -> tuple[Array, Any]:
    """f and its gradient at x: `[d]`, or a tuple of scalars where there are few coordinates.

    Slicing coordinates out of a vector and padding them back costs XLA on CPU more than a short f
    does. So f is differentiated with its coordinates apart where it only indexes them, and with
    forward derivatives (which do not pad) where it does not.
    """
    if not isinstance(x, tuple):
        return jax.value_and_grad(f)(x)
    if _takes(lambda parts: f(Coordinates(parts)), x):
        return jax.value_and_grad(lambda parts: f(Coordinates(parts)))(x)

    def along(i: int, xi: Array) -> Array:
        return f(jnp.stack([*x[:i], xi, *x[i + 1 :]]))

    if not _takes(lambda parts: jax.jvp(partial(along, 0), parts[:1], parts[:1]), x):
        value, g = jax.value_and_grad(f)(jnp.stack(x))  # f has a reverse rule of its own only
        return value, tuple(g[i] for i in range(len(x)))
    ones = [jax.jvp(partial(along, i), (xi,), (jnp.ones_like(xi),)) for i, xi in enumerate(x)]
    return ones[0][0], tuple(slope for _, slope in ones)


def _takes(call: Callable[[Any], Any], x: Any) -> bool:
    """Whether a call can be traced on x."""
    try:
        jax.eval_shape(call, x)
    except Exception:  # whatever f raises on what it does not take
        return False
    return True


def _rule(program: Program, lane: Lanes) -> optax.GradientTransformationExtraArgs:
    method = optax.with_extra_args_support(program.method(**lane.method))
    if program.schedule is None:
        return method
    return optax.chain(method, program.schedule(**lane.schedule))


def _join(x: Any) -> Float[Array, " d"]:
    return jnp.stack(x) if isinstance(x, tuple) else x


def _split(x: Any) -> Any:
    if isinstance(x, tuple) or x.shape[0] > APART:
        return x
    return tuple(x[i] for i in range(x.shape[0]))


def _step(
    program: Program, shared: Mapping[str, Array], lane: Lanes, state: State, size: Array
) -> tuple[State, Array, Mapping[str, Array]]:
    """One step of one lane: the next state, |g|^2 before it, and what was seen.

    A lane takes the step while |g|^2 > gtol^2, which is false of NaN.
    """
    x = _join(state.x)
    data = {**(lane.data or {}), **shared}
    f = partial(program.f, data) if program.has_data else program.f
    value, g = value_and_grad(f, state.x)
    if jnp.shape(value) != ():
        raise TypeError(
            f"the objective's f returns an array of shape {value.shape}: takes a number"
        )
    # Coordinates are kept apart as long as possible: stacking them is a pass over memory.
    gg = sum(gi * gi for gi in g) if isinstance(g, tuple) else jnp.sum(g * g)
    gg = gg + 0 * (value + gg)  # not a number where f or the gradient is not finite
    if program.elementwise:
        p, rule = _rule(program, lane).update(_split(g), state.rule, state.x)
        eta = lane.scale * size
        u = tuple(eta * pi for pi in p)
        x_next = tuple(xi + ui for xi, ui in zip(state.x, u))
    else:
        p, rule = _rule(program, lane).update(
            _join(g), state.rule, x, value=value, grad=_join(g), value_fn=f
        )
        if program.schedule is None:
            eta = lane.scale * size
            u = eta * p
        else:
            eta, u = optax.tree_utils.tree_get(rule, "step_size"), p
        u, x_next = _split(u), _split(x + u)
    seen = dict(probes.sums(state.x, value, g, u, eta, lane.minimizers))
    view = probes.StepView(f, x, value, _join(g), _join(u), eta)
    for name in program.probes:
        seen[name] = registry.factories("probe")[name](view)
    for name in ("f_evals", "hvp_evals"):  # a method and a schedule may both count
        counts = [n for _, n in optax.tree_utils.tree_get_all_with_path(state.rule, name)]
        if counts:
            seen[name] = sum(counts[1:], counts[0])
    if program.keep_path:
        seen["x"] = x
    return State(x_next, rule, state.t + 1), gg, seen


def _held(
    program: Program, shared: Mapping[str, Array], lane: Lanes, state: State, size: Array
) -> State:
    """One step of one lane, if it is to take it.

    Held lane by lane: chosen for all lanes at once, d = 100 costs a third more.
    """
    after, gg, _ = _step(program, shared, lane, state, size)
    return _where(gg > lane.gtol2, after, state)


def _where(lanes: Array, new: Any, old: Any) -> Any:
    """The new leaves where a lane takes them, else the old."""
    return jax.tree.map(partial(jnp.where, lanes), new, old)


@partial(jax.jit, static_argnums=0)
def start(program: Program, lanes: Lanes, x0: Float[Array, "d B"]) -> State:
    """The state at step 0."""

    def one(lane: Lanes, x: Float[Array, " d"]) -> tuple[Any, Any]:
        return _split(x), _rule(program, lane).init(_split(x) if program.elementwise else x)

    x, rule = jax.vmap(one, in_axes=-1, out_axes=-1)(lanes, x0)
    return State(x, rule, jnp.zeros(x0.shape[-1], jnp.int32))


@partial(jax.jit, static_argnums=0)
def segment(
    program: Program,
    shared: Mapping[str, Array],
    lanes: Lanes,
    state: State,
    sizes: Float[Array, "N S"],
    marks: Int[Array, " K+1"],
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
    run = _bursts if program.elementwise and _holds(state) else _stretches
    return run(_Block(program, shared, lanes), state, sizes, marks, rows)


class _Block:
    """The step of one lane, over all lanes of a block."""

    def __init__(self, program: Program, shared: Mapping[str, Array], lanes: Lanes) -> None:
        axes = (-1, -1, None if not program.gathered else -1)
        self.program, self.lanes = program, lanes
        self._step = jax.vmap(partial(_step, program, shared), in_axes=axes, out_axes=-1)
        self._held = jax.vmap(partial(_held, program, shared), in_axes=axes, out_axes=-1)
        self._own = jax.vmap(partial(_step, program, shared), in_axes=-1, out_axes=-1)

    def step(self, state: State, table: Array, k: Any) -> tuple[State, Array, Mapping[str, Array]]:
        """The step k of all lanes: see `_step`."""
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
        return Rows(_room(seen, K + 1), tuple(seen), shapes)

    def _size(self, table: Array, k: Any) -> Array:
        row = lax.dynamic_index_in_dim(table, k, keepdims=False)
        return row[self.lanes.column] if self.program.gathered else row[0]


def _bursts(
    block: _Block, state: State, sizes: Array, marks: Int[Array, " K+1"], rows: Array
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
        return _put(kept, jnp.where(due, i, K), (x, rule)), i + due

    def burst(carry: Any) -> Any:
        k, i, state, active, kept = carry
        until = jnp.minimum(k + BURST, marks[rows])
        begun = jnp.clip(k, 0, N - few)
        near = lax.dynamic_slice_in_dim(sizes, begun, few)

        def free(k: Any, carry: Any) -> Any:
            x, rule, least, i, kept = carry
            after, gg, _ = block.step(State(x, rule, state.t), near, k - begun)
            kept, i = keep(kept, i, k + 1, after.x, after.rule)
            return after.x, after.rule, jnp.minimum(least, gg), i, kept

        def careful(k: Any, carry: Any) -> Any:
            state, i, kept = carry
            after = block.held(state, near, k - begun)
            kept, i = keep(kept, i, k + 1, after.x, after.rule)
            return after, i, kept

        most = jnp.full_like(lanes.gtol2, jnp.inf)
        x, rule, least, later, kept = lax.fori_loop(
            k, until, free, (state.x, state.rule, most, i, kept)
        )
        through = active & (least > lanes.gtol2)  # NaN stays in the minimum
        again_until = jnp.where(jnp.any(active & ~through), until, k)
        again, _, kept = lax.fori_loop(k, again_until, careful, (state, i, kept))
        t = state.t + (until - k).astype(state.t.dtype)
        return until, later, _where(through, State(x, rule, t), again), through, kept

    def go_on(carry: Any) -> Any:
        k, _, _, active, _ = carry
        return (k < marks[rows]) & jnp.any(active)

    zero = marks[0]  # not a constant: XLA would fill the table element by element
    kept = _put(_room((state.x, state.rule), K + 1), zero, (state.x, state.rule))
    going = lanes.gtol2 < jnp.inf  # padding never goes on, so it need not be taken care of
    _, visited, end, _, kept = lax.while_loop(go_on, burst, (zero, zero + 1, state, going, kept))
    kept = _put(kept, zero + K, (end.x, end.rule))
    recorded = sizes[jnp.minimum(marks, N - 1)]

    def look(i: Any, table: Array) -> Array:
        x, rule = _get(kept, i, (state.x, state.rule))
        view = block.step(State(x, rule, state.t), recorded, i)[2]
        return _put(table, i, _without("x", view))

    seen = block.rows(state, K, but="x")  # x is kept as it is
    table = lax.fori_loop(0, jnp.minimum(visited, rows), look, seen.table)
    begin = state.t.max()  # every lane that still goes on has taken as many steps
    _, gg, last = block.own(end, sizes, jnp.clip(end.t - begin, 0, N - 1))
    made = (replace(seen, table=_put(table, K, _without("x", last))),)
    if block.program.keep_path:
        made += (Rows(kept, ("x",), ((len(end.x),),)),)
    return Segment(end, made, gg > lanes.gtol2)


def _stretches(
    block: _Block, state: State, sizes: Array, marks: Int[Array, " K+1"], rows: Array
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
        table = _put(table, jnp.where(ending, K, i), view)
        until = jnp.where(ending, k, marks[i + 1])
        state = _where(active & ~ending, after, state)
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


def _holds(state: State) -> bool:
    """Whether a table of floats holds the state: wide integers and complex numbers it does not."""
    kinds = {leaf.dtype for leaf in jax.tree.leaves((state.x, state.rule))}
    return all(
        jnp.finfo(k).bits <= 64
        if jnp.issubdtype(k, jnp.floating)
        else not jnp.issubdtype(k, jnp.complexfloating) and k.itemsize <= 4
        for k in kinds
    )


def _room(like: Any, rows: int) -> Float[Array, "K L B"]:
    """An empty table for trees like this one; integers of 32 bits are kept in float64."""
    leaves = jax.tree.leaves(like)
    kinds = {leaf.dtype for leaf in leaves}
    height = sum(math.prod(leaf.shape[:-1]) for leaf in leaves)
    kind = kinds.pop() if len(kinds) == 1 else jnp.float64
    return jnp.zeros((rows, height, leaves[0].shape[-1]), kind)


def _put(table: Float[Array, "K L B"], row: Any, tree: Any) -> Float[Array, "K L B"]:
    """The table with a tree in one row: leaf after leaf, which XLA does in place."""
    at = 0
    for leaf in jax.tree.leaves(tree):
        part = leaf.reshape(1, -1, leaf.shape[-1]).astype(table.dtype)
        table = lax.dynamic_update_slice(table, part, (row, at, 0))
        at += part.shape[1]
    return table


def _get(table: Float[Array, "K L B"], row: Any, like: Any) -> Any:
    """The tree in one row."""
    leaves, structure = jax.tree.flatten(like)
    parts, at = [], 0
    line = lax.dynamic_index_in_dim(table, row, keepdims=False)
    for leaf in leaves:
        height = math.prod(leaf.shape[:-1])
        parts.append(line[at : at + height].reshape(leaf.shape).astype(leaf.dtype))
        at += height
    return structure.unflatten(parts)
