"""The step of several structures side by side: each part is traced and compiled once.

A structure is an objective, a method and a schedule. The lanes of an ensemble are sorted three
times: each objective's value and gradient is computed on the lanes that have it, each method's
direction and each schedule's step on theirs; what lies between is one permutation of lanes. So the
program grows with objectives + methods + schedules, and not with their product.
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
from jaxtyping import Bool, Float, Int

from gdlab import probes, registry
from gdlab.runner import program as step
from gdlab.runner.evaluation import Functions, Numbers, Order, over_lanes, value_of_lane
from gdlab.runner.loops import Segment
from gdlab.runner.program import State, Step, split
from gdlab.runner.table import Rows, put, room
from gdlab.types import Array

Transform = Callable[..., optax.GradientTransformationExtraArgs]


@dataclass(frozen=True)
class Ensemble:
    """What is compiled: the code of all parts.

    Attributes:
        functions: of the objectives, and whether each takes data.
        methods: factories of the directions.
        schedules: factories of the steps; None = open loop.
        dim, probes, keep_path: as in `Program`.
    """

    functions: Functions
    methods: tuple[Transform, ...]
    schedules: tuple[Transform | None, ...]
    dim: int
    probes: tuple[str, ...] = ()
    keep_path: bool = False


class View(NamedTuple):
    """The lanes of one part of a rule, sorted by objective.

    Attributes:
        order: of the part's lanes.
        data: of each objective, where the data of the lanes lie that are sorted to it.
    """

    order: Order
    data: tuple[Int[Array, " _"], ...]


class Parts(NamedTuple):
    """One kind of parts: the methods, or the schedules.

    Attributes:
        params: of each part, its numbers, a lane of it.
        order: the lanes sorted by part.
        views: of each part; None where it does not look at f.
    """

    params: tuple[Mapping[str, Array], ...]
    order: Order
    views: tuple[View | None, ...]


class Lanes(NamedTuple):
    """The numbers of all lanes; every leaf ends in the lane axis.

    Attributes:
        numbers: what each objective reads.
        by_objective: the lanes sorted by objective.
        methods, schedules: the parts of the rules.
        scale, column, gtol, minimizers: as in `program.Lanes`.
        bursts: whether the lane's own program would take bursts of steps (`loops`).
        view: all lanes, for probes; None where there are none.
    """

    numbers: Numbers
    by_objective: Order
    methods: Parts
    schedules: Parts
    scale: Float[Array, " B"]
    column: Int[Array, " B"]
    gtol: Float[Array, " B"]
    minimizers: Float[Array, "k d B"] | None
    bursts: Bool[Array, " B"]
    view: View | None


class Block:
    """The step of each lane, over all lanes of an ensemble."""

    def __init__(self, ensemble: Ensemble, lanes: Lanes) -> None:
        self.code, self.lanes = ensemble, lanes

    def start(self, x0: Float[Array, "d B"]) -> State:
        """The state at step 0."""

        def begun(factories: Any, kind: Parts) -> tuple[Any, ...]:
            x = kind.order.split(x0)
            return tuple(
                over(partial(_begin, factory), params, at)
                for factory, params, at in zip(factories, kind.params, x, strict=True)
            )

        rule = (
            begun(self.code.methods, self.lanes.methods),
            begun(self.code.schedules, self.lanes.schedules),
        )
        return State(split(x0), rule, jnp.zeros(x0.shape[-1], jnp.int32))

    def own(self, state: State, sizes: Array, k: Int[Array, " B"]) -> Step:
        """A step of each lane at a time of its own."""
        lanes, code = self.lanes, self.code
        points = [(x,) for x in lanes.by_objective.split(state.x)]
        found = over_lanes(code.functions, lanes.numbers, step.value_and_grad, points)
        value, g = lanes.by_objective.join(found)
        at = {"value": value, "grad": _whole(g)}
        x = _whole(state.x)
        p, method = self._updated(code.methods, lanes.methods, state.rule[0], at["grad"], x, at)
        at["scale"] = lanes.scale * sizes[k, lanes.column]
        (u, eta), schedule = self._updated(code.schedules, lanes.schedules, state.rule[1], p, x, at)
        x_next = split(x + u)
        seen = dict(over(probes.sums, state.x, value, g, split(u), eta, lanes.minimizers))
        self._probe(seen, x, value, at["grad"], u, eta)
        for name in ("f_evals", "hvp_evals"):
            self._count(seen, name, state.rule)
        if code.keep_path:
            seen["x"] = x
        return Step(State(x_next, (method, schedule), state.t + 1), value, g, seen)

    def _updated(
        self, factories: Any, kind: Parts, states: Any, g: Array, x: Array, at: Mapping[str, Array]
    ) -> tuple[Any, tuple[Any, ...]]:
        """What each part makes of g, on its lanes, and its next states."""

        def one(factory: Any, view: Any, params: Any, state: Any, lane: Any, *given: Any) -> Any:
            return _update(factory, params, state, self._value_fn(view, lane), *given)

        parts = zip(
            factories, kind.views, kind.params, states, kind.order.split((g, x, at)), strict=True
        )
        made = [
            over(partial(one, factory, view), params, state, jnp.arange(x.shape[-1]), g, x, at)
            for factory, view, params, state, (g, x, at) in parts
        ]
        return kind.order.join([out for out, _ in made]), tuple(after for _, after in made)

    def _value_fn(self, view: View | None, lane: Int[Array, ""]) -> Any:
        """f of one of the lanes that are sorted in a view."""
        if view is None:
            return None
        numbers = self.lanes.numbers.of(view.data)
        return value_of_lane(self.code.functions, numbers, view.order, lane)

    def _probe(self, seen: dict[str, Any], *view: Any) -> None:
        """What further probes see."""
        for name in self.code.probes:
            probe = registry.factories("probe")[name]

            def one(lane: Any, *view: Any, probe: Any = probe) -> Any:
                return probe(probes.StepView(self._value_fn(self.lanes.view, lane), *view))

            seen[name] = over(one, jnp.arange(view[0].shape[-1]), *view)

    def _count(self, seen: dict[str, Any], name: str, rule: Any) -> None:
        """Evaluations spent: a method and a schedule may both count."""
        kinds = (self.lanes.methods.order, self.lanes.schedules.order)
        total: Any = 0
        for order, states in zip(kinds, rule, strict=True):
            counts = [
                sum((n for _, n in optax.tree_utils.tree_get_all_with_path(s, name)), start=0)
                for s in states
            ]
            if any(not isinstance(n, int) for n in counts):
                rooms = [len(lanes) for lanes in order.to]
                of_parts = [jnp.broadcast_to(n, (m,)) for n, m in zip(counts, rooms, strict=True)]
                total = total + order.join(of_parts)
        if not isinstance(total, int):
            seen[name] = total

    def where(self, lanes: Array, new: State, old: State) -> State:
        """The new state of the lanes that take it, else the old."""
        rule = tuple(
            tuple(map(step.where, kind.order.split(lanes), *states))
            for kind, *states in zip(
                (self.lanes.methods, self.lanes.schedules), new.rule, old.rule, strict=True
            )
        )
        x, t = step.where(lanes, (new.x, new.t), (old.x, old.t))
        return State(x, rule, t)

    def rows(self, state: State, sizes: Array, K: int) -> Rows:
        """Room for what is seen at K record points and at the end."""
        seen = jax.eval_shape(self.own, state, sizes, state.t).seen
        shapes = tuple(a.shape[:-1] for a in seen.values())
        return Rows(room(seen, K + 1), tuple(seen), shapes)


def over(f: Callable[..., Any], *arguments: Any) -> Any:
    """f of one lane, over all."""
    return jax.vmap(f, in_axes=-1, out_axes=-1)(*arguments)


def _whole(x: Any) -> Float[Array, "d B"]:
    return jnp.stack(x) if isinstance(x, tuple) else x


def _begin(factory: Transform | None, params: Mapping[str, Array], x: Array) -> Any:
    return () if factory is None else step.part_of(factory, params).init(x)


def _update(
    factory: Transform | None,
    params: Mapping[str, Array],
    state: Any,
    f: Callable[[Array], Array],
    g: Array,
    x: Array,
    at: Mapping[str, Array],
) -> tuple[Any, Any]:
    """A direction; or, where there is a `scale`, a step and its size."""
    scale = at.get("scale")
    if factory is None:
        return (scale * g, scale), state
    u, after = step.part_of(factory, params).update(
        g, state, x, value=at["value"], grad=at["grad"], value_fn=f
    )
    return (u if scale is None else (u, optax.tree_utils.tree_get(after, "step_size"))), after


class _Carried(NamedTuple):
    """What goes from step to step.

    Attributes:
        k, i: steps taken since the segment's begin, and the record point that comes next.
        state, going: of all lanes; who went on at the last record point.
        unit: in which |g|^2 is taken.
        table: what was seen.
        ended: whether the last view was taken.
    """

    k: Any
    i: Any
    state: State
    going: Array
    unit: Array
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
        on, unit = step.going_in_unit(after, lanes.gtol, now.unit)
        on = jnp.where(due | ending | lanes.bursts, looked, on)
        unit = jnp.where(due | ending, after.seen["1/g"], unit)
        state = block.where(on & ~ending, after.state, now.state)
        going = jnp.where(due | ending, looked, now.going)
        return _Carried(now.k + 1, now.i + due, state, going, unit, table, ending)

    seen = block.rows(state, sizes, K)
    zero = jnp.zeros_like(marks[0])
    every = jnp.ones(lanes.gtol.shape, bool)
    unit = jnp.ones_like(lanes.gtol)
    first = _Carried(zero, zero, state, every, unit, seen.table, jnp.bool_(False))
    end = lax.while_loop(lambda now: ~now.ended, body, first)
    return Segment(end.state, (Rows(end.table, seen.names, seen.shapes),), end.going)
