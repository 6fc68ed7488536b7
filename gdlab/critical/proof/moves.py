"""Operations that move numbers about, and products of arrays, on arrays of intervals.

A move is carried out once on the positions of the numbers, in NumPy where it is simple (JAX would
compile), and then on the lower and the upper ends of every box.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from gdlab.critical.proof import interval as iv
from gdlab.critical.proof.interval import Interval

KEPT = 2**10  # numbers in an index that is kept for the next time, at most


def moved(eqn: Any, inputs: list[Interval]) -> Interval | None:
    """The first input's numbers where the operation puts them; None: beyond the array."""
    first, *rest = inputs
    B, shape = first.shape[0], first.shape[1:]
    if eqn.primitive.name in ("reduce_precision", "copy", "copy_p"):
        return first
    n = math.prod(shape)
    indices = [np.asarray(r.lo)[0] for r in rest]
    if not rest:
        index = _index(eqn, (shape,))
        return Interval(first.lo.reshape(B, n)[:, index], first.hi.reshape(B, n)[:, index])
    places = np.arange(n).reshape(shape)
    if eqn.primitive.name == "gather":
        params = {**eqn.params, "fill_value": -1}
        index = np.asarray(eqn.primitive.bind(places, *indices, **params))
        if (index < 0).any():
            return None
    else:
        index = _positions(eqn, [places, *indices])
    return Interval(first.lo.reshape(B, n)[:, index], first.hi.reshape(B, n)[:, index])


def placed(eqn: Any, inputs: list[Interval]) -> Interval:
    """Concatenation and padding: all inputs side by side, then a move."""
    B = max(a.shape[0] for a in inputs)
    flat_lo, flat_hi = [], []
    for a in inputs:
        size = math.prod(a.shape[1:])
        flat_lo.append(np.broadcast_to(a.lo.reshape(a.shape[0], size), (B, size)))
        flat_hi.append(np.broadcast_to(a.hi.reshape(a.shape[0], size), (B, size)))
    index = _index(eqn, tuple(a.shape[1:] for a in inputs))
    lo, hi = np.concatenate(flat_lo, axis=1), np.concatenate(flat_hi, axis=1)
    return Interval(lo[:, index], hi[:, index])


def _index(eqn: Any, shapes: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """Where each number comes from, of arrays of these shapes one after another."""
    few = sum(map(math.prod, shapes)) <= KEPT and math.prod(eqn.outvars[0].aval.shape) <= KEPT
    return (_kept_index if few else _index_of)(eqn, shapes)


def _index_of(eqn: Any, shapes: tuple[tuple[int, ...], ...]) -> np.ndarray:
    places, begin = [], 0
    for shape in shapes:
        size = math.prod(shape)
        places.append((begin + np.arange(size)).reshape(shape))
        begin += size
    return np.asarray(_positions(eqn, places))


# An operation is the same only as itself, and is kept with its index, so no other takes its place.
_kept_index = lru_cache(maxsize=4096)(_index_of)


def _positions(eqn: Any, arrays: list[np.ndarray]) -> np.ndarray:
    """What the operation makes of positions."""
    a, name, params = arrays[0], eqn.primitive.name, eqn.params
    if name == "slice":
        steps = params["strides"] or (1,) * a.ndim
        bounds = zip(params["start_indices"], params["limit_indices"], steps, strict=True)
        return a[tuple(slice(*b) for b in bounds)]
    if name in ("squeeze", "expand_dims"):
        return a.reshape(eqn.outvars[0].aval.shape)
    if name == "reshape" and params.get("dimensions") is None:
        return a.reshape(params["new_sizes"])
    if name == "transpose":
        return a.transpose(params["permutation"])
    if name == "broadcast_in_dim" and len(arrays) == 1:
        shape = [1] * len(params["shape"])
        for axis, size in zip(params["broadcast_dimensions"], a.shape, strict=True):
            shape[axis] = size
        return np.broadcast_to(a.reshape(shape), params["shape"])
    if name == "stack":
        return np.stack(arrays, axis=params["axis"])
    if name == "concatenate":
        return np.concatenate(arrays, axis=params["dimension"])
    if name == "pad" and all(low >= 0 and high >= 0 for low, high, _ in params["padding_config"]):
        out = np.full(eqn.outvars[0].aval.shape, arrays[1])
        out[
            tuple(
                slice(low, low + (size - 1) * (gap + 1) + 1 if size else low, gap + 1)
                for (low, _, gap), size in zip(params["padding_config"], a.shape, strict=True)
            )
        ] = a
        return out
    return np.asarray(eqn.primitive.bind(*arrays, **params))


def dot_general(a: Interval, b: Interval, dimension_numbers: Any) -> Interval:
    """Products of all pairs, summed over the contracted axes."""
    (ca, cb), (ba, bb) = dimension_numbers
    fa = [i for i in range(len(a.shape) - 1) if i not in (*ca, *ba)]
    fb = [i for i in range(len(b.shape) - 1) if i not in (*cb, *bb)]

    def arrange(
        x: np.ndarray, batch: Any, free: Any, contract: Any, before: int, after: int
    ) -> Any:
        x = np.transpose(x, (0, *[i + 1 for i in (*batch, *free, *contract)]))
        k, n = len(batch), len(free)
        shape = x.shape
        return x.reshape(
            *shape[: 1 + k], *(1,) * before, *shape[1 + k : 1 + k + n], *(1,) * after,
            *shape[1 + k + n :],
        )  # fmt: skip

    left = [arrange(x, ba, fa, ca, 0, len(fb)) for x in (a.lo, a.hi)]
    right = [arrange(x, bb, fb, cb, len(fa), 0) for x in (b.lo, b.hi)]
    pairs = iv.mul(Interval(*left), Interval(*right))
    axes = tuple(range(pairs.lo.ndim - len(ca), pairs.lo.ndim))
    return iv.total(pairs, axes) if axes else pairs
