"""What a sweep found, in tables: its settings, ranked, and the points that they reached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gdlab.tracking.aggregate import End

SAME = 1e-12  # final losses so near to each other are equal: then the fewer steps win
POINTS = ("minimum", "maximum", "saddle", "degenerate")


@dataclass(frozen=True)
class Standing:
    """How one setting did over its seeds.

    Attributes:
        setting: swept parameter -> value, without the seed.
        ends: of its runs.
        loss, low, high: median, lowest and highest final loss; a diverged run is infinitely bad.
        steps: median.
    """

    setting: Mapping[str, Any]
    ends: Sequence[End]
    loss: float
    low: float
    high: float
    steps: float

    @classmethod
    def of(cls, setting: Mapping[str, Any], ends: Sequence[End]) -> Standing:
        loss = np.array([end.loss for end in ends])
        steps = np.array([end.steps for end in ends])
        middle = float(np.median(steps)) if np.isfinite(steps).all() else float("nan")
        return cls(
            setting, ends, float(np.median(loss)), float(loss.min()), float(loss.max()), middle
        )

    @property
    def diverged(self) -> int:
        """How many of its runs diverged."""
        return sum(end.status == "diverged" for end in self.ends)

    @property
    def words(self) -> str:
        """The setting, short: `eta=0.002 method=adam`."""
        return " ".join(f"{_short(k)}={text(v)}" for k, v in self.setting.items())

    @property
    def reached(self) -> str:
        """The point that most of its runs reached: `minimum at (1, 1)`, or `... (48 of 50)`."""
        points = Counter((end.kind, end.index, end.reached) for end in self.ends)
        (kind, index, known), count = points.most_common(1)[0]
        words = f"saddle of index {index}" if kind == "saddle" else kind.replace("_", " ")
        same = [e for e in self.ends if (e.kind, e.index, e.reached) == (kind, index, known)]
        if kind in POINTS:
            x = min(same, key=lambda end: end.loss).x
            words += f" at ({', '.join(f'{v:.4g}' for v in (np.round(x, 6) + 0.0)[:4])}"
            words += ", ...)" if len(x) > 4 else ")"
            if len(same) > 1 and not known and np.ptp([e.loss for e in same]) > 1e-6:
                words = f"a {kind.replace('_', ' ')}"
        if not words:
            return "end points not judged"
        share = "" if count == len(self.ends) else f" ({count:,} of {len(self.ends):,})"
        return words + share


def ranked(standings: Sequence[Standing]) -> list[Standing]:
    """Lowest median loss first; of those that share the lowest, the fewest steps first."""
    order = sorted(standings, key=lambda s: (s.loss, s.steps))
    if not order:
        return []
    bound = order[0].loss + SAME * max(1.0, abs(order[0].loss))
    tied = [s for s in order if s.loss <= bound]
    return sorted(tied, key=lambda s: s.steps) + order[len(tied) :]


def by_objective(standings: Sequence[Standing]) -> dict[str, list[Standing]]:
    """Objective -> its settings, ranked: losses of different functions are not compared."""
    parts: dict[str, list[Standing]] = {}
    for s in standings:
        own = {k: v for k, v in s.setting.items() if k.startswith("objective.")}
        rest = {k: v for k, v in s.setting.items() if k not in own}
        name = Standing(own, (), 0, 0, 0, 0).words
        parts.setdefault(name, []).append(
            Standing(rest, s.ends, s.loss, s.low, s.high, s.steps) if own else s
        )
    return {name: ranked(part) for name, part in parts.items()}


def leaderboard(standings: Sequence[Standing]) -> pd.DataFrame:
    """One row a setting, best first: rank, swept parameters, loss, steps, verdicts, run id."""
    many = any(len(s.ends) > 1 for s in standings)
    rows = []
    for name, part in by_objective(standings).items():
        for rank, s in enumerate(part, 1):
            row: dict[str, Any] = {"objective": name} if name else {}
            row |= {"rank": rank, **s.setting, "loss": s.loss}
            if many:
                row |= {"lowest": s.low, "highest": s.high, "runs": len(s.ends)}
            row |= {"steps": s.steps, "diverged": s.diverged, "reached": s.reached}
            rows.append(row)
    return pd.DataFrame(rows)


def points(ends: Sequence[End]) -> pd.DataFrame:
    """What was reached over the whole sweep: kind, index, known point, runs, share."""
    counts = Counter((end.kind, end.index, end.reached) for end in ends)
    rows = [
        {
            "reached": kind.replace("_", " ") or "not judged",
            "index": index,
            "known point": known,
            "runs": n,
            "share": n / len(ends),
        }
        for (kind, index, known), n in counts.most_common()
    ]
    return pd.DataFrame(rows)


def _short(key: str) -> str:
    """`schedule.eta` -> `eta`, `method.name` -> `method`."""
    group, _, last = key.rpartition(".")
    return group if last == "name" else last


def text(value: Any) -> str:
    """A parameter's value, short."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
