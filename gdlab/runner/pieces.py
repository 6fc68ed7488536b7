"""The pieces of a step, each compiled by itself over a block of lanes.

A structure's own program is compiled in about a second. Taken apart, a comparison compiles an
objective's gradient once for all rules, a method's direction and a schedule's size once for all
objectives, and `ensemble` puts the steps together. What is computed is what `program.taken` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from gdlab import probes
from gdlab.runner import program as step
from gdlab.runner.program import Lanes, Program, split, where
from gdlab.types import Array

# Shapes and types of a tree's leaves, and its structure.
Form = tuple[tuple[tuple[tuple[int, ...], np.dtype[Any]], ...], Any]


class ReadsObjective(Exception):
    """A rule asks for values of f: it has to be compiled with it."""


def _unread(*_: Any) -> Any:
    raise ReadsObjective


class Gradient(NamedTuple):
    """f and its gradient at a block's points, and who goes on from there."""

    value: Float[Array, " B"]
    g: Float[Array, "d B"]
    going: Bool[Array, " B"]


class Direction(NamedTuple):
    """A method's direction, its memory afterwards, and what it had counted before."""

    p: Float[Array, "d B"]
    memory: Any
    counts: Mapping[str, Array]


class Advance(NamedTuple):
    """The step along a direction and where it leads; the rest as in `Direction`."""

    u: Float[Array, "d B"]
    eta: Float[Array, " B"]
    x: Float[Array, "d B"]
    memory: Any
    counts: Mapping[str, Array]


def of_gradient(program: Program) -> Program:
    """What the piece `gradient` depends on."""
    return replace(_bare(program), f=program.f, has_data=program.has_data)


def of_direction(program: Program, f: bool) -> Program:
    """What the piece `direction` depends on: with f, or without."""
    return replace(
        of_gradient(program) if f else _bare(program),
        method=program.method,
        elementwise=program.elementwise,
    )


def of_advance(program: Program, f: bool) -> Program:
    """What the piece `advance` depends on: with f, or without."""
    return replace(of_gradient(program) if f else _bare(program), schedule=program.schedule)


def of_view(program: Program) -> Program:
    """What the piece `view` depends on: with f where there are probes."""
    return replace(
        of_gradient(program) if program.probes else _bare(program),
        probes=program.probes,
        keep_path=program.keep_path,
    )


def _bare(program: Program) -> Program:
    return Program(f=_unread, has_data=False, dim=program.dim, method=_unread, schedule=None)


@partial(jax.jit, static_argnums=0)
def gradient(
    program: Program, shared: Mapping[str, Array], lanes: Lanes, x: Float[Array, "d B"]
) -> Gradient:
    """f and its gradient."""

    def one(lane: Lanes, x: Array) -> Gradient:
        value, g = step.value_and_grad(step.function_of(program, shared, lane), split(x))
        unit = probes.unit(probes.dot(g, g))
        scaled = jax.tree.map(lambda part: part * unit, g)
        going = probes.dot(scaled, scaled) + 0 * value > (lane.gtol * unit) ** 2
        return Gradient(value, step.join(g), going)

    return jax.vmap(one, in_axes=-1, out_axes=-1)(lanes, x)


@partial(jax.jit, static_argnums=0)
def memories(program: Program, lanes: Lanes, x: Float[Array, "d B"]) -> Any:
    """The memories of a method and of a schedule at step 0."""

    def one(lane: Lanes, x: Array) -> Any:
        at = split(x) if program.elementwise else x
        method = None if program.method is _unread else step.method_of(program, lane)
        schedule = step.schedule_of(program, lane)
        return tuple(None if rule is None else rule.init(at) for rule in (method, schedule))

    return jax.vmap(one, in_axes=-1, out_axes=-1)(lanes, x)


@partial(jax.jit, static_argnums=0)
def direction(
    program: Program,
    shared: Mapping[str, Array],
    lanes: Lanes,
    memory: Any,
    x: Float[Array, "d B"],
    at: Gradient,
) -> Direction:
    """The method's direction."""

    def one(lane: Lanes, memory: Any, x: Array, at: Gradient) -> Direction:
        f = step.function_of(program, shared, lane)
        p, after = step.directed(program, lane, f, split(x), at.value, split(at.g), memory)
        return Direction(step.join(p), where(at.going, after, memory), step.counts(memory))

    return jax.vmap(one, in_axes=-1, out_axes=-1)(lanes, memory, x, at)


@partial(jax.jit, static_argnums=0)
def advance(
    program: Program,
    shared: Mapping[str, Array],
    lanes: Lanes,
    memory: Any,
    x: Float[Array, "d B"],
    at: Gradient,
    p: Float[Array, "d B"],
    size: Float[Array, " B"],
) -> Advance:
    """The step along p, taken by the lanes that go on."""

    def one(lane: Lanes, memory: Any, x: Array, at: Gradient, p: Array, size: Array) -> Advance:
        f = step.function_of(program, shared, lane)
        u, eta, after = step.sized(
            program, lane, f, split(x), at.value, split(at.g), p, memory, size
        )
        return Advance(
            u,
            eta,
            jnp.where(at.going, x + u, x),
            where(at.going, after, memory),
            step.counts(memory),
        )

    return jax.vmap(one, in_axes=-1, out_axes=-1)(lanes, memory, x, at, p, size)


@partial(jax.jit, static_argnums=0)
def view(
    program: Program,
    shared: Mapping[str, Array],
    lanes: Lanes,
    x: Float[Array, "d B"],
    at: Gradient,
    u: Float[Array, "d B"],
    eta: Float[Array, " B"],
) -> Mapping[str, Array]:
    """What is seen of a step, but for what the rule counts."""

    def one(lane: Lanes, x: Array, at: Gradient, u: Array, eta: Array) -> Mapping[str, Array]:
        f = step.function_of(program, shared, lane)
        return step.observed(program, lane, f, split(x), at.value, split(at.g), split(u), eta)

    return jax.vmap(one, in_axes=-1, out_axes=-1)(lanes, x, at, u, eta)


@dataclass(frozen=True)
class Kind:
    """One of the pieces of a step.

    Attributes:
        call: the piece.
        of: what it depends on of a program, with its objective or without.
        numbers: which of a lane's numbers it reads.
        rule: its place in what `memories` gives; None where it remembers nothing.
    """

    call: Callable[..., Any]
    of: Callable[[Program, bool], Program]
    numbers: tuple[str, ...]
    rule: int | None = None

    def lanes(self, lanes: Lanes, f: bool) -> Lanes:
        """The numbers that it reads."""
        kept = (*self.numbers, "data") if f else self.numbers
        return NOTHING._replace(**{name: getattr(lanes, name) for name in kept})


NOTHING = Lanes(None, {}, {}, None, None, None, None)
GRADIENT = Kind(gradient, lambda program, f: of_gradient(program), ("gtol",))
DIRECTION = Kind(direction, of_direction, ("method",), rule=0)
ADVANCE = Kind(advance, of_advance, ("schedule", "scale"), rule=1)
VIEW = Kind(view, lambda program, f: of_view(program), ("minimizers",))


@lru_cache(maxsize=4096)
def rule_reads_f(kind: Kind, program: Program, form: Form, x: jax.ShapeDtypeStruct) -> bool:
    """Whether a rule looks at f: traced without, it asks for it.

    Args:
        program: what the piece depends on, without f.
        form: shapes and types of the numbers that it reads, as `form_of` gives them.
        x: those of a block's points.
    """
    leaves, tree = form
    lanes = jax.tree.unflatten(
        tree, [jax.ShapeDtypeStruct((*shape, x.shape[-1]), kind) for shape, kind in leaves]
    )
    one = jax.ShapeDtypeStruct(x.shape[-1:], x.dtype)
    at = Gradient(one, x, jax.ShapeDtypeStruct(one.shape, bool))
    memory = jax.eval_shape(partial(memories, program), lanes, x)[kind.rule]
    more = (x, one) if kind is ADVANCE else ()
    try:
        jax.eval_shape(partial(kind.call, program), {}, lanes, memory, x, at, *more)
    except ReadsObjective:
        return True
    return False


def form_of(lanes: Lanes) -> Form:
    """Names, shapes and types of lanes' numbers, without how many lanes they are."""
    leaves, tree = jax.tree.flatten(lanes)
    return tuple((np.shape(a)[:-1], np.dtype(a.dtype)) for a in leaves), tree
