"""What a block keeps while it runs: trees of arrays `[..., B]` as the rows of one table.

All of it is one array, since XLA writes a row of one array in place, but copies several arrays
that are written side by side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from gdlab.types import Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Rows:
    """What was seen at each record point, and at the segment's end.

    Attributes:
        table: a row for each record point, and the last for the segment's end.
        names, shapes: of what a row begins with, in order.
    """

    table: Float[Array, "rows L B"]
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


def held(tree: Any, most: int) -> bool:
    """Whether a table holds this tree as it is, in at most so many numbers a lane.

    Floats it holds, and integers of 32 bits in float64; not wider ones, nor complex numbers.
    """
    leaves = jax.tree.leaves(tree)
    exact = all(jnp.issubdtype(a.dtype, jnp.floating) or a.dtype.itemsize <= 4 for a in leaves)
    return exact and _height(leaves) <= most


def room(like: Any, rows: int) -> Float[Array, "K L B"]:
    """An empty table for trees like this one."""
    leaves = jax.tree.leaves(like)
    kinds = {leaf.dtype for leaf in leaves}
    kind = kinds.pop() if len(kinds) == 1 else jnp.float64
    return jnp.zeros((rows, _height(leaves), leaves[0].shape[-1]), kind)


def put(table: Float[Array, "K L B"], row: Any, tree: Any) -> Float[Array, "K L B"]:
    """The table with a tree in one row: leaf after leaf, which XLA does in place."""
    at = 0
    for leaf in jax.tree.leaves(tree):
        part = leaf.reshape(1, -1, leaf.shape[-1]).astype(table.dtype)
        table = lax.dynamic_update_slice(table, part, (row, at, 0))
        at += part.shape[1]
    return table


def get(table: Float[Array, "K L B"], row: Any, like: Any) -> Any:
    """The tree in one row."""
    leaves = jax.tree.leaves(like)
    parts, at = [], 0
    line = lax.dynamic_index_in_dim(table, row, keepdims=False)
    for leaf in leaves:
        height = math.prod(leaf.shape[:-1])
        parts.append(line[at : at + height].reshape(leaf.shape).astype(leaf.dtype))
        at += height
    return jax.tree.unflatten(jax.tree.structure(like), parts)


def _height(leaves: Sequence[Any]) -> int:
    """Numbers a lane."""
    return sum(math.prod(leaf.shape[:-1]) for leaf in leaves)
