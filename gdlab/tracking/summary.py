"""What the summary of a sweep says: its text and its figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gdlab.analysis import endings, tables
from gdlab.analysis.endings import Ending
from gdlab.analysis.numbers import written
from gdlab.analysis.ranking import Standing
from gdlab.tracking import aggregate
from gdlab.tracking.aggregate import Gathered

SHOWN_ROWS = 20
DRAWN = ("loss", "grad_norm")
LINES = 7  # of the figure, where no number tells them apart
MANY_LINES = 40


def report(
    line: str,
    table: pd.DataFrame,
    ends: Sequence[Ending],
    jobs: int,
    failed: int,
    command: str,
    pooled: bool,
) -> str:
    """The text of a sweep's summary.

    Args:
        line: who won.
        table: the standings, best first.
        ends: how the runs ended; `failed` more did not.
        jobs: how many there are.
        command: what repeats them.
        pooled: whether the summary keeps their records.
    """
    counts = Counter(end.status for end in ends)
    words = ", ".join(f"{n:,} {status}" for status, n in counts.most_common())
    lost = f", {failed:,} failed" if failed else ""
    parts = [
        f"**{line}**",
        f"{jobs:,} runs: {words}{lost}.",
        tables.markdown(table.head(SHOWN_ROWS)),
    ]
    if len(table) > SHOWN_ROWS:
        parts.append(f"The best {SHOWN_ROWS} of {len(table):,}; table.csv has all.")
    parts += ["What was reached:", tables.markdown(endings.points(ends).head(SHOWN_ROWS))]
    if pooled:
        parts.append(
            "Every recorded step of every run: "
            '`pandas.read_parquet("records")` in this run\'s artifacts.'
        )
    return "\n\n".join([*parts, f"Again: `{command}`"])


def figure(
    gathered: Gathered,
    standings: Mapping[int, Standing],
    bands: Mapping[int, Mapping[str, np.ndarray]],
    over: Sequence[str],
    seeds: bool,
    title: str,
) -> bytes | None:
    """Median curves and bands, as PNG; None where nothing moved.

    Args:
        standings: of the groups that were gathered.
        bands: their quantiles; three curves stand for each choice where there are `seeds`.
        over: the parameters that were chosen.
    """
    from gdlab.figures import curves, style

    by = over[0] if len(over) == 1 else "choice"
    value = {g: s.params.get(by) for g, s in standings.items()}
    order = sorted(standings, key=lambda g: standings[g].rank)
    order = [g for g in order if np.isfinite(standings[g].loss)] or order
    some = order[:LINES]
    if by != "choice" and all(is_number(v) for v in value.values()):
        whole = sorted(order, key=lambda g: value[g] or 0)
        some = [whole[i] for i in aggregate.thinned(np.arange(len(whole)), MANY_LINES)]
    parts = []
    for g in some:
        grid, longest = gathered.grids[g], max(e.steps for e in standings[g].endings)
        points = min(int(np.searchsorted(grid, longest)) + 1, len(grid))
        words = " ".join(written(standings[g].params.get(k)) for k in over) or "all"
        label = value[g] if is_number(value[g]) else words
        for q in range(3) if seeds else range(1):
            part = {name: _drawable(bands[g][name][q, :points]) for name in DRAWN}
            parts.append(
                pd.DataFrame({"run_id": f"{g}/{q}", "step": grid[:points], by: label, **part})
            )
    whole_table = pd.concat(parts, ignore_index=True)
    if not whole_table["loss"].notna().any() or whole_table["step"].max() < 1:
        return None
    drawn = curves.curve_figure(
        whole_table, by=by if over else None, values=DRAWN, quantiles=(0.0, 1.0)
    )
    return style.rendered(drawn, "png", dpi=150, title=title)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _drawable(values: np.ndarray) -> np.ndarray:
    """Cut off far above where the curve began: a descent that diverges would flatten the rest."""
    if not np.isfinite(values[0]):
        return np.full(len(values), np.nan)
    return np.minimum(values, 1e3 * max(abs(values[0]), 1e-3))
