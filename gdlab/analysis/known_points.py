"""The known critical points of the objective that a run's parameters name."""

from __future__ import annotations

import ast
import contextlib
import functools
from collections.abc import Mapping
from typing import Any

from gdlab import registry
from gdlab.errors import UsageError
from gdlab.types import CriticalPoints, Objective

MOST_COORDINATES = 4  # of a place in words


def objective_of(params: Mapping[str, Any]) -> Objective | None:
    """The objective that a run's parameters name; None where they do not make one."""
    if "objective.name" not in params:
        return None
    keys = [
        (k.removeprefix("objective."), _hashable(v))
        for k, v in params.items()
        if k.startswith("objective.") and k != "objective.name" and v is not None and v == v
    ]
    return _objective(str(params["objective.name"]), tuple(keys))


def known_points(params: Mapping[str, Any]) -> CriticalPoints | None:
    """The inventory of the objective that a run's parameters name."""
    objective = objective_of(params)
    return objective.facts.critical_points if objective is not None else None


def places(params: Mapping[str, Any]) -> Mapping[int, str]:
    """Number of a known point -> where it lies: `(1, 1), known point 0`; few dimensions only."""
    objective = objective_of(params)
    return {} if objective is None else _places(objective)


@functools.lru_cache(maxsize=64)
def _places(objective: Objective) -> Mapping[int, str]:
    points = objective.facts.critical_points
    if points is None or points.x.shape[1] > MOST_COORDINATES:
        return {}
    return {
        i: f"({', '.join(f'{v:.4g}' for v in x + 0.0)}), known point {i}"
        for i, x in enumerate(points.x)
    }


@functools.lru_cache(maxsize=64)
def _objective(name: str, keys: tuple[tuple[str, Any], ...]) -> Objective | None:
    try:
        return registry.build("objective", name, dict(keys))
    except (UsageError, TypeError):
        return None


def _hashable(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("["):  # a list, as the store keeps it
        with contextlib.suppress(ValueError, SyntaxError):
            value = ast.literal_eval(value)
    return tuple(map(_hashable, value)) if isinstance(value, list) else value
