"""How a number looks wherever gdlab shows one: in the terminal, in reports, on MLflow's pages."""

from __future__ import annotations

import ast
import contextlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

DIGITS = 6
ALL = 17  # digits, which tell all floats apart
# A float below its smallest normal number has lost its digits: as a result it is a zero.
TINY = float(np.finfo(np.float64).tiny)


def number(value: float, digits: int = DIGITS) -> str:
    """So many significant digits; no negative zero, and 0 for what has no digits left."""
    value = float(value)
    return f"{0.0 if abs(value) < TINY else value:.{digits}g}"


def numbers(values: Sequence[Any], digits: int = DIGITS) -> list[str]:
    """Values of one column or axis as text; different ones look different.

    Each gets so many digits; those that would look alike and differ get as many more as it takes
    to tell them apart.
    """
    alike: dict[str, list[Any]] = {}
    for value in values:
        alike.setdefault(written(value, digits), []).append(value)
    enough = {text: digits_of(those, digits) for text, those in alike.items()}
    return [written(v, enough[written(v, digits)]) for v in values]


def digits_of(values: Sequence[Any], digits: int = DIGITS) -> int:
    """So many digits, or as many more as it takes to tell values apart that differ."""
    distinct = len({written(v, ALL) for v in values})
    tried = (digits, digits + 3, digits + 6)
    return next((n for n in tried if len({written(v, n) for v in values}) == distinct), ALL)


def written(value: Any, digits: int = DIGITS) -> str:
    """A parameter's value as one would type it: `0.1`, `null`, `true`, `[1,2]`."""
    if value is None or is_na(value):
        return "null"
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if _is_float(value):
        return number(value, digits)
    if isinstance(value, list | tuple):
        return f"[{','.join(written(v, digits) for v in value)}]"
    text = str(value)
    if text.startswith("["):  # a list, as the store keeps it
        with contextlib.suppress(ValueError, SyntaxError):
            return written(ast.literal_eval(text), digits)
    return text


def is_na(value: Any) -> bool:
    """Whether the value is pandas' NA: there is none before pandas is imported."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and value is getattr(pandas, "NA", pandas)


def percent(count: float, of: float) -> str:
    """A share in whole percent; 0 and 100 are said of none and of all only."""
    if count <= 0 or count >= of:
        return "0%" if count <= 0 else "100%"
    return f"{min(max(round(100 * count / of), 1), 99)}%"


def counted(n: int, noun: str) -> str:
    """`1 run`, `1,000 runs`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _is_float(value: Any) -> bool:
    return isinstance(value, float | np.floating)
