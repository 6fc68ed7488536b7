"""Artifacts of a run: its tables and its configuration; pictures and tables of surveys."""

from __future__ import annotations

from typing import Any

import numpy as np
import yaml

from gdlab.critical.surface import over_domain
from gdlab.launch.build import Built
from gdlab.tracking import keys, parquet, records, run_tables
from gdlab.types import Objective, Record, Records

MOST_MINIMA = 60  # a graph of more is a blot


def artifacts(built: Built, record: Record | Records) -> dict[str, bytes]:
    """What a run's page keeps: relative path -> content.

    `config.yaml` (resolved), `record.parquet` or, of many starts, `ends.parquet` and the record
    of the first start, `first.parquet`; `critical_points.csv`. Its picture, `descent.png`, is
    drawn from these when it is first looked at (see `pictures`).
    """
    job = built.job
    assert job is not None
    files = {keys.CONFIG: yaml.safe_dump(nested(dict(built.params)), sort_keys=False).encode()}
    if isinstance(record, Record):
        files[keys.RECORD] = parquet.content(run_tables.record_columns(record))
        verdicts = [record.verdict] if record.verdict else []
    else:
        files[keys.FIRST] = parquet.content(run_tables.record_columns(record[0]))
        files[keys.ENDS] = parquet.content(run_tables.end_columns(record, job.x0))
        verdicts = list(record.verdicts or [])
    files["critical_points.csv"] = run_tables.points_csv(verdicts)
    return files


def record_of(record: Record | Records, run_id: str) -> dict[str, bytes]:
    """The record alone, for a run of a large sweep in a store that pools none."""
    if isinstance(record, Record):
        return {keys.RECORD: parquet.content(run_tables.record_columns(record))}
    rows = records.table(record, [slice(0, len(record))], [run_id])
    return {keys.RECORD: parquet.content(dict(zip(rows.column_names, rows.columns)))}


def census_files(objective: Objective, found: Any) -> dict[str, bytes]:
    """Pictures and tables of a census (`gdlab.critical.census.Census`).

    `critical_points.png`: the points over the landscape (d <= 2); `landscape.png`,
    `landscape_minima.csv` and `landscape_saddles.csv`: minima joined through saddles, where there
    are any to join.
    """
    if not found.points:
        return {}
    from gdlab.figures import style
    from gdlab.figures.landscape import points_figure

    files: dict[str, bytes] = {}
    kinds = [v.kind for v in found.points]
    grid = over_domain(objective, found.domain) if objective.dim <= 2 else None
    if grid is not None:
        x, value = np.array([v.x for v in found.points]), np.array([v.value for v in found.points])
        made = points_figure(grid, x, value, kinds)
        files["critical_points.png"] = style.rendered(made, "png", title=objective.name)
    if 2 <= kinds.count("minimum") <= MOST_MINIMA and "saddle" in kinds:
        from gdlab.critical.landscape import landscape
        from gdlab.figures import critical

        joined = landscape(objective, found.points, found.domain)
        files["landscape_minima.csv"] = joined.minima.to_csv(index=False).encode()
        files["landscape_saddles.csv"] = joined.edges.to_csv(index=False).encode()
        both = grid is not None and objective.dim == 2
        made = critical.landscape_figure(
            joined.minima,
            joined.edges,
            joined.disconnectivity(),
            grid if both else None,
            found.table if both else None,
        )
        files["landscape.png"] = style.rendered(made, "png", title=objective.name)
    return files


def basin_files(objective: Objective, found: Any) -> dict[str, bytes]:
    """Picture and labels of a basin map (`gdlab.critical.basin_map.Basins`)."""

    import io

    buffer = io.BytesIO()
    values = {f"axis{i}": v for i, v in found.axes}
    np.savez_compressed(buffer, label=found.label, steps=found.steps, **values)
    files = {"basins.npz": buffer.getvalue()}
    if found.label.ndim == 2:
        import pandas as pd

        from gdlab.figures import critical, style

        (i, x), (j, y) = found.axes
        points = pd.DataFrame(
            [{"kind": v.kind, "f": v.value, "x0": v.x[i], "x1": v.x[j]} for v in found.points],
            columns=["kind", "f", "x0", "x1"],
        )
        made = critical.basin_figure(x, y, found.label, points)
        files["basins.png"] = style.rendered(made, "png", title=objective.name)
    return files


def nested(flat: dict[str, object]) -> dict[str, object]:
    """`{"a.b": 1}` -> `{"a": {"b": 1}}`."""
    tree: dict[str, object] = {}
    for key, value in flat.items():
        *folders, leaf = key.split(".")
        branch = tree
        for folder in folders:
            branch = branch.setdefault(folder, {})  # type: ignore[assignment]
        branch[leaf] = list(value) if isinstance(value, tuple) else value
    return tree
