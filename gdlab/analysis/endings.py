"""How a run ended, in one form, and its words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from gdlab.analysis.numbers import is_na, percent
from gdlab.types import Record, Records, Schedule

if TYPE_CHECKING:
    import pandas as pd


COORDINATES = 8  # of an end point
# What `gdlab.load` calls it all.
COLUMNS = ("status", "loss", "steps", "critical_kind", "morse_index", "reached", "grad_norm")
POINTS = ("minimum", "maximum", "saddle", "degenerate")  # kinds that are points

# What holds a descent still that has not converged: see `stopped_by`.
SCHEDULE, SEARCH, F_STAR, ROUNDING = "schedule", "search", "f_star", "rounding"
STILL = {
    SCHEDULE: "the schedule has ended: its last step sizes are 0",
    SEARCH: "the line search finds no acceptable step",
    F_STAR: "f is at or below f_star, so that Polyak's steps are 0",
    ROUNDING: "the steps are lost in rounding",
}


@dataclass(frozen=True)
class Ending:
    """How one run ended; of many starts, what is most common or in the middle.

    Attributes:
        status: `converged`, `budget` or `diverged`; of many starts, the most common one, or
            `diverged` where the median loss is infinite.
        loss: the last; of many starts, the median. What diverged is infinitely bad.
        steps: that it took; of many starts, their median.
        kind: what the end point is (`types.KINDS`); `mixed` where starts differ, None if not
            judged.
        index: Morse index of a critical point.
        reached: number of the known critical point, None where none is near.
        x: the end point's first coordinates.
        grad_norm: the last.
        still: what holds it still, a key of `STILL`; None where it moves or has converged.
    """

    status: str
    loss: float
    steps: float = float("nan")
    kind: str | None = None
    index: int | None = None
    reached: int | None = None
    x: tuple[float, ...] = ()
    grad_norm: float = float("nan")
    still: str | None = None

    @classmethod
    def of(
        cls,
        record: Record | Records,
        tail: Float[np.ndarray, "n m d"] | None = None,
        schedule: Schedule | None = None,
    ) -> Ending:
        """That of a descent, or of many.

        Args:
            tail: iterates after the last recorded step, see `Records.tail`.
            schedule: what gave the step sizes.
        """
        statuses = [str(s) for s in np.atleast_1d(record.status)]
        bad = np.array([status == "diverged" for status in statuses])
        loss = np.atleast_1d(np.asarray(record.final("loss"), float))
        loss = np.where(bad | ~np.isfinite(loss), np.inf, loss)
        middle = float(np.median(loss))
        held = Counter(s for s in statuses if s != "diverged") if np.isfinite(middle) else None
        single = isinstance(record, Record)
        verdicts = [record.verdict] if isinstance(record, Record) else list(record.verdicts or [])
        kinds = {v.kind for v in verdicts if v is not None}
        first = verdicts[0] if single and verdicts else None
        return cls(
            status=held.most_common(1)[0][0] if held else "diverged",
            loss=middle,
            steps=float(np.median(record.steps)),
            kind=(kinds.pop() if len(kinds) == 1 else "mixed") if kinds else None,
            index=first.index if first else None,
            reached=first.reached if first else None,
            x=tuple(record.x[:COORDINATES].tolist()) if single else (),
            grad_norm=float(np.median(record.final("grad_norm"))),
            still=stopped_by(record, tail, schedule),
        )

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Ending:
        """That of a stored run, from its tags and last metrics (a row of `gdlab.load`)."""
        status, kind = _given(row.get("status")), _given(row.get("critical_kind"))
        loss = _float(row.get("loss"))
        point = [_float(row[f"x{i}"]) for i in range(COORDINATES) if f"x{i}" in row]
        return cls(
            status=str(status or "unknown"),
            loss=loss if np.isfinite(loss) and status != "diverged" else float("inf"),
            steps=_float(row.get("steps")),
            kind=None if kind is None else str(kind).replace(" ", "_"),
            index=_int(row.get("morse_index")),
            reached=_int(row.get("reached")),
            x=tuple(v for v in point if v == v),
            grad_norm=_float(row.get("grad_norm")),
        )

    @property
    def label(self) -> str:
        """What the end point is, short: `minimum`, `saddle of index 1`; empty if not judged."""
        if self.kind == "saddle" and self.index is not None:
            return f"saddle of index {self.index}"
        return (self.kind or "").replace("_", " ")

    def words(self, place: str | None = None) -> str:
        """What became of the run: `reached a minimum at known point 0`.

        Args:
            place: where the known point lies, in words.
        """
        if self.status == "diverged":
            return "diverged"
        if self.kind is None:
            return self.status
        if self.kind == "not_critical":
            return "stopped short of a critical point"
        if self.kind == "undecided":
            return "came to rest at a point that its quick verdict leaves undecided"
        if self.kind == "mixed":
            return "its starts ended in points of several kinds"
        where = "" if self.reached is None else f" at {place or f'known point {self.reached}'}"
        return f"reached {'an' if self.label[0] in 'aeiou' else 'a'} {self.label}{where}"


def of_runs(runs: pd.DataFrame) -> list[Ending]:
    """Those of a table of runs, with the columns of `gdlab.load`."""
    names = [c for c in (*COLUMNS, *(f"x{i}" for i in range(COORDINATES))) if c in runs]
    return [Ending.of_row(row) for row in runs[names].to_dict(orient="records")]  # type: ignore[arg-type]


def stopped_by(
    record: Record | Records,
    tail: Float[np.ndarray, "n m d"] | None,
    schedule: Schedule | None,
) -> str | None:
    """What holds all of some descents still that used up their steps; None if any of them moves.

    Steps of size 0 are the schedule's own doing: an open loop has ended, a search found nothing,
    Polyak's step is 0 where f <= f_star. Others are lost in rounding: x + step is x.
    """
    if tail is None or (np.atleast_1d(record.status) != "budget").any():
        return None
    after = np.asarray(tail)
    eps = np.finfo(after.dtype).eps
    still = np.ptp(after, axis=1) <= 4 * eps * np.abs(after).max(axis=1)
    if not still.all():  # NaN rows, of what converged, are not still
        return None
    sizes = np.atleast_1d(record.final("step_size"))
    if schedule is None or (sizes != 0).any():
        return ROUNDING
    if schedule.sizes is not None:
        return SCHEDULE
    return F_STAR if "f_star" in schedule.params else SEARCH


def reached(endings: Sequence[Ending], place: Mapping[int, str] | None = None) -> str:
    """What runs ended in, most frequent first: `reached a minimum at known point 0 in all 2 runs`.

    Args:
        place: number of a known point -> where it lies, in words.
    """
    place = place or {}
    ends = Counter(e.words(place.get(-1 if e.reached is None else e.reached)) for e in endings)
    total = sum(ends.values())
    # Equally frequent ones by their words: a store gives its runs in another order.
    (first, count), *others = sorted(ends.items(), key=lambda end: (-end[1], end[0]))[:3]
    if count == total:
        every = f" in all {total:,} runs" if total > 1 else ""
        return first + every
    parts = [f"{first} in {count:,} of {total:,} runs", *(f"{end} in {n:,}" for end, n in others)]
    text = ", ".join(parts) + (", ..." if len(ends) > 3 else "")
    first, *rest = text.split("reached ")
    return "reached ".join([first, "".join(rest)]) if rest else text


def shares(endings: Sequence[Ending]) -> str:
    """`68% converged`, and what diverged where anything did."""
    counts = Counter(e.status for e in endings)
    n = len(endings)
    if counts["diverged"] == n:
        return "100% diverged"
    words = f"{percent(counts['converged'], n)} converged"
    return words + (f", {percent(counts['diverged'], n)} diverged" if counts["diverged"] else "")


def points(endings: Sequence[Ending]) -> dict[str, list[Any]]:
    """What was reached over a whole sweep, by columns, most frequent first.

    Columns: reached, index, known point (None where there is none), runs, share.
    """
    counts = Counter((e.label or "not judged", e.index, e.reached) for e in endings)
    rows = sorted(counts.items(), key=_frequent_first)
    return {
        "reached": [label for (label, _, _), _ in rows],
        "index": [index for (_, index, _), _ in rows],
        "known point": [known for (_, _, known), _ in rows],
        "runs": [n for _, n in rows],
        "share": [n / len(endings) for _, n in rows],
    }


def _frequent_first(counted: tuple[tuple[Any, ...], int]) -> tuple[Any, ...]:
    (label, index, known), n = counted
    return -n, label, -1 if index is None else index, -1 if known is None else known


def _given(value: Any) -> Any:
    """The value, or None where there is none."""
    return None if value is None or is_na(value) or value != value or value == "" else value


def _float(value: Any) -> float:
    value = _given(value)
    return float("nan") if value is None else float(value)


def _int(value: Any) -> int | None:
    """A number of a point; of runs that do not agree, none."""
    value = _given(value)
    try:
        return None if value is None else int(float(value))
    except ValueError:
        return None
