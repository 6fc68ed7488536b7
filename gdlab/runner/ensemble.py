"""The step of several structures side by side: each part is traced and compiled once.

A structure is an objective, a method and a schedule. The lanes of an ensemble are sorted three
times: each objective's value and gradient is computed on the lanes that have it, each method's
direction and each schedule's step on theirs; what lies between is one permutation of lanes. So the
program grows with objectives + methods + schedules, and not with their product.

Measured (CPU seconds of the runner, 600 jobs in 80 structures of 10 objectives, 4 methods and 3
schedules, cold and with a warm compilation cache): a program a structure 107 and 14.2; one ensemble
4.2 and 0.9, of which 0.2 trace it and 2.4 compile it. Other ways to compute its ten gradients:
- executables of each, called from the host: 1.5 to compile instead of 1.1, and 28 us a call and
  part, which is 0.6 s for these 1,000 steps of 22 parts, before any rule that looks at f in a loop;
- `lax.switch` over lanes side by side computes every objective on every lane: 0.8, and 138 us a
  step instead of 96, growing with objectives times lanes;
- `lax.switch`, lane after lane: 0.2, and 53 us. Not taken up: scalar code, whose bits are unproven.
A ready executable, serialized, has 569 kB and is read in 0.05; XLA's own cache does as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float, Int

from gdlab import probes, registry
from gdlab.runner import program as step
from gdlab.runner.evaluation import Functions, Numbers, Order, over_lanes, value_of_lane
from gdlab.runner.program import State, Step, split
from gdlab.runner.table import Rows, room
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
        for name in step.EVALUATIONS:
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
