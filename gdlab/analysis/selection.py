"""One run of a study out of its tables: its record, its path, its landscape."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float


def rows(table: pd.DataFrame, sweep: str, job: int = 0) -> pd.DataFrame:
    """The rows of one run: of `curves` in order of steps, of `ends` in order of starts."""
    found = table[(table["sweep"] == sweep) & (table["job"] == job)]
    return found.sort_values("step") if "step" in found else found


def path(curves: pd.DataFrame, sweep: str, job: int = 0) -> Float[np.ndarray, "T d"]:
    """The points x_t of one run, d <= 2."""
    found = rows(curves, sweep, job)
    names = [c for c in ("x0", "x1") if c in found and found[c].notna().any()]
    return found[names].to_numpy(float)


def graph(
    ends: pd.DataFrame, sweep: str, job: int = 0
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """x, f and f' on a grid of starts, d = 1; recorded is |f'|, and the sign is f's rise."""
    found = rows(ends, sweep, job).sort_values("start0")
    x, f = found["start0"].to_numpy(), found["loss"].to_numpy()
    return x, f, np.sign(np.gradient(f, x)) * found["grad_norm"].to_numpy()


def surface(
    ends: pd.DataFrame, sweep: str
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " k"], Float[np.ndarray, "m k"]]:
    """x1, x2 and f on a grid of starts, d = 2."""
    grid = rows(ends, sweep).pivot_table(index="start0", columns="start1", values="loss")
    return grid.index.to_numpy(), grid.columns.to_numpy(), grid.to_numpy()


def farthest(values: Float[np.ndarray, " n"] | pd.Series, expected: float) -> float:
    """The value that is farthest from what is expected."""
    values = np.asarray(values)
    return float(values[np.argmax(np.abs(values - expected))])
