"""`gdlab census` and `gdlab basins`: what a person sees of a survey, from 60 columns on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gdlab.analysis import tables
from gdlab.cli.terminal import Screen
from gdlab.launch.survey import Findings

SHOWN = 40
COORDINATES = 3  # of a point, in its cell
ZERO = 1e-12  # relative to the largest coordinate: what iteration leaves of a zero
# The columns of a census in the order of their weight: the last go first where there is no room.
WEIGHT = ("kind", "f", "x", "proved", "known", "|g|", "starts")


def show(survey: Callable[[Sequence[str]], Findings], args: Sequence[str], screen: Screen) -> int:
    """Carries a survey out and prints it; returns the exit code."""
    found = survey(args)
    table = found.table
    if "hits" in table:  # of basins, the summary says what the table says
        rows = points(table.head(SHOWN))
        columns = [str(name) for name in rows]
        while _width(rows[columns]) > screen.width and len(columns) > 3:
            columns.remove(next(c for c in reversed(WEIGHT) if c in columns))
        screen.table(rows[columns].to_numpy().tolist(), columns)
        if len(table) > SHOWN:
            screen.say(f"... and {len(table) - SHOWN:,} more, in points.csv of the tracked run")
    screen.say(found.summary)
    if found.folder is not None:
        folder = Path(found.folder)
        pictures = [name for name in found.files if name.endswith(".png")]
        for name in [*pictures, "points.csv"]:
            screen.tell(f"{'picture' if name in pictures else 'table'}: {_near(folder / name)}")
    if found.experiment is not None:
        screen.tell(f"look: gdlab ui {found.experiment}")
    return 0


def points(table: pd.DataFrame) -> pd.DataFrame:
    """The critical points of a census, a cell of text each; coordinates to six digits."""
    x = table[[c for c in table.columns if c[0] == "x" and c[1:].isdecimal()]].to_numpy(float)
    largest = np.abs(x).max(initial=0.0)
    x = np.where(np.abs(x) <= ZERO * largest, 0.0, x)
    more = ", ..." if x.shape[1] > COORDINATES else ""
    rows = pd.DataFrame(
        {
            "kind": [_kind(row) for row in table.to_dict("records")],
            "f": [tables.text(f, ".6g") for f in table["f"]],
            "x": [f"({', '.join(f'{v:.6g}' for v in p[:COORDINATES])}{more})" for p in x],
            "proved": [tables.text(v) for v in table["certified"]],
            "starts": [tables.text(v) for v in table["hits"]],
            "|g|": [tables.text(v, ".0e") for v in table["grad_norm"]],
        }
    )
    if "reached" in table and table["reached"].notna().any():
        rows.insert(4, "known", [tables.text(v) for v in table["reached"]])
    return rows


def _kind(row: dict[Any, Any]) -> str:
    kind = str(row["kind"])
    return f"saddle, index {row['index']}" if kind == "saddle" else kind.replace("_", " ")


def _width(rows: pd.DataFrame) -> int:
    """Columns of the terminal that a table takes, two between its own and one at each end."""
    cells = [[str(c), *rows[c]] for c in rows.columns]
    return sum(max(map(len, column)) + 2 for column in cells)


def _near(path: Path) -> Path:
    """The path from here, where it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
