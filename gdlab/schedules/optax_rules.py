"""The schedules of optax by name: `schedule=optax/warmup_cosine_decay_schedule`.

optax's schedules are functions of the step; here they are evaluated before the descent, as data.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import jax
import numpy as np
import optax as library
from jaxtyping import Float, Int

from gdlab import numerics, registry
from gdlab.errors import UsageError, suggest
from gdlab.types import Schedule

NAMES = [
    "constant_schedule",
    "cosine_decay_schedule",
    "cosine_onecycle_schedule",
    "exponential_decay",
    "linear_onecycle_schedule",
    "linear_schedule",
    "piecewise_constant_schedule",
    "piecewise_interpolate_schedule",
    "polynomial_schedule",
    "sgdr_schedule",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
]
# Types of keys whose default does not tell.
HINTS: dict[str, Any] = {
    "decay_steps": int,
    "transition_steps": int,
    "warmup_steps": int,
    "transition_begin": int,
    "staircase": bool,
    "boundaries_and_scales": dict[int, float] | None,
    "interpolate_type": Literal["linear", "cosine"],
    "cosine_kwargs": list[dict[str, float]],
}
# `exponential_decay` takes None for "no end", the others a number.
OPTIONAL = {"exponential_decay": "end_value", "warmup_exponential_decay_schedule": "end_value"}
ROWS = 1024  # steps evaluated at a time: one shape, so that optax's operations are compiled once


@dataclass(frozen=True)
class Sizes:
    """t -> step sizes of an optax schedule with these arguments."""

    name: str
    arguments: tuple[tuple[str, Any], ...]

    def __call__(self, t: Int[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
        schedule = _schedule(self.name, self.arguments)
        parts = [t[i : i + ROWS] for i in range(0, len(t), ROWS)]
        with numerics.computing():
            found = [
                np.broadcast_to(schedule(np.resize(part, ROWS)), (ROWS,))[: len(part)]
                for part in parts
            ]
        return np.concatenate(found).astype(float)


def optax(name: str, **params: Any) -> Schedule:
    """A schedule of optax by name, e.g. `optax("cosine_decay_schedule", init_value=0.1, ...)`.

    Args:
        name: as in optax; `gdlab list schedules` has them all.
        params: keys of its signature.

    Needs: nothing.
    Guarantee: eta_t is optax's value at t, in float64.
    Reference: DeepMind et al. (2020), The DeepMind JAX Ecosystem; optax's own docstrings.

    Raises:
        UsageError: no such schedule, one that takes functions, no such key, or a value of the
            wrong type.
    """
    if reason := registry.REFUSED["schedule"].get(f"optax/{name}"):
        raise UsageError(f"schedule=optax/{name}: {reason}")
    if name not in NAMES:
        raise UsageError(f"schedule=optax/{name}: no such schedule; {suggest(name, NAMES)}")
    made = registry.build("schedule", f"optax/{name}", params)
    assert isinstance(made, Schedule)
    return made


def parameters(name: str) -> dict[str, inspect.Parameter]:
    """The keys of a schedule, with types and defaults, as its factory's signature."""

    def parameter(p: inspect.Parameter) -> inspect.Parameter:
        hint = HINTS.get(p.name, float)
        if p.name == OPTIONAL.get(name):
            hint = float | None
        return inspect.Parameter(p.name, p.KEYWORD_ONLY, default=p.default, annotation=hint)

    return {
        k: parameter(p) for k, p in inspect.signature(getattr(library, name)).parameters.items()
    }


def _factory(name: str) -> Callable[..., Schedule]:
    keys = parameters(name)

    def factory(**params: Any) -> Schedule:
        given = {key: p.default for key, p in keys.items()} | params
        sizes = Sizes(name, tuple((key, _frozen(value)) for key, value in given.items()))
        _schedule(name, sizes.arguments)  # what optax refuses, it refuses now
        return Schedule(f"optax/{name}", sizes=sizes)

    return registry.described(factory, f"optax/{name}", __name__, keys, _words(name))


def _words(name: str) -> str:
    """What optax says of its schedule, up to its arguments."""
    said = inspect.cleandoc(getattr(library, name).__doc__).partition("\nArgs:")[0].rstrip()
    return f"""{said}

Needs: nothing.
Guarantee: eta_t is optax's value at t.
Reference: optax's documentation of {name}.
"""


@lru_cache(maxsize=4096)
def _schedule(name: str, arguments: tuple[tuple[str, Any], ...]) -> Callable[[Any], Any]:
    """optax's function of one step, over many."""
    with numerics.computing():
        made = getattr(library, name)(**{key: _thawed(key, value) for key, value in arguments})
        return jax.vmap(made)


def _frozen(value: Any) -> Any:
    """What an argument holds, so that equal ones are equal and can be kept by."""
    if isinstance(value, dict):
        return tuple(sorted(value.items()))
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _thawed(key: str, value: Any) -> Any:
    if key == "boundaries_and_scales" and value is not None:
        return dict(value)
    return [dict(part) for part in value] if key == "cosine_kwargs" else value


for _name in NAMES:
    registry.schedule(_factory(_name))
