"""The programs that a proof interprets: f, its gradient and its Hessian, as lists of operations.

A derivative rule that somebody wrote (`custom_jvp`, `custom_vjp`, `stop_gradient`) may be wrong, so
none is believed: f is written out with the bodies of such functions in their place, and that is
what JAX differentiates. The one exception is a body that is operation for operation one of
`smoothness.KNOWN`; it gets the rule of that function, JAX's or ours.

All operations and number types of the three programs are looked up in lists of what has an exact
interval form (`primitives.py`). Anything else raises `NotCertifiable` with its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gdlab import numerics
from gdlab.critical.proof.primitives import BODIES, CALLS, INTEGERS, MOVES, NAMES, NotCertifiable
from gdlab.critical.proof.smoothness import is_smooth_everywhere, known

Shapes = tuple[tuple[str, Any, Any], ...] | None  # name, shape and type of each array of data
EXACT = {"bool", "float64", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64))}


@dataclass(frozen=True)
class Program:
    """f as a function of x and the arrays of data, and what was found in it.

    Attributes:
        f: the program (`ClosedJaxpr`).
        own: f without rules, for JAX to differentiate.
        rules: names of the derivative rules that were set aside.
        smooth: whether f is smooth wherever it is evaluated, by its operations alone.
        finite: whether no infinity and no NaN is written in it.
    """

    f: Any
    own: Callable[..., Any]
    rules: tuple[str, ...]
    smooth: bool
    finite: bool


@dataclass(frozen=True)
class Derivatives:
    """The programs of the gradient and the Hessian; `finite` as in `Program`."""

    g: Any
    H: Any
    finite: bool


@lru_cache(maxsize=256)
@numerics.computing()
def trace(f: Callable[..., Any], dim: int, shapes: Shapes) -> Program:
    """The program of f(x), or of f(data, x) with data of these shapes.

    Raises:
        NotCertifiable: it uses what has no interval form.
    """
    rules: list[str] = []

    def given(x: Any, *data: Any) -> Any:
        named = {name: a for (name, _, _), a in zip(shapes or (), data, strict=True)}
        return f(x) if shapes is None else f(named, x)

    traced = jax.make_jaxpr(given)(*_arguments(dim, shapes))

    def written_out(x: Any, *data: Any) -> Any:
        return _replay(traced.jaxpr, traced.consts, (x, *data), rules)[0]

    program = _needed(jax.make_jaxpr(written_out)(*_arguments(dim, shapes)))
    _check(program.jaxpr)
    if (shape := program.out_avals[0].shape) != ():
        raise NotCertifiable(f"values of shape {shape}")
    names = tuple(sorted(set(rules)))

    def own(x: Any, *data: Any) -> Any:
        return _replay(program.jaxpr, program.consts, (x, *data), [], branches=True)[0]

    depends = [True, *[False] * (len(program.jaxpr.invars) - 1)]
    smooth = is_smooth_everywhere(program.jaxpr, depends)
    return Program(program, own, names, smooth, _finite(program))


@lru_cache(maxsize=256)
@numerics.computing()
def differentiate(f: Callable[..., Any], dim: int, shapes: Shapes) -> Derivatives:
    """The programs of the derivatives of what `trace` returns; raises as it does."""
    own, arguments = trace(f, dim, shapes).own, _arguments(dim, shapes)
    g = jax.make_jaxpr(jax.grad(own))(*arguments)
    H = jax.make_jaxpr(jax.jacfwd(jax.grad(own)))(*arguments)
    for closed in (g, H):
        _check(closed.jaxpr)
    return Derivatives(g, H, _finite(g) and _finite(H))


def _arguments(dim: int, shapes: Shapes) -> list[Any]:
    data = [jax.ShapeDtypeStruct(shape, dtype) for _, shape, dtype in shapes or ()]
    return [jax.ShapeDtypeStruct((dim,), np.float64), *data]


def _replay(
    jaxpr: Any,
    consts: Sequence[Any],
    args: Sequence[Any],
    rules: list[str],
    branches: bool = False,
) -> list[Any]:
    """Carries out the operations one by one, functions written out, no rule of theirs kept.

    Args:
        rules: the names of such rules are added to it.
        branches: whether a maximum becomes a choice: JAX's own derivative of it asks whether two
            numbers are equal, which a box rarely decides.
    """
    made: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    made |= dict(zip(jaxpr.invars, args, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if hasattr(atom, "val") else made[atom]

    for eqn in jaxpr.eqns:
        name, inputs = eqn.primitive.name, [read(atom) for atom in eqn.invars]
        if name == "stop_gradient":
            rules.append(name)
            outputs = inputs
        elif name in ("max", "min") and branches:
            a, b = inputs
            outputs = [jnp.where(a >= b if name == "max" else a <= b, a, b)]
        elif name in CALLS:
            body = next(eqn.params[k] for k in BODIES if k in eqn.params)
            same = known(body) if name == "custom_jvp_call" else None
            if same is not None:
                outputs = [same(*inputs)]
            else:
                if name.startswith("custom"):
                    rules.append(_name_of(body))
                inner = getattr(body, "jaxpr", body)
                outputs = _replay(inner, getattr(body, "consts", ()), inputs, rules, branches)
        else:
            out = eqn.primitive.bind(*inputs, **eqn.primitive.get_bind_params(eqn.params))
            outputs = out if eqn.primitive.multiple_results else [out]
        made |= dict(zip(eqn.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _name_of(body: Any) -> str:
    info = getattr(getattr(body, "jaxpr", body), "debug_info", None)
    return str(getattr(info, "func_name", "")) or "a function"


def _needed(closed: Any) -> Any:
    """The program without operations that its result does not depend on."""
    needed, eqns = {id(v) for v in closed.jaxpr.outvars}, []
    for eqn in reversed(closed.jaxpr.eqns):
        if any(id(v) in needed for v in eqn.outvars):
            eqns.append(eqn)
            needed |= {id(v) for v in eqn.invars}
    return closed.replace(jaxpr=closed.jaxpr.replace(eqns=eqns[::-1]))


def _check(jaxpr: Any) -> None:
    """Raises at the first operation, or type of number, without an exact interval form."""
    for eqn in jaxpr.eqns:
        name, params = eqn.primitive.name, eqn.params
        if name in CALLS:
            body = next(params[k] for k in BODIES if k in params)
            _check(getattr(body, "jaxpr", body))
            continue
        if name not in NAMES:
            raise NotCertifiable(name)
        if name == "reduce_precision" and (
            params["exponent_bits"] < 11 or params["mantissa_bits"] < 52
        ):
            raise NotCertifiable(name)
        for var in eqn.outvars:
            dtype = str(var.aval.dtype)
            if dtype not in EXACT and name not in MOVES:  # float32 data may be moved about
                raise NotCertifiable(f"{dtype} arithmetic")
            if "int" in dtype and name not in INTEGERS:
                raise NotCertifiable(f"{name} of integers")


def _finite(closed: Any) -> bool:
    """Whether all numbers that are written in the program are finite."""

    def fine(value: Any) -> bool:
        return np.asarray(value).dtype.kind in "biu" or bool(np.isfinite(value).all())

    def written(jaxpr: Any) -> bool:
        for eqn in jaxpr.eqns:
            if not all(fine(atom.val) for atom in eqn.invars if hasattr(atom, "val")):
                return False
            for body in (eqn.params[k] for k in BODIES if k in eqn.params):
                consts = getattr(body, "consts", ())
                if not written(getattr(body, "jaxpr", body)) or not all(map(fine, consts)):
                    return False
        return True

    return all(map(fine, closed.consts)) and written(closed.jaxpr)
