"""`gdlab census` and `gdlab basins`: what a person sees of a survey."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from gdlab.cli.terminal import Screen
from gdlab.launch.survey import Findings

SHOWN = 40


def show(survey: Callable[[Sequence[str]], Findings], args: Sequence[str], screen: Screen) -> int:
    """Carries a survey out and prints it; returns the exit code."""
    found = survey(args)
    table = found.table
    shown = [[_text(key, value) for key, value in row.items()] for row in _head(table)]
    screen.table(shown, [str(c) for c in table.columns])
    if len(table) > SHOWN:
        screen.say(f"... and {len(table) - SHOWN:,} more, in points.csv of the tracked run")
    screen.say(found.summary)
    if found.experiment is not None:
        screen.tell(f"look: gdlab ui {found.experiment}")
    return 0


def _head(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table.head(SHOWN).to_dict("records")


def _text(key: Any, value: Any) -> str:
    if value is None or value is pd.NA or value != value:
        return ""
    if isinstance(value, float):
        return f"{value:.1e}" if key == "grad_norm" else f"{value:.10g}"
    return str(value)
