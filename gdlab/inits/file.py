"""Starts from a file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from gdlab import registry
from gdlab.errors import UsageError
from gdlab.inits.draw import Draw, Starts, finite, fits
from gdlab.types import Objective

KINDS = ".csv, .csv.gz, .parquet or .npy"


@registry.init
def file(path: str, rows: list[int] | None = None) -> Draw:
    """The points of a file: a row each, d columns of numbers in order.

    The seed plays no part. Runs know the file by what it holds, not by its name alone.

    Args:
        path: .csv or .csv.gz (with a line of names above), .parquet, or .npy `[n, d]`.
        rows: places of the rows that are taken, from 0 (default: all).
    """
    return FromFile(path, None if rows is None else tuple(rows))


@dataclass(frozen=True)
class FromFile:
    """The draw of a file's rows."""

    path: str
    rows: tuple[int, ...] | None

    def __call__(self, objective: Objective, rng: np.random.Generator) -> Starts:
        said, found = f"init.path={self.path}", self._content()[0]
        if found.shape[1] != objective.dim:
            raise UsageError(
                f"{said}: has {found.shape[1]} columns; {objective.name} has dim {objective.dim}"
            )
        fits("path", len(found), len(found), objective)
        if self.rows is None:
            return found
        for row in self.rows:
            if not 0 <= row < len(found):
                raise UsageError(f"init.rows=[{row}]: {self.path} has rows 0 to {len(found) - 1}")
        return found[list(self.rows)]

    def digest(self) -> str:
        """Of what the file holds now."""
        return self._content()[1]

    def _content(self) -> tuple[Starts, str]:
        try:
            seen = Path(self.path).stat()
        except OSError as error:
            raise UsageError(f"init.path={self.path}: {error.strerror}") from None
        return _read(self.path, seen.st_mtime_ns, seen.st_size)


@lru_cache(maxsize=64)
def _read(path: str, changed: int, size: int) -> tuple[Starts, str]:
    """The points of a file as it was when it was last changed, and a digest of them."""
    said = f"init.path={path}"
    try:
        found = np.asarray(_table(path), float)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{said}: {' '.join(str(error).split())}; takes {KINDS}") from error
    if found.ndim == 1:
        found = found[:, None]
    if found.ndim != 2 or not found.size:
        raise UsageError(f"{said}: has shape {found.shape}; takes [n, d], n >= 1")
    finite("path", path, found)
    found.flags.writeable = False
    return found, hashlib.sha256(np.ascontiguousarray(found).tobytes()).hexdigest()[:12]


def _table(path: str) -> np.ndarray:
    if path.endswith(".npy"):
        return np.load(path, allow_pickle=False)
    import pandas as pd

    if path.endswith((".csv", ".csv.gz")):
        table = pd.read_csv(path)
    elif path.endswith(".parquet"):
        table = pd.read_parquet(path)
    else:
        raise UsageError(f"init.path={path}: takes {KINDS}")
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise UsageError(f"init.path={path}: column {name} holds texts; takes numbers")
    return table.to_numpy(float)
