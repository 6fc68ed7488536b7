"""A sweep as a product of axes, counted before any of it is written out.

An axis is a list of rows, a row a list of overrides:

    seed=1,2,3                        one axis of 3 rows
    zip of seed=1,2,3 and eta=4,5,6   one axis of 3 rows, each of which sets both
    a file of points                  one axis, each row of which sets all columns
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from hydra.core.override_parser.types import Override, RangeSweep

from gdlab.errors import UsageError

Row = tuple[str, ...]
# Ranges of floats are counted by walking them, up to so many values; beyond, by their ends.
WALKED = 1_000_000


@dataclass(frozen=True)
class Axis:
    """Rows of overrides, of which each job takes one.

    Attributes:
        keys: what its rows set, as typed (`seed`, `+x`, `db@backup`).
        words: how messages name it.
        count: number of rows (an int, or `math.inf`).
        rows: writes them out.
        source: the file that it comes from, as messages name it.
    """

    keys: tuple[str, ...]
    words: str
    count: float
    rows: Callable[[], Sequence[Row]]
    source: str | None = None


@dataclass(frozen=True)
class Grid:
    """The product of axes, the last one fastest."""

    axes: Sequence[Axis]

    @property
    def count(self) -> float:
        return math.prod(axis.count for axis in self.axes)

    def check_size(self, max_jobs: Any) -> None:
        """Raises a `UsageError` that says the count where it is above `max_jobs`."""
        if isinstance(max_jobs, bool) or not isinstance(max_jobs, int) or max_jobs < 1:
            raise UsageError(f"max_jobs={max_jobs}: takes a whole number >= 1")
        if self.count > max_jobs:
            product = " x ".join(f"{a.words} {_said(a.count)}" for a in self.axes if a.count != 1)
            raise UsageError(
                f"max_jobs={max_jobs}: the sweep has {_said(self.count)} jobs ({product}); "
                f"shorten an axis or set max_jobs"
            )

    def jobs(self) -> Iterator[list[str]]:
        """The overrides of each job."""
        for rows in itertools.product(*(axis.rows() for axis in self.axes)):
            yield [line for row in rows for line in row]


def axis_of(o: Override) -> Axis:
    """The axis of one override; of a single row where it is not swept.

    Raises:
        UsageError: it has no value, or no list of values.
    """
    key = o.get_key_element()
    if not o.is_sweep_override():
        line = f"{key}={o.get_value_element_as_str()}"
        return Axis((key,), key, 1, lambda: [(line,)])
    if not o.is_discrete_sweep():
        raise UsageError(
            f"{o.input_line}: an interval has no list of values; "
            "use range or choice, or an optimizing sweeper (hydra/sweeper=optuna)"
        )
    count = _count(o)
    if count == 0:
        kind = "range" if o.is_range_sweep() else "choice"
        raise UsageError(f"{o.input_line}: an empty {kind}, so the sweep has no job")
    return Axis((key,), key, count, lambda: [(f"{key}={v}",) for v in o.sweep_string_iterator()])


def zipped(parts: Sequence[Axis], said: str) -> Axis:
    """Axes that are walked side by side, as one; `said` names the zip in messages."""
    if len({part.count for part in parts}) > 1:
        counts = ", ".join(f"{part.words} has {part.count:,}" for part in parts)
        raise UsageError(f"{said}: the axes differ in length ({counts} values)")
    keys = tuple(key for part in parts for key in part.keys)
    return Axis(
        keys,
        f"({', '.join(keys)})",
        parts[0].count,
        lambda: [tuple(itertools.chain(*rows)) for rows in zip(*(p.rows() for p in parts))],
    )


def _count(o: Override) -> float:
    """Number of values, of a long range without writing it out."""
    sweep = o._value
    if not isinstance(sweep, RangeSweep):
        return sum(1 for _ in o.sweep_iterator())
    start, stop, step = sweep.start or 0, sweep.stop or 0, sweep.step
    if step == 0:
        raise UsageError(f"{o.input_line}: the step of a range is not 0")
    values = sweep.range()
    if isinstance(values, range):
        return len(values)
    try:
        n = (Decimal(stop) - Decimal(start)) / Decimal(step)
        about = math.inf if n.is_infinite() and n > 0 else max(0, math.ceil(n))
        # Hydra adds the step again and again, and each sum is rounded: range(1.0,1.8,0.1) has
        # nine values. What the ends say is right to a value or so.
        return about if about > WALKED else sum(1 for _ in values)
    except (InvalidOperation, ValueError, OverflowError):
        raise UsageError(f"{o.input_line}: the ends of a range are numbers") from None


def _said(count: float) -> str:
    return f"{count:,}" if count < 10**15 else f"{float(min(count, 10**308)):.0e}"
