"""What the summary of a sweep says: its text, and the curves that its figure is drawn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gdlab.analysis import endings, tables
from gdlab.analysis.endings import Ending
from gdlab.analysis.numbers import written
from gdlab.analysis.ranking import Standing
from gdlab.tracking import aggregate, parquet
from gdlab.tracking.aggregate import Gathered

SHOWN_ROWS = 20
DRAWN = ("loss", "grad_norm")
CURVES, PICTURE = "curves.parquet", "curves.png"  # the figure's data, and the figure
LINES = 7  # of the figure, where no number tells them apart
MANY_LINES = 40


def report(
    line: str,
    table: Mapping[str, Sequence[Any]],
    ends: Sequence[Ending],
    jobs: int,
    failed: int,
    command: str,
    pooled: bool,
) -> str:
    """The text of a sweep's summary.

    Args:
        line: who won.
        table: the standings by columns, best first.
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
        tables.markdown(table, most=SHOWN_ROWS),
    ]
    rows = len(table["rank"])
    if rows > SHOWN_ROWS:
        parts.append(f"The best {SHOWN_ROWS} of {rows:,}; table.csv has all.")
    parts += ["What was reached:", tables.markdown(endings.points(ends), most=SHOWN_ROWS)]
    if pooled:
        parts.append(
            "Every recorded step of every run: "
            '`pandas.read_parquet("records")` in this run\'s artifacts.'
        )
    return "\n\n".join([*parts, f"Again: `{command}`"])


def curves(
    gathered: Gathered,
    standings: Mapping[int, Standing],
    bands: Mapping[int, Mapping[str, np.ndarray]],
    over: Sequence[str],
    seeds: bool,
) -> dict[str, Any] | None:
    """What the figure of a sweep is drawn from, by columns; None where nothing moved.

    Columns: run_id, step, the parameter that was chosen (`choice` of several, in words), loss and
    grad_norm, of each choice its median and quantiles.

    Args:
        standings: of the groups that were gathered.
        bands: their quantiles; three curves stand for each choice where there are `seeds`.
        over: the parameters that were chosen.
    """
    by = over[0] if len(over) == 1 else "choice"
    value = {g: s.params.get(by) for g, s in standings.items()}
    order = sorted(standings, key=lambda g: standings[g].rank)
    order = [g for g in order if np.isfinite(standings[g].loss)] or order
    some = order[:LINES]
    if by != "choice" and all(is_number(v) for v in value.values()):
        whole = sorted(order, key=lambda g: value[g] or 0)
        some = [whole[i] for i in aggregate.thinned(np.arange(len(whole)), MANY_LINES)]
    if not all(is_number(value[g]) for g in some):
        value = {
            g: " ".join(written(standings[g].params.get(k)) for k in over) or "all" for g in some
        }
    found: dict[str, list[Any]] = {name: [] for name in ("run_id", "step", by, *DRAWN)}
    for g in some:
        grid, longest = gathered.grids[g], max(e.steps for e in standings[g].endings)
        points = min(int(np.searchsorted(grid, longest)) + 1, len(grid))
        for q in range(3) if seeds else range(1):
            found["run_id"] += [f"{g}/{q}"] * points
            found["step"] += grid[:points].tolist()
            found[by] += [value[g]] * points
            for name in DRAWN:
                found[name] += _drawable(bands[g][name][q, :points]).tolist()
    if not np.isfinite(found["loss"]).any() or max(found["step"]) < 1:
        return None
    if not over:
        del found[by]
    return found


def figure(content: bytes, title: str) -> bytes:
    """The figure of a sweep as PNG, from `curves` as a Parquet file."""
    import pandas as pd

    from gdlab.figures import curves as drawing
    from gdlab.figures import style

    table = pd.DataFrame(parquet.columns(content))
    by = [str(name) for name in table if name not in ("run_id", "step", *DRAWN)]
    drawn = drawing.curve_figure(
        table, by=by[0] if by else None, values=DRAWN, quantiles=(0.0, 1.0)
    )
    return style.rendered(drawn, "png", dpi=150, title=title)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _drawable(values: np.ndarray) -> np.ndarray:
    """Cut off far above where the curve began: a descent that diverges would flatten the rest."""
    if not np.isfinite(values[0]):
        return np.full(len(values), np.nan)
    return np.minimum(values, 1e3 * max(abs(values[0]), 1e-3))
