"""What one tracing of f tells, before anything is computed: is it a number, and is it smooth code.

f is traced once for its function and the shapes of its data; sweeps over values pay nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

from gdlab import numerics, registry
from gdlab.errors import UsageError, blamed, raised
from gdlab.probes import StepView
from gdlab.types import Objective

Arrays = tuple[tuple[str, tuple[int, ...], str], ...]


@dataclass(frozen=True)
class Traced:
    """Shape and type of f's value, and whether f has a derivative rule for reverse mode only."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    reverse_only: bool


@numerics.computing()
def checked(objective: Objective, name: str) -> Objective:
    """The objective, ready to be differentiated in every mode; traces f, computes nothing.

    Raises:
        UsageError: f raises an error, or its value is no real number; `name` says whose it is.
    """
    with _blamed(name):
        seen = _traced(objective.f, _arrays_of(objective), objective.dim)
    if seen.shape != ():
        raise UsageError(f"{name}: f returns an array of shape {seen.shape}; takes a number")
    if seen.dtype not in (np.float64, np.float32):
        raise UsageError(
            f"{name}: f returns {seen.dtype}; takes a real number in floating point (float64)"
        )
    if not seen.reverse_only:
        return objective
    return replace(objective, f=both_ways(objective.f, objective.data is not None))


@numerics.computing()
def check_probe(name: str, objective: Objective) -> None:
    """Traces a user's probe once; raises a `UsageError` where its value is no number."""
    probe = registry.factories("probe")[name]
    with _blamed(f"record.probes=[{name}]"):
        shape = _probe_shape(objective.f, _arrays_of(objective), objective.dim, probe)
    if shape != ():
        raise UsageError(f"record.probes=[{name}]: gives an array of shape {shape}; takes a number")


@lru_cache(maxsize=1024)
def both_ways(f: Callable[..., Any], has_data: bool) -> Callable[..., Any]:
    """f with forward derivatives made of reverse ones, for an f that has no others (custom_vjp).

    f'(x) v = g'v with the gradient g, and (g'(x)) v = H v is the gradient of x -> g(x)'v, since H
    is symmetric: reverse over reverse. The same function for the same f, so that jobs group.
    """

    @jax.custom_jvp
    def both(data: Any, x: Any) -> tuple[Any, Any]:
        return jax.value_and_grad(lambda x: f(data, x) if has_data else f(x))(x)

    @both.defjvp
    def _(primals: Any, tangents: Any) -> tuple[Any, Any]:
        (data, x), (_, dx) = primals, tangents
        value, g = both(data, x)
        slope = jax.grad(lambda x: f(data, x) if has_data else f(x))
        _, pull = jax.vjp(slope, x)
        return (value, g), (jnp.vdot(g, dx).astype(value.dtype), pull(dx)[0])

    @jax.custom_jvp
    def value(data: Any, x: Any) -> Any:
        return f(data, x) if has_data else f(x)

    @value.defjvp
    def _(primals: Any, tangents: Any) -> tuple[Any, Any]:
        (data, x), (_, dx) = primals, tangents
        at, g = both(data, x)
        return at, jnp.vdot(g, dx).astype(at.dtype)

    def smooth(*arguments: Any) -> Any:
        return value(*arguments) if has_data else value((), *arguments)

    smooth.__name__ = getattr(f, "__name__", "objective")
    return smooth


def primitives(jaxpr: Jaxpr) -> Iterator[str]:
    """Names of all primitives of a traced function, those of inner functions too."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                if isinstance(inner, ClosedJaxpr):
                    yield from primitives(inner.jaxpr)
                elif isinstance(inner, Jaxpr):
                    yield from primitives(inner)


@lru_cache(maxsize=4096)
def _traced(f: Callable[..., Any], arrays: Arrays | None, dim: int) -> Traced:
    """f at data of these names, shapes and types; its derivative where it has rules of its own."""
    data, x = structs(arrays), jax.ShapeDtypeStruct((dim,), np.float64)

    def value(data: Any, x: Any) -> Any:
        return f(x) if arrays is None else f(data, x)

    made, out = jax.make_jaxpr(value, return_shape=True)(data, x)
    if not hasattr(out, "shape"):
        raise TypeError(f"returns {type(out).__name__}: takes a number")
    one_way = False
    if out.shape == () and "custom_vjp_call" in primitives(made.jaxpr):

        def along(data: Any, x: Any, dx: Any) -> Any:
            return jax.jvp(partial(value, data), (x,), (dx,))

        # What cannot be computed forward is left in the trace as it is.
        one_way = "custom_lin" in primitives(jax.make_jaxpr(along)(data, x, x).jaxpr)
    return Traced(tuple(out.shape), np.dtype(out.dtype), one_way)


@lru_cache(maxsize=4096)
def _probe_shape(
    f: Callable[..., Any], arrays: Arrays | None, dim: int, probe: Callable[[StepView], Any]
) -> tuple[int, ...]:
    vector, number = (jax.ShapeDtypeStruct(shape, np.float64) for shape in ((dim,), ()))

    def seen(data: Any, x: Any, y: Any, grad: Any, update: Any, size: Any) -> Any:
        at = partial(f, data) if arrays is not None else f
        return probe(StepView(at, x, y, grad, update, size))

    out = jax.eval_shape(seen, structs(arrays), vector, number, vector, vector, number)
    return tuple(jnp.shape(out))


def structs(arrays: Arrays | None) -> dict[str, jax.ShapeDtypeStruct]:
    """Arrays of these names, shapes and types, to be traced with."""
    return {
        name: jax.ShapeDtypeStruct(shape, np.dtype(dtype)) for name, shape, dtype in arrays or ()
    }


def _arrays_of(objective: Objective) -> Arrays | None:
    """Names, shapes and types of an objective's data."""
    if objective.data is None:
        return None
    return tuple((name, *_array_of(value)) for name, value in objective.data.items())


def _array_of(value: Any) -> tuple[tuple[int, ...], str]:
    array = np.asarray(value)
    # By name: what NumPy knows from elsewhere (bfloat16) has no type string of its own.
    return array.shape, array.dtype.name if array.ndim else "float64"  # numbers become floats


class _blamed:
    """A context: whatever user's code raises, `SystemExit` too, is one line on `name`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        if error is None or isinstance(error, UsageError | KeyboardInterrupt):
            return
        if isinstance(error, jax.errors.TracerArrayConversionError):
            raise UsageError(
                f"{self.name}: computes with NumPy, which JAX cannot differentiate; write it with "
                f"jax.numpy ({raised(error).rpartition('(')[2].rstrip(')')})"
            ) from error
        with blamed(self.name):
            raise (
                error
                if isinstance(error, Exception)
                else RuntimeError(f"{type(error).__name__}: {error}").with_traceback(
                    error.__traceback__
                )
            )
