"""Several objectives over lanes side by side: each is computed on the lanes that have it, once.

A rule is written for one lane and may look at f in a loop of its own. The f that it is given here
knows the place of its lane; vmapped over lanes, it sorts them by objective, computes each
objective on its own, and puts the numbers back in the lanes' order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Int

from gdlab.types import Array

# The functions of several objectives, and whether each takes data.
Functions = tuple[tuple[Callable[..., Any], bool], ...]


class Order(NamedTuple):
    """Lanes sorted by what they have: room for some of each part, one part after the other.

    Attributes:
        to: of each part, which lane lies at each of its places; beyond its lanes, any lane.
        back: of each lane, its place among the places of all parts.
    """

    to: tuple[Int[Array, " _"], ...]
    back: Int[Array, " B"]

    def split(self, tree: Any) -> list[Any]:
        """What each part's lanes have."""
        return [take(tree, lanes) for lanes in self.to]

    def join(self, parts: list[Any]) -> Any:
        """What each lane has, of what each part's places have."""
        return take(beside(parts), self.back)


class Numbers(NamedTuple):
    """What the objectives read: of each, data `[..., B]` a lane and data that its lanes share."""

    own: tuple[Mapping[str, Array] | None, ...]
    shared: tuple[Mapping[str, Array], ...]

    def of(self, lanes: tuple[Int[Array, " _"], ...]) -> Numbers:
        """With the data of each objective's lanes at these places."""
        return self._replace(own=tuple(map(take, self.own, lanes)))


def take(tree: Any, lanes: Int[Array, " n"]) -> Any:
    """Those lanes of arrays `[..., B]`."""
    return jax.tree.map(lambda a: jnp.take(a, lanes, axis=-1, mode="clip"), tree)


def beside(parts: list[Any]) -> Any:
    """Trees of arrays `[..., n]`, side by side."""
    return jax.tree.map(lambda *a: jnp.concatenate(a, axis=-1) if a[1:] else a[0], *parts)


def over_lanes(
    functions: Functions, numbers: Numbers, of: Callable[..., Any], points: list[Any]
) -> list[Any]:
    """`of(f, *point)` of each objective f, over the points `[..., n]` of its lanes."""

    def one(f: Any, has_data: bool, shared: Any, own: Any, point: Any) -> Any:
        return of(partial(f, {**(own or {}), **shared}) if has_data else f, *point)

    return [
        jax.vmap(partial(one, f, has_data, shared), in_axes=-1, out_axes=-1)(own, point)
        for (f, has_data), shared, own, point in zip(
            functions, numbers.shared, numbers.own, points, strict=True
        )
    ]


def value_of_lane(
    functions: Functions, numbers: Numbers, order: Order, lane: Int[Array, ""]
) -> Callable[[Array], Array]:
    """f of one lane of those that are sorted in `order`; to be vmapped over all of them.

    It can be differentiated twice, the second time forward.
    """
    levels = tuple(_sorted(functions, of) for of in (_value, _slope, _curve))

    @jax.custom_jvp
    def value(x: Array) -> Array:
        return levels[0](numbers, order, lane, x)

    @jax.custom_jvp
    def slope(x: Array) -> tuple[Array, Array]:
        return levels[1](numbers, order, lane, x)

    @jax.custom_jvp
    def curve(x: Array, dx: Array) -> Any:
        return levels[2](numbers, order, lane, x, dx)

    @value.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        at, g = slope(*primals)
        return at, jnp.sum(g * tangents[0])

    @slope.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        return slope(*primals), curve(*primals, *tangents)

    @curve.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        raise NotImplementedError("a third derivative of several objectives at once")

    return value


def _value(f: Any, x: Array) -> Array:
    return f(x)


def _slope(f: Any, x: Array) -> tuple[Array, Array]:
    return jax.value_and_grad(f)(x)


def _curve(f: Any, x: Array, dx: Array) -> tuple[Array, Array]:
    """How value and gradient change along dx."""
    return jax.jvp(jax.value_and_grad(f), (x,), (dx,))[1]


@lru_cache(maxsize=256)
def _sorted(functions: Functions, of: Callable[..., Any]) -> Any:
    """`of` of a lane's objective at a point: (numbers, order, lane, *point) -> its value."""

    @jax.custom_batching.custom_vmap
    def call(numbers: Numbers, order: Order, lane: Any, *point: Any) -> Any:
        # Not computed, but for its shape: whatever runs, runs over lanes.
        f, has_data = functions[0]
        own = {k: jnp.zeros(a.shape[:-1], a.dtype) for k, a in (numbers.own[0] or {}).items()}
        return of(partial(f, {**own, **numbers.shared[0]}) if has_data else f, *point)

    @call.def_vmap
    def _(size: int, batched: Any, numbers: Any, order: Any, lane: Any, *point: Any) -> Any:
        if not batched[2]:  # not over lanes: several points of one lane

            def several(f: Any, *point: Any) -> Any:
                return jax.vmap(partial(of, f), in_axes=axes)(*point)

            axes = tuple(0 if b else None for b in batched[3:])
            out = _sorted(functions, several)(numbers, order, lane, *point)
            return out, jax.tree.map(lambda _: True, out)
        points = tuple(
            jnp.moveaxis(p, 0, -1) if b else jnp.broadcast_to(p[..., None], (*p.shape, size))
            for p, b in zip(point, batched[3:], strict=True)
        )
        parts = over_lanes(functions, numbers, of, order.split(points))
        out = jax.tree.map(lambda a: jnp.moveaxis(a, -1, 0), order.join(parts))
        return out, jax.tree.map(lambda _: True, out)

    return call
