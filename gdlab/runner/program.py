"""One step of one lane: what a program is made of, and what it does.

Written for one lane, and vmapped over a block of them in `loops`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int

from gdlab import probes, registry
from gdlab.errors import UsageError
from gdlab.types import Array

# Up to this dimension the coordinates are carried apart, each an array over lanes.
APART = 4
# What a rule's memory may count beside a gradient a step.
EVALUATIONS = ("f_evals", "hvp_evals", "grad_evals")


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
        gtol: tolerance on ||grad f||; infinite for padding.
        minimizers: `[k, d, B]` or None.
    """

    data: Mapping[str, Array] | None
    method: Mapping[str, Array]
    schedule: Mapping[str, Array]
    scale: Float[Array, " B"]
    column: Int[Array, " B"]
    gtol: Float[Array, " B"]
    minimizers: Float[Array, "k d B"] | None


class State(NamedTuple):
    """What descent carries: the point, the rule's memory, and the steps taken."""

    x: Any  # [d, B]; a tuple of d arrays [B] where d <= APART
    rule: Any
    t: Int[Array, " B"]  # int32: half the memory, and 2e9 steps are enough


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

    ones = [jax.jvp(partial(along, i), (xi,), (jnp.ones_like(xi),)) for i, xi in enumerate(x)]
    return ones[0][0], tuple(slope for _, slope in ones)


def value_of(f: Callable[[Any], Array], x: Any) -> Array:
    """f at x, of the operations that `value_and_grad` makes it of."""
    if not isinstance(x, tuple):
        return f(x)
    return f(Coordinates(x) if _takes(lambda parts: f(Coordinates(parts)), x) else jnp.stack(x))


def _takes(call: Callable[[Any], Any], x: Any) -> bool:
    """Whether a call can be traced on x."""
    try:
        jax.eval_shape(call, x)
    except Exception:  # whatever f raises on what it does not take
        return False
    return True


def rule_of(program: Program, lane: Lanes) -> optax.GradientTransformationExtraArgs:
    """The step rule with this lane's numbers; its memory is plain arrays."""
    rule = _with_what_it_takes(program.method(**lane.method))
    if program.schedule is not None:
        rule = optax.chain(rule, program.schedule(**lane.schedule))
    return _with_plain_keys(rule)


def part_of(
    factory: Callable[..., Any], params: Mapping[str, Array]
) -> optax.GradientTransformationExtraArgs:
    """A method or a schedule by itself, with these numbers; its memory is plain arrays."""
    return _with_plain_keys(_with_what_it_takes(factory(**params)))


def _with_what_it_takes(
    rule: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """The rule, where its update names its keywords (as SAM's does) given no others."""
    if not callable(getattr(rule, "update", None)):
        raise UsageError(f"method: transform makes {rule!r}; takes an optax transformation")
    rule = optax.with_extra_args_support(rule)
    named = inspect.signature(rule.update).parameters
    if any(p.kind is p.VAR_KEYWORD for p in named.values()):
        return rule

    def update(g: Any, state: Any, x: Any = None, **more: Any) -> tuple[Any, Any]:
        if "value_fn" in more:
            more["grad_fn"] = lambda x, *_: jax.grad(more["value_fn"])(x)
        return rule.update(g, state, x, **{k: v for k, v in more.items() if k in named})

    return optax.GradientTransformationExtraArgs(rule.init, update)


def _with_plain_keys(
    rule: optax.GradientTransformationExtraArgs,
) -> optax.GradientTransformationExtraArgs:
    """The rule with its typed PRNG keys kept as the integers they are made of."""

    def init(x: Any) -> Any:
        return jax.tree.map(lambda a: jax.random.key_data(a) if _is_key(a) else a, rule.init(x))

    def update(g: Any, state: Any, x: Any = None, **more: Any) -> tuple[Any, Any]:
        if x is None or not any(map(_is_key, jax.tree.leaves(jax.eval_shape(rule.init, x)))):
            return rule.update(g, state, x, **more)
        like = rule.init(x)  # its keys know their kind, which their shapes do not
        state = jax.tree.map(
            lambda a, b: (
                jax.random.wrap_key_data(b, impl=jax.random.key_impl(a)) if _is_key(a) else b
            ),
            like,
            state,
        )
        u, state = rule.update(g, state, x, **more)
        return u, jax.tree.map(lambda a: jax.random.key_data(a) if _is_key(a) else a, state)

    return optax.GradientTransformationExtraArgs(init, update)


def _is_key(a: Any) -> bool:
    return jnp.issubdtype(getattr(a, "dtype", np.dtype(float)), jax.dtypes.prng_key)


def _join(x: Any) -> Float[Array, " d"]:
    return jnp.stack(x) if isinstance(x, tuple) else x


def split(x: Any) -> Any:
    if isinstance(x, tuple) or x.shape[0] > APART:
        return x
    return tuple(x[i] for i in range(x.shape[0]))


class Step(NamedTuple):
    """A step of one lane, and what was seen before it.

    Attributes:
        state: the next one.
        value, g: f and its gradient.
        seen: what is recorded.
    """

    state: State
    value: Array
    g: Any
    seen: Mapping[str, Array]

    def going(self, gtol: Array) -> Array:
        """Whether |g| > gtol, whatever the size of g; false of f not finite and of g no number."""
        return self.seen["|g|^2"] + 0 * self.value > (gtol * self.seen["1/g"]) ** 2


def taken(
    program: Program, shared: Mapping[str, Array], lane: Lanes, state: State, size: Array
) -> Step:
    """One step of one lane, whether it is to be taken or not."""
    x = _join(state.x)
    data = {**(lane.data or {}), **shared}
    f = partial(program.f, data) if program.has_data else program.f
    value, g = value_and_grad(f, state.x)
    # Coordinates are kept apart as long as possible: stacking them is a pass over memory.
    if program.elementwise:
        p, rule = rule_of(program, lane).update(split(g), state.rule, state.x)
        eta = lane.scale * size
        u = tuple(eta * pi for pi in p)
        x_next = tuple(xi + ui for xi, ui in zip(state.x, u))
    else:
        p, rule = rule_of(program, lane).update(
            _join(g), state.rule, x, value=value, grad=_join(g), value_fn=f
        )
        if program.schedule is None:
            eta = lane.scale * size
            u = eta * p
        else:
            eta, u = optax.tree_utils.tree_get(rule, "step_size"), p
        u, x_next = split(u), split(x + u)
    seen = dict(probes.sums(state.x, value, g, u, eta, lane.minimizers))
    # Padding shows probes no numbers, so that what is dear can pass it by.
    shown = jnp.where(lane.gtol < jnp.inf, x, jnp.nan) if program.probes else x
    view = probes.StepView(f, shown, value, _join(g), _join(u), eta)
    for name in program.probes:
        seen[name] = registry.factories("probe")[name](view)
    for name in EVALUATIONS:  # a method and a schedule may both count
        counts = [n for _, n in optax.tree_utils.tree_get_all_with_path(state.rule, name)]
        if counts:
            seen[name] = sum(counts[1:], counts[0])
    if program.keep_path:
        seen["x"] = x
    return Step(State(x_next, rule, state.t + 1), value, g, seen)


def held(
    program: Program, shared: Mapping[str, Array], lane: Lanes, state: State, size: Array
) -> State:
    """One step of one lane, if it is to take it.

    Held lane by lane: chosen for all lanes at once, d = 100 costs a third more.
    """
    after = taken(program, shared, lane, state, size)
    return where(after.going(lane.gtol), after.state, state)


def where(lanes: Array, new: Any, old: Any) -> Any:
    """The new leaves where a lane takes them, else the old."""
    return jax.tree.map(partial(jnp.where, lanes), new, old)
