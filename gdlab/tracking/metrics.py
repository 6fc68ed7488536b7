"""The metrics of a tracked run: curves, final values, quantiles over many starts."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from gdlab.analysis.endings import COORDINATES
from gdlab.analysis.statistics import ordered_quantiles
from gdlab.types import COLUMNS, Record, Records, Verdict

FINAL = ("loss", "grad_norm", "gap", "distance", "f_evals", "grad_evals", "hvp_evals")
LOG10 = ("loss", "grad_norm", "gap", "step_size")
QUANTILES = {"q10": 0.1, "q90": 0.9}
BAD = ("loss", "gap", "grad_norm")  # infinite of a descent that diverged
Curve = tuple[np.ndarray, np.ndarray]


def single(record: Record, curves: Sequence[str], log10: bool) -> dict[str, Curve]:
    """Metrics of one descent: its curves, and the final values of everything.

    Args:
        curves: columns to keep at every recorded step.
        log10: whether to keep curves of their logarithms too (the UI's log axis ends at 1e-6).
    """
    step, end = record.columns["step"], record.columns["step"][-1:]
    metrics: dict[str, Curve] = {}
    for name in curves:
        metrics[name] = (step, record.columns[name]) if name in record.columns else (end, end)
        if log10 and name in LOG10:
            metrics[f"log10_{name}"] = (step, _drawn(record, name))
    metrics["steps"] = (end, end)
    extra = [name for name in record.columns if name not in COLUMNS and name not in metrics]
    for name in (*FINAL, *extra):
        if name in record.columns:
            metrics.setdefault(name, (end, record.columns[name][-1:]))
    for name in LOG10:
        if name in record.columns:
            metrics.setdefault(f"log10_{name}", (end, _drawn(record, name)[-1:]))
    for i, x in enumerate(record.x[:COORDINATES]):
        metrics[f"x{i}"] = (end, np.array([x]))
    return metrics


def population(records: Records, curves: Sequence[str]) -> dict[str, Curve]:
    """Metrics of many starts as one run: median and quantile curves, shares of what was reached.

    A descent that has ended keeps its last values; one that diverged is infinitely bad.
    """
    steps, filled = _filled(records, [*curves, "gap"])
    metrics: dict[str, Curve] = {}
    for name, values in filled.items():
        if not np.isfinite(values).any():
            continue
        middle, *band = ordered_quantiles(values, (0.5, *QUANTILES.values()))
        metrics[name] = (steps, middle)
        if name in LOG10:
            metrics[f"log10_{name}"] = (steps, log10_of(middle))
        for label, values_of in zip(QUANTILES, band, strict=True):
            metrics[f"{name}_{label}"] = (steps, values_of)
    end = steps[-1:]
    metrics["steps"] = (end, np.array([float(np.median(records.steps))]))
    metrics["starts"] = (end, np.array([float(len(records))]))
    for status in ("converged", "budget", "diverged"):
        metrics[f"share_{status}"] = (end, np.array([np.mean(records.status == status)]))
    if records.verdicts is not None:
        for name, count in _counts(records.verdicts).items():
            metrics[f"share_{name}"] = (end, np.array([count / len(records)]))
    return metrics


def log_spaced(steps: np.ndarray, points: int) -> Int[np.ndarray, " k"]:
    """Places of so many of the steps, which ascend: the first, the last, logarithmic between.

    Whatever spacing the steps have: where they are too few for a logarithmic one, all of them.
    """
    return _log_spaced(np.ascontiguousarray(steps, np.int64).tobytes(), points)


@functools.lru_cache(maxsize=4096)
def _log_spaced(content: bytes, points: int) -> np.ndarray:
    """Jobs of a sweep share their steps, and a run's curves do."""
    steps = np.frombuffer(content, np.int64)
    k = np.arange(points)
    aim = np.geomspace(steps[0] + 1, steps[-1] + 1, points) - 1
    near = np.searchsorted(steps, aim - 1e-6 * (aim + 1))
    # Each one further than the one before, and room for those to come.
    return np.minimum(np.maximum.accumulate(near - k) + k, len(steps) - points + k)


def _drawn(record: Record, name: str) -> np.ndarray:
    """log10 of a column, for charts: of a descent that diverges, only what is within 10^3 of its
    start (charts of logarithms would show nothing but the divergence)."""
    values = log10_of(record.columns[name])
    if record.status == "diverged":
        values = np.where(values > values[0] + 3, np.nan, values)
    return values


def log10_of(values: np.ndarray) -> np.ndarray:
    """log10, NaN where there is none (those points are left out)."""
    positive = np.asarray(values) > 0
    return np.log10(values, where=positive, out=np.full(np.shape(values), np.nan))


def _counts(verdicts: Sequence[Verdict]) -> Counter[str]:
    counts = Counter(v.kind for v in verdicts)
    counts.update(f"reached_{v.reached}" for v in verdicts if v.reached is not None)
    return counts


def _filled(records: Records, names: Sequence[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Columns at the common record points, each descent's last value carried on.

    Of what diverged, costs (see `BAD`) are infinite from its last row on.
    """
    longest = int(records.length.max())
    row = np.minimum(np.arange(longest), records.length[:, None] - 1)
    steps = records.columns["step"][int(np.argmax(records.length)), :longest]
    gone = (records.status == "diverged")[:, None]
    gone = gone & (np.arange(longest) >= records.length[:, None] - 1)
    found = {}
    for name in names:
        if name in records.columns:
            values = np.take_along_axis(records.columns[name], row, axis=1).astype(float)
            known = np.isfinite(values).any()  # a gap to an unknown minimum is no number
            found[name] = np.where(gone, np.inf, values) if name in BAD and known else values
    return steps, found
