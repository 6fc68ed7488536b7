"""Which code gives the same bits in any program: that whose every number has one order of sums.

In exact numerics XLA rounds each operation on its own, so that code which takes numbers one by one
gives the same bits wherever it is fused or placed, and so does a sum of two terms. Where more are
added, the order is that of the loops that XLA happens to make: Levy's function in ten dimensions
differed in its last bit between two programs, and so did a matrix factorization.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

from gdlab import registry
from gdlab.probes import StepView
from gdlab.runner import fusion
from gdlab.runner import program as step
from gdlab.runner.evaluation import Numbers, Order, value_of_lane
from gdlab.runner.program import split
from gdlab.runner.tracing import Arrays, structs
from gdlab.types import Array

TERMS = 2
EXACT = frozenset(
    " ".join((fusion.ELEMENTWISE, fusion.MOVES, fusion.CONTROL, "sort argmax argmin")).split()
) | {"reduce_and", "reduce_max", "reduce_min", "reduce_or"}

# Rules that ask of the derivatives of f only whether they are finite.
FINITE = frozenset({"gdlab.schedules.backtracking"})


@dataclass(frozen=True)
class Code:
    """What tracing a part tells.

    Attributes:
        keeps: whether it gives the same bits in any program.
        looks: whether it looks at f.
        error: what it raised; it is then left to a program of its own.
    """

    keeps: bool
    looks: bool = False
    error: Exception | None = None


def arrays_of(values: Mapping[str, Any], dtype: str) -> Arrays:
    """Names, shapes and types of what lanes read; numbers become floats."""

    def form(value: Any) -> tuple[tuple[int, ...], str]:
        array = np.asarray(value if not callable(value) else 0.0)
        return array.shape, dtype if array.dtype.kind == "f" or not array.ndim else array.dtype.name

    return tuple((name, *form(value)) for name, value in values.items())


@lru_cache(maxsize=4096)
def of_objective(
    f: Callable[..., Any], data: Arrays | None, dim: int, dtype: str, twice: bool
) -> Code:
    """f and its gradient; with `twice`, as rules that look at f may differentiate it too."""
    x = jax.ShapeDtypeStruct((dim,), dtype)

    def seen(data: Any, x: Array) -> Any:
        at = f if data is None else partial(f, data)
        if not twice:
            return step.value_and_grad(at, split(x))
        return jax.jvp(jax.value_and_grad(at), (x,), (x,))

    return _traced(seen, None if data is None else structs(data), x)


@lru_cache(maxsize=4096)
def of_rule(factory: Callable[..., Any], params: Arrays, dim: int, dtype: str) -> Code:
    """A method or a schedule, on a function that is nobody's."""

    def seen(f: Any, params: Any, x: Array) -> Any:
        rule = step.part_of(factory, params)
        return rule.update(x, rule.init(x), x, value=x[0], grad=x, value_fn=f)

    finite = getattr(factory, "__module__", None) in FINITE
    return _looking(seen, structs(params), jax.ShapeDtypeStruct((dim,), dtype), finite=finite)


@lru_cache(maxsize=256)
def of_probe(name: str, dim: int, dtype: str) -> Code:
    """A further probe, on a function that is nobody's."""
    probe = registry.factories("probe")[name]

    def seen(f: Any, x: Array) -> Any:
        return probe(StepView(f, x, x[0], x, x, x[0]))

    return _looking(seen, jax.ShapeDtypeStruct((dim,), dtype))


def _looking(seen: Callable[..., Any], *arguments: Any, finite: bool = False) -> Code:
    """Code that may look at an f: it is given one, and, if it looked, one of an ensemble too.

    Whoever differentiates f gets its derivatives in another order of operations there: Newton's
    step on Levy's function differed in its last bit. It has programs of its own, unless it only
    asks whether they are `finite`.
    """
    looked: list[bool] = []
    derived: list[bool] = []

    @jax.custom_jvp
    def f(x: Array) -> Array:
        looked.append(True)
        return x[0] * x[0]

    @f.defjvp
    def of_f(x: tuple[Array], dx: tuple[Array]) -> tuple[Array, Array]:
        derived.append(True)
        return x[0][0] * x[0][0], 2 * x[0][0] * dx[0][0]

    code = _traced(partial(seen, f), *arguments)
    if not (looked or derived) or code.error is not None:
        return code
    if derived and not finite:
        return Code(False, looks=True)

    def of_a_lane(*values: Any) -> Any:
        lane = np.zeros(1, np.int32)
        order, numbers = Order((lane,), lane), Numbers((None,), ({},))
        at = partial(value_of_lane, ((f, False),), numbers, order)
        values = jax.tree.map(lambda a: a[..., None], values)
        return jax.vmap(lambda i, *v: seen(at(i), *v), -1, -1)(lane, *values)

    return Code(code.keeps and _traced(of_a_lane, *arguments).error is None, looks=True)


def _traced(f: Callable[..., Any], *arguments: Any) -> Code:
    try:
        made = jax.make_jaxpr(f)(*arguments)
    except Exception as error:  # whatever a user's code raises
        return Code(False, error=error)
    return Code(all(map(_keeps, _equations(made.jaxpr))))


def _equations(jaxpr: Jaxpr) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                if isinstance(inner, ClosedJaxpr):
                    yield from _equations(inner.jaxpr)
                elif isinstance(inner, Jaxpr):
                    yield from _equations(inner)


def _keeps(equation: Any) -> bool:
    """Whether an operation gives the same bits in any program."""
    name = equation.primitive.name
    shape = equation.invars[0].aval.shape if equation.invars else ()
    if name in ("reduce_sum", "reduce_prod"):
        return math.prod(shape[axis] for axis in equation.params["axes"]) <= TERMS
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return math.prod(shape[axis] for axis in contracted) <= TERMS
    return name in EXACT
