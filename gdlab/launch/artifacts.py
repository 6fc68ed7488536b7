"""Artifacts of a run: its tables, its configuration, and a small picture of the descent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import yaml

from gdlab.critical.surface import near, over_domain, surface
from gdlab.launch.build import Built
from gdlab.tracking import run_tables
from gdlab.types import Objective, Record, Records

MOST_MINIMA = 60  # a graph of more is a blot


def artifacts(built: Built, record: Record | Records) -> dict[str, bytes]:
    """What a run's page keeps: relative path -> content.

    `config.yaml` (resolved), `record.parquet` or, of many starts, `ends.parquet`,
    `critical_points.csv` and `descent.png`.
    """
    job = built.job
    assert job is not None
    files = {"config.yaml": yaml.safe_dump(nested(dict(built.params)), sort_keys=False).encode()}
    if isinstance(record, Record):
        files["record.parquet"] = run_tables.parquet(run_tables.record_table(record))
        verdicts = [record.verdict] if record.verdict else []
    else:
        files["ends.parquet"] = run_tables.parquet(run_tables.ends_table(record, job.x0))
        verdicts = list(record.verdicts or [])
    files["critical_points.csv"] = run_tables.points_table(verdicts).to_csv(index=False).encode()
    files["descent.png"] = picture(job.objective, record)
    return files


def picture(objective: Objective, record: Record | Records) -> bytes:
    """The descent drawn small: loss and gradient norm, and the path over the landscape (d <= 2)."""
    from gdlab.figures.descent import descent_picture

    one = record if isinstance(record, Record) else record[0]
    ends = record.x if isinstance(record, Records) else record.x[None]
    landscape = None
    if objective.dim <= 2 and one.path is not None:
        landscape = surface(objective, near(objective, np.concatenate([one.path, ends])))
        if not np.isfinite(landscape[-1]).any():
            landscape = None
    return descent_picture(
        run_tables.record_table(one),
        landscape,
        title=objective.name,
        ends=ends if len(ends) > 1 else None,
    )


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
