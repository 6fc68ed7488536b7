"""Any traced function on boxes: its jaxpr, interpreted with intervals.

The program of a gradient or Hessian that JAX differentiated is a list of primitive operations;
each is replaced by its interval form. Operations that only move numbers about are carried out
once on the positions of the numbers. A primitive without an interval form raises
`NotCertifiable` with its name.

The Hessian that JAX differentiates knows nothing of a jump of the gradient (the derivative of
sign is 0 to it), so that where the gradient may jump within a box, as at the kinks of |x|, max and
where, its enclosure is infinite: nothing is proved there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial, reduce
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from gdlab import numerics
from gdlab.critical.proof import interval as iv
from gdlab.critical.proof.interval import Interval
from gdlab.types import Objective

if numerics.numerics() is None:  # 64 bits, whoever comes first
    numerics.configure()

Boxes = Sequence[np.ndarray] | None


class NotCertifiable(Exception):
    """The function uses an operation that has no interval form here."""


MOVES = {
    "broadcast_in_dim", "copy", "copy_p", "dynamic_slice", "expand_dims", "gather", "reshape",
    "rev", "slice", "squeeze", "transpose", "reduce_precision", "stop_gradient",
}  # fmt: skip
CALLS = {
    "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "jit", "pjit", "remat",
    "checkpoint", "custom_vjp_call_jaxpr", "custom_lin",
}  # fmt: skip
BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")
UNARY: Mapping[str, Callable[[Interval], Interval]] = {
    "neg": iv.neg,
    "exp": iv.exp,
    "expm1": iv.expm1,
    "log": iv.log,
    "log1p": iv.log1p,
    "tanh": iv.tanh,
    "logistic": iv.logistic,
    "sin": iv.sin,
    "cos": iv.cos,
    "atan": iv.atan,
    "cbrt": iv.cbrt,
    "sqrt": iv.sqrt,
    "rsqrt": lambda a: iv.reciprocal(iv.sqrt(a)),
    "abs": iv.absolute,
    "sign": iv.sign,
    "square": lambda a: iv.power(a, 2),
    "tan": lambda a: iv.div(iv.sin(a), iv.cos(a)),
    "sinh": lambda a: _half(iv.sub, a),
    "cosh": lambda a: iv.maximum(_half(iv.add, a), iv.exact(np.float64(1.0))),
    "not": lambda a: Interval(~a.hi.astype(bool), ~a.lo.astype(bool)),
    "is_finite": lambda a: Interval(
        np.isfinite(a.lo) & np.isfinite(a.hi), np.ones_like(a.lo, bool)
    ),
}
BINARY: Mapping[str, Callable[[Interval, Interval], Interval]] = {
    "add": iv.add,
    "add_any": iv.add,
    "sub": iv.sub,
    "mul": iv.mul,
    "div": iv.div,
    "max": iv.maximum,
    "min": iv.minimum,
    "gt": lambda a, b: Interval(a.lo > b.hi, a.hi > b.lo),
    "ge": lambda a, b: Interval(a.lo >= b.hi, a.hi >= b.lo),
    "lt": lambda a, b: Interval(a.hi < b.lo, a.lo < b.hi),
    "le": lambda a, b: Interval(a.hi <= b.lo, a.lo <= b.hi),
    "eq": lambda a, b: Interval(_same(a, b), (a.lo <= b.hi) & (b.lo <= a.hi)),
    "ne": lambda a, b: Interval(~((a.lo <= b.hi) & (b.lo <= a.hi)), ~_same(a, b)),
    "and": lambda a, b: Interval(a.lo & b.lo, a.hi & b.hi),
    "or": lambda a, b: Interval(a.lo | b.lo, a.hi | b.hi),
}


def _ranked(inputs: list[Interval]) -> list[Interval]:
    """Scalars of each box beside arrays of each box."""
    if len(inputs) == 2 and inputs[0] is inputs[1]:
        return inputs
    rank = max(len(a.shape) for a in inputs)

    def lift(x: np.ndarray) -> np.ndarray:
        return x.reshape(*x.shape, *(1,) * (rank - x.ndim))

    return [Interval(lift(np.asarray(a.lo)), lift(np.asarray(a.hi))) for a in inputs]


def _half(combine: Any, a: Interval) -> Interval:
    return iv.mul(iv.exact(np.float64(0.5)), combine(iv.exp(a), iv.exp(iv.neg(a))))


def _same(a: Interval, b: Interval) -> np.ndarray:
    return (a.lo == a.hi) & (b.lo == b.hi) & (a.lo == b.lo)


@lru_cache(maxsize=256)
def _derivatives(
    f: Callable[..., Any], dim: int, shapes: tuple[tuple[str, Any, Any], ...] | None
) -> tuple[Any, Any]:
    """The traced gradient and Hessian of f(x), or of f(data, x) with data of these shapes."""

    def g(x: Any, *data: Any) -> Any:
        if shapes is None:
            return jax.grad(f)(x)
        named = {name: a for (name, _, _), a in zip(shapes, data, strict=True)}
        return jax.grad(f, argnums=1)(named, x)

    x = jax.ShapeDtypeStruct((dim,), np.float64)
    data = [jax.ShapeDtypeStruct(shape, dtype) for _, shape, dtype in shapes or ()]
    gradient = jax.make_jaxpr(g)(x, *data)
    try:
        return gradient, jax.make_jaxpr(jax.jacfwd(g))(x, *data)
    except TypeError as error:
        raise NotCertifiable("a derivative rule that is not JAX's own") from error


@lru_cache(maxsize=256)
def _value(f: Callable[..., Any], dim: int, shapes: tuple[tuple[str, Any, Any], ...] | None) -> Any:
    """The traced f(x), or f(data, x) with data of these shapes."""

    def value(x: Any, *data: Any) -> Any:
        if shapes is None:
            return f(x)
        return f({name: a for (name, _, _), a in zip(shapes, data, strict=True)}, x)

    data = [jax.ShapeDtypeStruct(shape, dtype) for _, shape, dtype in shapes or ()]
    return jax.make_jaxpr(value)(jax.ShapeDtypeStruct((dim,), np.float64), *data)


class Enclosure:
    """f, g and H of an objective on boxes, each box with data of its own if need be.

    Raises:
        NotCertifiable: when called, if f uses an operation without an interval form.
    """

    def __init__(self, objective: Objective) -> None:
        self.names = sorted(objective.data or {})
        self.data = [np.asarray((objective.data or {})[name])[None] for name in self.names]
        shapes = tuple((n, a.shape[1:], a.dtype) for n, a in zip(self.names, self.data))
        given = None if objective.data is None else shapes
        self._f = partial(_value, objective.f, objective.dim, given)
        self._g, self._H = _derivatives(objective.f, objective.dim, given)
        self._steps = _has_steps(self._g.jaxpr)

    @property
    def program(self) -> Any:
        """The traced f."""
        return self._f()

    def f(
        self, lo: Float[np.ndarray, "B d"], hi: Float[np.ndarray, "B d"], data: Boxes = None
    ) -> Interval:
        """Encloses f on each box `[B]`."""
        return self._run(self._f(), lo, hi, data)

    def g(
        self, lo: Float[np.ndarray, "B d"], hi: Float[np.ndarray, "B d"], data: Boxes = None
    ) -> Interval:
        """Encloses the gradient on each box `[B, d]`.

        Args:
            data: arrays with a leading axis of boxes, in the order of `names`; None: the
                objective's own.
        """
        return self._run(self._g, lo, hi, data)

    def H(
        self, lo: Float[np.ndarray, "B d"], hi: Float[np.ndarray, "B d"], data: Boxes = None
    ) -> Interval:
        """Encloses the Hessian on each box `[B, d, d]`; infinite where the gradient may jump."""
        H = self._run(self._H, lo, hi, data)
        if not self._steps:
            return H
        g = self._run(self._g, lo, hi, data, jumps=True)
        jump = np.asarray(_anything(g).any(axis=1)).reshape(-1, 1, 1)
        return Interval(np.where(jump, -np.inf, H.lo), np.where(jump, np.inf, H.hi))

    def _run(
        self, closed: Any, lo: np.ndarray, hi: np.ndarray, data: Boxes, jumps: bool = False
    ) -> Interval:
        numbers = [iv.exact(a) for a in (self.data if data is None else data)]
        with np.errstate(all="ignore"):
            (out,) = interpret(closed.jaxpr, closed.consts, [Interval(lo, hi), *numbers], jumps)
        shape = (len(lo), *out.shape[1:])
        return Interval(np.broadcast_to(out.lo, shape), np.broadcast_to(out.hi, shape))


def interpret(
    jaxpr: Any, consts: Sequence[Any], args: Sequence[Interval], jumps: bool = False
) -> list[Interval]:
    """The jaxpr's outputs; every interval has a leading axis of boxes.

    Args:
        jumps: outputs that depend on a step (of a sign, a choice, a condition) that may lie within
            the box are (-inf, inf).
    """
    known: dict[Any, Interval] = {}

    def read(atom: Any) -> Interval:
        if hasattr(atom, "val"):
            return iv.exact(np.asarray(atom.val)[None])
        return known[atom]

    for var, value in zip(jaxpr.constvars, consts, strict=True):
        known[var] = value if isinstance(value, Interval) else iv.exact(np.asarray(value)[None])
    for var, arg in zip(jaxpr.invars, args, strict=True):
        known[var] = arg
    for eqn in jaxpr.eqns:
        inputs = [read(atom) for atom in eqn.invars]
        outputs = _apply(eqn, inputs, jumps)
        if jumps:
            outputs = _jumped(eqn, inputs, outputs)
        for var, out in zip(eqn.outvars, outputs, strict=True):
            known[var] = out
    return [read(atom) for atom in jaxpr.outvars]


def _has_steps(jaxpr: Any) -> bool:
    """Whether a sign, a choice or a condition made a number occurs."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in ("sign", "select_n"):
            return True
        if eqn.primitive.name == "convert_element_type" and eqn.invars[0].aval.dtype == bool:
            return True
        inner = (eqn.params[k] for k in BODIES if k in eqn.params)
        if any(_has_steps(getattr(body, "jaxpr", body)) for body in inner):
            return True
    return False


def _anything(a: Interval) -> np.ndarray:
    return np.asarray((a.lo == -np.inf) & (a.hi == np.inf))


def _jumped(eqn: Any, inputs: list[Interval], outputs: list[Interval]) -> list[Interval]:
    """The outputs, (-inf, inf) where they may jump, or depend on what is (-inf, inf)."""
    name, (out, *others) = eqn.primitive.name, outputs
    if others or name in CALLS or name in MOVES or np.asarray(out.lo).dtype.kind != "f":
        return outputs
    if name in ("sign", "convert_element_type"):
        step = np.asarray(inputs[0].lo).dtype == bool or name == "sign"
        jump = (out.lo != out.hi) & step | _anything(inputs[0])
    elif name == "select_n":
        which, false, true = _ranked(inputs)
        alike = (false.lo == true.hi) & (false.hi == true.lo)
        jump = (which.lo != which.hi) & ~alike
    elif name == "mul":  # 0 times anything is 0
        a, b = _ranked(inputs)
        jump = _anything(a) & ((b.lo != 0) | (b.hi != 0)) | _anything(b) & (
            (a.lo != 0) | (a.hi != 0)
        )
    elif name in ("reduce_max", "reduce_min"):
        jump = _anything(inputs[0]).any(axis=tuple(int(a) + 1 for a in eqn.params["axes"]))
    elif name in UNARY or name in ("max", "min", "integer_pow", "pow"):
        jump = reduce(np.logical_or, [_anything(a) for a in _ranked(inputs)])
    else:  # sums and moves, which keep infinity
        return outputs
    return [Interval(np.where(jump, -np.inf, out.lo), np.where(jump, np.inf, out.hi))]


def _apply(eqn: Any, inputs: list[Interval], jumps: bool = False) -> list[Interval]:
    name, params = eqn.primitive.name, eqn.params
    if name in ("eq", "ne") and eqn.invars[0] is eqn.invars[1]:  # asks whether it is a number
        same = np.full(inputs[0].shape, name == "eq")
        return [iv.exact(same)]
    if name in BINARY:
        return [BINARY[name](*_ranked(inputs))]
    if name in UNARY:
        return [UNARY[name](inputs[0])]
    if name in CALLS:
        inner = next(params[k] for k in BODIES if k in params)
        consts = getattr(inner, "consts", ())
        return interpret(getattr(inner, "jaxpr", inner), consts, inputs, jumps)
    if name in MOVES:
        return [_moved(eqn, inputs)]
    if name == "integer_pow":
        return [iv.power(inputs[0], params["y"])]
    if name == "pow":
        return [_pow(*inputs)]
    if name == "convert_element_type":
        return [_converted(inputs[0], np.dtype(params["new_dtype"]))]
    if name == "select_n" and len(inputs) == 3:
        return [iv.choose(*_ranked(inputs))]
    if name == "reduce_sum":
        return [iv.total(inputs[0], tuple(int(a) + 1 for a in params["axes"]))]
    if name in ("reduce_max", "reduce_min"):
        axes, most = tuple(int(a) + 1 for a in params["axes"]), getattr(np, name[-3:])
        return [Interval(most(inputs[0].lo, axis=axes), most(inputs[0].hi, axis=axes))]
    if name == "dot_general":
        return [_dot_general(inputs[0], inputs[1], params["dimension_numbers"])]
    if name in ("concatenate", "pad", "stack"):
        return [_placed(eqn, inputs)]
    if name == "iota":
        return [iv.exact(np.asarray(eqn.primitive.bind(**params))[None])]
    if name == "unstack":
        axis = params["axis"] + 1
        parts = np.moveaxis(inputs[0].lo, axis, 0), np.moveaxis(inputs[0].hi, axis, 0)
        return [Interval(lo, hi) for lo, hi in zip(*parts, strict=True)]
    if name == "split":
        axis, ends = params["axis"] + 1, np.cumsum(params["sizes"])[:-1]
        parts = np.split(inputs[0].lo, ends, axis), np.split(inputs[0].hi, ends, axis)
        return [Interval(lo, hi) for lo, hi in zip(*parts, strict=True)]
    raise NotCertifiable(name)


def _pow(a: Interval, b: Interval) -> Interval:
    """a^b = exp(b log a) for a >= 0; integer b as a power."""
    if b.lo.size == 1 and b.lo.ravel()[0] == b.hi.ravel()[0]:
        n = float(b.lo.ravel()[0])
        if n == int(n) and abs(n) < 64:
            return iv.power(a, int(n))
    out = iv.exp(iv.mul(b, iv.log(a)))
    return Interval(np.where(a.lo < 0, -np.inf, out.lo), np.where(a.lo < 0, np.inf, out.hi))


def _converted(a: Interval, dtype: np.dtype) -> Interval:
    if dtype.kind == "f" and dtype.itemsize < 8:
        raise NotCertifiable(f"{dtype} arithmetic")
    return Interval(np.asarray(a.lo).astype(dtype), np.asarray(a.hi).astype(dtype))


def _positions(eqn: Any, arrays: list[np.ndarray]) -> np.ndarray:
    """What the operation makes of positions; in NumPy where it is simple (JAX would compile)."""
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


def _moved(eqn: Any, inputs: list[Interval]) -> Interval:
    """A move is carried out on the positions of the numbers, then on the numbers."""
    first, *rest = inputs
    for other in rest:  # indices
        if other.shape[0] != 1 or not np.array_equal(other.lo, other.hi):
            raise NotCertifiable(f"{eqn.primitive.name} with computed indices")
    B, shape = first.shape[0], first.shape[1:]
    places = np.arange(int(np.prod(shape, dtype=int))).reshape(shape)
    if eqn.primitive.name in ("reduce_precision", "stop_gradient", "copy", "copy_p"):
        return first
    if eqn.primitive.name == "gather":
        params = {**eqn.params, "fill_value": -1}
        index = np.asarray(eqn.primitive.bind(places, *[r.lo[0] for r in rest], **params))
        if (index < 0).any():
            raise NotCertifiable("gather beyond the array")
    else:
        index = _positions(eqn, [places, *[r.lo[0] for r in rest]])
    return Interval(first.lo.reshape(B, -1)[:, index], first.hi.reshape(B, -1)[:, index])


def _placed(eqn: Any, inputs: list[Interval]) -> Interval:
    """Concatenation and padding: all inputs side by side, then a move."""
    B = max(a.shape[0] for a in inputs)
    places, flat_lo, flat_hi, begin = [], [], [], 0
    for a in inputs:
        shape = a.shape[1:]
        size = int(np.prod(shape, dtype=int))
        places.append((begin + np.arange(size)).reshape(shape))
        flat_lo.append(np.broadcast_to(a.lo.reshape(a.shape[0], -1), (B, size)))
        flat_hi.append(np.broadcast_to(a.hi.reshape(a.shape[0], -1), (B, size)))
        begin += size
    index = _positions(eqn, places)
    lo, hi = np.concatenate(flat_lo, axis=1), np.concatenate(flat_hi, axis=1)
    return Interval(lo[:, index], hi[:, index])


def _dot_general(a: Interval, b: Interval, dimension_numbers: Any) -> Interval:
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
