"""The only descent loop: a block of lanes, compiled once for each structure.

Lanes are the last axis: x is `[d, B]`, and one step written for one lane is vmapped over it. The
program is a loop over record points around a loop over the steps between them; a lane that has
converged or left the finite numbers is frozen, state and all, so that what it is does not depend
on how long its company goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
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


class Segment(NamedTuple):
    """The new state, rows `[K, ..., B]`, the view at the segment's end, and who goes on."""

    state: State
    rows: Mapping[str, Array]
    last: Mapping[str, Array]
    active: Any


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
        x_next = _split(x + u)
    view = probes.StepView(f, x, value, _join(g), _join(u), eta)
    seen = dict(probes.standard(view, lane.minimizers))
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
    gaps: Int[Array, " K"],
    rows: int,
) -> Segment:
    """Runs a block over `rows` record points, or until no lane goes on.

    Args:
        program: the code.
        shared: data that all lanes read.
        lanes, state: the block.
        sizes: relative step sizes at the segment's steps, one column a table (open loop).
        gaps: steps from each record point to the next; beyond `rows` unused.
        rows: how many record points to visit.
    """
    axes = (-1, -1, None if not program.gathered else -1)
    step = jax.vmap(partial(_step, program, shared), in_axes=axes, out_axes=-1)
    held = jax.vmap(partial(_held, program, shared), in_axes=axes, out_axes=-1)
    own = jax.vmap(partial(_step, program, shared), in_axes=-1, out_axes=-1)

    def size(table: Array, k: Any) -> Array:
        row = lax.dynamic_index_in_dim(table, k, keepdims=False)
        return row[lanes.column] if program.gathered else row[0]

    def careful(table: Array, k: Any, state: State) -> State:
        return held(lanes, state, size(table, k))

    def free(table: Array, k: Any, carry: Any) -> Any:
        x, rule, least = carry
        after, gg, _ = step(lanes, State(x, rule, state.t), size(table, k))
        return after.x, after.rule, jnp.minimum(least, gg)

    def stretch(k: Any, stop: Any, state: State, active: Array) -> State:
        """The steps k to stop, of which nothing is kept; only active lanes take them."""
        if not program.elementwise:
            return lax.fori_loop(k, stop, partial(careful, sizes), state)

        def burst(carry: Any) -> Any:
            k, state, active = carry
            until = jnp.minimum(k + BURST, stop)
            # Few step sizes at a time: a loop that reads little is compiled as one function
            # (numerics.SMALL).
            few = min(BURST, len(sizes))
            begun = jnp.clip(k, 0, len(sizes) - few)
            near = lax.dynamic_slice_in_dim(sizes, begun, few)
            span = (k - begun, until - begun)
            most = jnp.full_like(lanes.gtol2, jnp.inf)
            x, rule, least = lax.fori_loop(*span, partial(free, near), (state.x, state.rule, most))
            through = active & (least > lanes.gtol2)  # NaN stays in the minimum
            again = lax.cond(
                jnp.any(active & ~through),
                lambda: lax.fori_loop(*span, partial(careful, near), state),
                lambda: state,
            )
            t = state.t + (until - k).astype(state.t.dtype)
            return until, _where(through, State(x, rule, t), again), through

        return lax.while_loop(lambda c: c[0] < stop, burst, (k, state, active))[1]

    def record(carry: Any) -> Any:
        i, k, state, going, table, _ = carry
        # The last view is the one at the end; a lane that froze on the way shows the step size of
        # its own last step.
        ending = (i == rows) | ~jnp.any(going)
        at = jnp.where(ending, jnp.clip(state.t - begin, 0, sizes.shape[0] - 1), k)
        after, gg, seen = own(lanes, state, sizes[at, lanes.column])
        active = gg > lanes.gtol2
        row = jnp.where(ending, gaps.shape[0], i)
        table = jax.tree.map(lambda a, new: a.at[row].set(new), table, dict(seen))
        until = jnp.where(ending, k, k + gaps[i])
        state = stretch(k + 1, until, _where(active & ~ending, after, state), active)
        return i + 1, until, state, active, table, ending

    first = jax.eval_shape(own, lanes, state, lanes.scale)[2]
    table = {n: jnp.zeros((gaps.shape[0] + 1, *a.shape), a.dtype) for n, a in first.items()}
    begin = state.t.max()  # every lane that still goes on has taken as many steps
    going = jnp.ones(lanes.gtol2.shape, bool)
    _, _, state, active, table, _ = lax.while_loop(
        lambda c: ~c[-1],
        record,
        (0, jnp.zeros_like(gaps[0]), state, going, table, jnp.bool_(False)),
    )
    rows_seen = {name: a[:-1] for name, a in table.items()}
    return Segment(state, rows_seen, {name: a[-1] for name, a in table.items()}, active)
