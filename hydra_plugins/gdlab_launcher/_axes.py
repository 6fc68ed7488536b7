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

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep
from omegaconf import OmegaConf

from gdlab.errors import UsageError

Row = tuple[str, ...]


@dataclass(frozen=True)
class Axis:
    """Rows of overrides, of which each job takes one.

    Attributes:
        keys: what its rows set, as typed (`seed`, `+x`, `db@backup`).
        words: how messages name it.
        count: number of rows (an int, or `math.inf`).
        rows: writes them out.
    """

    keys: tuple[str, ...]
    words: str
    count: float
    rows: Callable[[], Sequence[Row]]


@dataclass(frozen=True)
class Grid:
    """The product of axes, the last one fastest."""

    axes: Sequence[Axis]
    points: str | None = None

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

    def batch_size(self, max_batch_size: Any) -> int:
        if max_batch_size is None:
            return max(1, int(self.count))
        if not isinstance(max_batch_size, int) or max_batch_size < 1:
            raise UsageError(
                f"hydra.sweeper.max_batch_size={max_batch_size}: takes a whole number >= 1, "
                "or null for all jobs at once"
            )
        return max_batch_size

    def jobs(self) -> Iterator[list[str]]:
        """The overrides of each job."""
        for rows in itertools.product(*(axis.rows() for axis in self.axes)):
            yield [line for row in rows for line in row]

    def check_columns(self, composer: Any, config: Any) -> None:
        """Raises a `UsageError` for the first column of the file that is no key of the app."""
        if self.points is None:
            return
        new = [
            key
            for key in self.axes[0].keys
            if not key.startswith("+")
            and not composer.shelf.exists_group(key.split("@")[0])
            and OmegaConf.select(config, key, throw_on_missing=False) is None
        ]
        if not new:  # the keys of other choices of groups are known when jobs are composed
            return
        first = next(self.jobs())
        for key in new:
            others = [o for o in first if o.split("=")[0] not in new]
            (mine,) = (o for o in first if o.split("=")[0] == key)
            try:
                composer.task(others)
            except Exception:
                return  # another override is wrong, and is named when the jobs are composed
            try:
                composer.task([*others, mine])
            except Exception as error:
                from gdlab.launch.config import explained

                said = str(explained(error, others) or "no such key").partition("; ")[2]
                hint = f"; {said}" if said else ""
                raise UsageError(
                    f"hydra.sweeper.points={self.points}: column {key} is no key{hint}"
                ) from error


def plan(lines: Sequence[str], loader: Any, zipped: Any, points: str | None) -> Grid:
    """The grid that overrides, a zip and a file of points span.

    Args:
        lines: overrides, swept or not; a later one of the same key replaces the former.
        loader: Hydra's config loader, which knows the choices that `glob` stands for.
        zipped: keys to pair, or lists of keys.
        points: path of a CSV or Parquet file.
    """
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(lines))
    axes = {o.get_key_element(): _axis(o) for o in parsed}
    for keys in _groups(zipped):
        _zip(axes, keys)
    first: list[Axis] = []
    if points is not None:
        from hydra_plugins.gdlab_launcher._points import read

        keys, rows = read(points)
        for key in keys:
            if key in axes or any(key in axis.keys for axis in axes.values()):
                raise UsageError(
                    f"{key}: both a column of hydra.sweeper.points={points} and an override; "
                    "leave one of them out"
                )
        first = [Axis(keys, points, len(rows), lambda: rows)]
    return Grid([*first, *dict.fromkeys(axes.values())], points)


def _axis(o: Override) -> Axis:
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


def _count(o: Override) -> float:
    """Number of values, without writing a range out."""
    sweep = o._value
    if not isinstance(sweep, RangeSweep):
        return sum(1 for _ in o.sweep_iterator())
    start, stop, step = sweep.start, sweep.stop, sweep.step
    if step == 0:
        raise UsageError(f"{o.input_line}: the step of a range is not 0")
    values = sweep.range()
    if isinstance(values, range):
        return len(values)
    try:
        n = (Decimal(stop) - Decimal(start)) / Decimal(step)
        return math.inf if n.is_infinite() and n > 0 else max(0, math.ceil(n))
    except (InvalidOperation, ValueError, OverflowError):
        raise UsageError(f"{o.input_line}: the ends of a range are numbers") from None


def _said(count: float) -> str:
    return f"{count:,}" if count < 10**15 else f"{float(min(count, 10**308)):.0e}"


def _groups(zipped: Any) -> list[list[str]]:
    if zipped is None:
        return []
    if OmegaConf.is_config(zipped):
        zipped = OmegaConf.to_container(zipped)
    groups = zipped if isinstance(zipped, list) else None
    if groups and not any(isinstance(g, list) for g in groups):
        groups = [groups]
    if not groups or not all(
        isinstance(g, list) and len(g) > 1 and all(isinstance(k, str) for k in g) for g in groups
    ):
        raise UsageError(
            f"hydra.sweeper.zip={zipped}: takes two keys or more, as [seed,schedule.eta], "
            "or a list of such lists"
        )
    return groups


def _zip(axes: dict[str, Axis], keys: Sequence[str]) -> None:
    """Makes one axis of several, in the place of each."""
    said = f"hydra.sweeper.zip=[{','.join(keys)}]"
    if len(set(keys)) < len(keys):
        raise UsageError(f"{said}: names a key twice")
    swept = [key for key, axis in axes.items() if axis.count > 1]
    for key in keys:
        if key not in axes:
            raise UsageError(f"{said}: {key} is not swept; swept: {', '.join(swept) or 'nothing'}")
        if len(axes[key].keys) > 1:
            raise UsageError(f"{said}: {key} is in another zip already")
    parts = [axes[key] for key in keys]
    if len({part.count for part in parts}) > 1:
        counts = ", ".join(f"{part.words} has {part.count:,}" for part in parts)
        raise UsageError(f"{said}: the axes differ in length ({counts} values)")
    whole = Axis(
        tuple(keys),
        f"({', '.join(keys)})",
        parts[0].count,
        lambda: [tuple(itertools.chain(*rows)) for rows in zip(*(p.rows() for p in parts))],
    )
    for key in keys:
        axes[key] = whole
