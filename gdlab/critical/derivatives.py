"""Value, gradient and Hessian at many points, in blocks of a fixed width.

Lanes are the last axis, as in the descent loop, and the last block is padded: what a point gets
does not depend on its company, and a program is compiled once for each function and shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from gdlab.types import Array, Objective

EPS = float(np.finfo(float).eps)
DENSE = 500  # largest dimension for which a dense Hessian is formed


def width(dim: int) -> int:
    """Points in a block; a function of the dimension alone."""
    return 256 if dim <= 16 else 16 if dim <= 128 else 2


def _bind(f: Callable[..., Any], has_data: bool, shared: Any, lane: Any) -> Callable[..., Any]:
    return partial(f, {**lane, **shared}) if has_data else f


@partial(jax.jit, static_argnums=(0, 1))
def _gradients(
    f: Callable[..., Any], has_data: bool, shared: Any, lanes: Any, x: Array
) -> tuple[Array, Array]:
    def one(lane: Any, x: Array) -> tuple[Array, Array]:
        return jax.value_and_grad(_bind(f, has_data, shared, lane))(x)

    return jax.vmap(one, in_axes=(-1, -1), out_axes=-1)(lanes, x)


@partial(jax.jit, static_argnums=(0, 1))
def _hessians(
    f: Callable[..., Any], has_data: bool, shared: Any, lanes: Any, x: Array
) -> tuple[Array, Array, Array]:
    def one(lane: Any, x: Array) -> tuple[Array, Array, Array]:
        def g(x: Array) -> Any:
            value, slope = jax.value_and_grad(_bind(f, has_data, shared, lane))(x)
            return slope, (value, slope)

        try:
            H, (value, slope) = jax.jacfwd(g, has_aux=True)(x)
        except TypeError:  # f has a reverse rule of its own only (custom_vjp)
            H, (value, slope) = jax.jacrev(g, has_aux=True)(x)
        return value, slope, 0.5 * (H + H.T)

    return jax.vmap(one, in_axes=(-1, -1), out_axes=-1)(lanes, x)


@partial(jax.jit, static_argnums=(0, 1))
def _curvature(
    f: Callable[..., Any], has_data: bool, shared: Any, lane: Any, x: Array, v: Array
) -> Array:
    g = jax.grad(_bind(f, has_data, shared, lane))
    return jax.jvp(g, (x,), (v,))[1]


class Expansion(NamedTuple):
    """Of f at points, to second order; rows belong to the points."""

    x: Float[np.ndarray, "m d"]
    value: Float[np.ndarray, " m"]
    g: Float[np.ndarray, "m d"]
    H: Float[np.ndarray, "m d d"]

    def rows(self, which: np.ndarray) -> Expansion:
        """Those of some points."""
        return Expansion(*(a[which] for a in self))


class Derivatives:
    """Derivatives of one function at n points, each with the data of its own objective.

    Args:
        objectives: of one structure: the same f, the same shapes, the same shared data.
        owner: which of the objectives each point belongs to `[n]`.
    """

    def __init__(self, objectives: Sequence[Objective], owner: Int[np.ndarray, " n"]) -> None:
        first = objectives[0]
        self.f, self.dim, self.has_data = first.f, first.dim, first.data is not None
        self.owner = owner
        data = first.data or {}
        self.shared = {name: np.asarray(data[name]) for name in first.shared}
        own = [name for name in data if name not in first.shared]
        self.lanes: Mapping[str, np.ndarray] = {
            name: np.stack([np.asarray(o.data[name]) for o in objectives if o.data], axis=-1)
            for name in own
        }

    def gradients(
        self, x: Float[np.ndarray, "m d"], points: Int[np.ndarray, " m"]
    ) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, "m d"]]:
        """f and its gradient at x, with the data of the given points."""
        return self._blocks(_gradients, x, points)

    def hessians(
        self, x: Float[np.ndarray, "m d"], points: Int[np.ndarray, " m"]
    ) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, "m d"], Float[np.ndarray, "m d d"]]:
        """f, its gradient and its Hessian at x, with the data of the given points."""
        return self._blocks(_hessians, x, points)

    def expand(self, x: Float[np.ndarray, "m d"], points: Int[np.ndarray, " m"]) -> Expansion:
        """f to second order at x, with the data of the given points."""
        return Expansion(x, *self.hessians(x, points))

    def curvature(self, x: Float[np.ndarray, " d"], point: int) -> Callable[[Array], np.ndarray]:
        """v -> H v at x."""
        lane = {name: a[..., self.owner[point]] for name, a in self.lanes.items()}
        call = partial(_curvature, self.f, self.has_data, self.shared, lane, x)
        return lambda v: np.asarray(call(np.asarray(v, float).reshape(-1)))

    def _blocks(self, program: Any, x: np.ndarray, points: np.ndarray) -> Any:
        m, B = len(x), width(self.dim)
        if not m:
            d = self.dim
            return (np.zeros(0), np.zeros((0, d)), np.zeros((0, d, d)))[
                : 3 if program is _hessians else 2
            ]
        parts = []
        for begin in range(0, m, B):
            index = np.minimum(np.arange(begin, begin + B), m - 1)
            owner = self.owner[points[index]]
            lanes = {name: a[..., owner] for name, a in self.lanes.items()}
            parts.append(program(self.f, self.has_data, self.shared, lanes, x[index].T))
        columns = zip(*parts, strict=True)
        return tuple(
            np.ascontiguousarray(
                np.moveaxis(np.concatenate([np.asarray(a) for a in c], axis=-1)[..., :m], -1, 0)
            ).astype(float)
            for c in columns
        )


def pattern(d: int) -> Float[np.ndarray, " d"]:
    """A direction with no zero in it and no symmetry: fractional parts of golden multiples."""
    golden = (1 + 5**0.5) / 2
    v = np.mod(golden * np.arange(1, d + 1), 1.0) + 0.5
    v *= np.where(np.arange(d) % 3 == 1, -1.0, 1.0)
    return v / np.linalg.norm(v)
