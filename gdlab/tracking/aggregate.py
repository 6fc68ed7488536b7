"""Aggregate runs: of all jobs that differ in the seed alone, the median curve and its quantiles.

Curves are gathered while a sweep's runs are stored, on a grid of record points that is thinned
to what a dashboard can show, so that memory and the size of the aggregates stay bounded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gdlab.analysis.endings import Ending
from gdlab.analysis.statistics import ordered_quantiles
from gdlab.tracking import keys
from gdlab.tracking.keys import RunData
from gdlab.tracking.metrics import QUANTILES, log10_of

CURVES = ("loss", "grad_norm", "step_size")
LABELS = ("", "_q10", "_q90")
POINTS = 100  # of a curve, at most
ROWS = 400_000  # metric rows of all aggregates of a sweep
BYTES = 64 * 2**20  # of the gathered curves
SLAB = 200  # groups at once


def ending_of(run: RunData) -> Ending:
    """How a run ended, as its page says it."""
    last = {name: values[-1] for name, (_, values) in run.metrics.items() if len(values)}
    return Ending.of_row({**last, **run.tags})


class Gathered:
    """The ends and thinned curves of a sweep's runs, and the groups that they belong to.

    Args:
        groups: of each job, the number of its group, from 0.
        marks: of each job, the steps that it records, ascending from 0.
    """

    def __init__(
        self, groups: Sequence[int], marks: Sequence[Int[np.ndarray, " K"] | None]
    ) -> None:
        self.group = np.array(groups)
        self.groups = int(self.group.max()) + 1
        points = int(np.clip(ROWS // (4 * len(CURVES) * self.groups), 8, POINTS))
        points = max(8, min(points, BYTES // (8 * len(CURVES) * len(groups))))
        self.grids: list[Int[np.ndarray, " P"]] = [np.zeros(1, np.int64)] * self.groups
        for g, mark in zip(self.group[::-1], marks[::-1], strict=True):
            if mark is not None:  # the first job of a group speaks for it
                self.grids[g] = thinned(mark, points)
        shape = (len(groups), max(len(grid) for grid in self.grids))
        self.curves = {name: np.full(shape, np.nan) for name in CURVES}
        self.ends: dict[int, Ending] = {}

    def keep(self, i: int, run: RunData) -> None:
        """Takes job i's run: its end and, on its group's grid, its curves."""
        end = self.ends[i] = ending_of(run)
        grid = self.grids[self.group[i]]
        steps, row = None, np.zeros(0, np.int64)
        for name, table in self.curves.items():
            if name not in run.metrics:
                continue
            at, values = run.metrics[name]
            if not len(at):
                continue
            if at is not steps:
                steps, row = at, np.searchsorted(at, grid, side="right") - 1
            curve = np.asarray(values, float)[np.maximum(row, 0)]
            curve[row < 0] = np.nan
            if name != "step_size":
                curve[~np.isfinite(curve)] = np.inf
                if end.status == "diverged" and end.steps == end.steps:
                    curve[grid >= end.steps] = np.inf
            table[i, : len(grid)] = curve

    def members(self) -> list[list[int]]:
        """The jobs of each group that have ended."""
        found: list[list[int]] = [[] for _ in range(self.groups)]
        for i in sorted(self.ends):
            found[self.group[i]].append(i)
        return found

    def quantiles(self) -> Iterator[tuple[int, dict[str, Float[np.ndarray, "3 P"]]]]:
        """(group, name -> median and two quantiles at each step of its grid), group by group."""
        sizes: dict[tuple[int, int], list[int]] = {}
        members = self.members()
        for g, jobs in enumerate(members):
            if jobs:
                sizes.setdefault((len(jobs), len(self.grids[g])), []).append(g)
        for (_, points), groups in sizes.items():
            for a in range(0, len(groups), SLAB):
                some = groups[a : a + SLAB]
                rows = np.array([members[g] for g in some])
                bands = {
                    name: middle_and_band(table[rows, :points])
                    for name, table in self.curves.items()
                }
                for k, g in enumerate(some):
                    yield g, {name: band[:, k] for name, band in bands.items()}

    def ranges(self, names: Sequence[str]) -> dict[str, tuple[float, float]]:
        """log10 of what charts show: up to ten times the start, where a descent diverged."""
        if all(end.status != "diverged" for end in self.ends.values()):
            return {}
        ranges = {}
        for name in names:
            values = self.curves[name]
            seen = values[np.isfinite(values) & (values > 0)]
            first = values[:, 0][np.isfinite(values[:, 0])]
            if len(seen) and (first > 0).any():
                low = max(float(np.log10(seen.min())), -16.0)
                ranges[name] = (low - 0.3, float(np.log10(first.max())) + 1)
        return ranges


def thinned(marks: Int[np.ndarray, " K"], points: int) -> Int[np.ndarray, " P"]:
    """At most so many of the marks, evenly by number, the first and last among them."""
    if len(marks) <= points:
        return np.asarray(marks)
    return np.asarray(marks)[np.unique(np.linspace(0, len(marks) - 1, points).round().astype(int))]


def middle_and_band(values: Float[np.ndarray, "g n P"]) -> Float[np.ndarray, "3 g P"]:
    """Median and the two quantiles over axis 1; inf is infinitely bad, NaN is left out."""
    return ordered_quantiles(np.moveaxis(values, 1, 0), (0.5, *QUANTILES.values()))


def metrics_of(
    grid: Int[np.ndarray, " P"],
    bands: Mapping[str, Float[np.ndarray, "3 P"]],
    ends: Sequence[Ending],
    rank: int,
) -> dict[str, tuple[Any, Any]]:
    """An aggregate's metrics: curves under the names that runs use, and counts and shares."""
    steps = np.array([end.steps for end in ends])
    longest = np.nanmax(steps) if np.isfinite(steps).any() else 0.0
    # Nothing moves once the last descent has ended.
    points = min(int(np.searchsorted(grid, longest)) + 1, len(grid))
    grid = grid[:points]
    metrics: dict[str, tuple[Any, Any]] = {}
    for name, rows in bands.items():
        for label, row in zip(LABELS, rows[:, :points], strict=True):
            if np.isfinite(row).any():
                metrics[name + label] = (grid, row)
        if name in metrics:
            metrics[f"log10_{name}"] = (grid, log10_of(metrics[name][1]))
    last = grid[-1:]
    numbers = {"runs": float(len(ends)), "steps": float(np.nanmedian(steps))}
    numbers[keys.RANK] = float(rank)
    for prefix, values in (
        ("", Counter(end.status for end in ends)),
        ("", Counter(end.kind for end in ends if end.kind and end.kind != "diverged")),
        ("reached_", Counter(str(end.reached) for end in ends if end.reached is not None)),
    ):
        for name, count in values.items():
            numbers[f"share_{prefix}{name}"] = count / len(ends)
    return metrics | {name: (last, np.array([value])) for name, value in numbers.items()}


def verdict_tags(ends: Sequence[Ending]) -> dict[str, str]:
    """What all of the runs agree on; `mixed` where they do not."""
    tags = {}
    for tag, values in (
        (keys.STATUS, [end.status for end in ends]),
        (keys.CRITICAL_KIND, [end.kind for end in ends]),
        (keys.MORSE_INDEX, [end.index for end in ends]),
        (keys.REACHED, [end.reached for end in ends]),
    ):
        seen = set(values)
        if seen != {None}:
            tags[tag] = str(values[0]) if len(seen) == 1 else "mixed"
    return tags
