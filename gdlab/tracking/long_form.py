"""Curves of stored runs in long form: one row a run and step.

Those whose records are kept come whole from their Parquet files, the others from MLflow's table.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gdlab.errors import UsageError
from gdlab.tracking.address import shown
from gdlab.tracking.curves import whole
from gdlab.tracking.metrics import log10_of
from gdlab.tracking.query import Queries

if TYPE_CHECKING:
    import pandas as pd

LOG10 = "log10_"


def curves_of(
    reader: Queries,
    study: str | None,
    kept: Sequence[tuple[str, str | None]],
    metrics: Sequence[str] | None,
    own: Collection[str] | None,
) -> pd.DataFrame | None:
    """Columns `code` (number of the run), `step`, and the metrics; None where there is no curve.

    Args:
        kept: run id and where its record is (see `keys.RECORDS`), of the runs that are asked for.
        metrics: which; None for all that are curves but the logarithms.
        own: of records, what counts as a curve where no metrics are named; None for all columns.

    Raises:
        UsageError: a metric that none of the runs has.
    """
    import pandas as pd

    known = reader.metric_names(study)
    records = _records(reader, study, kept, metrics, own)
    have = [*known, *(() if records is None else records.columns)]
    for name in metrics or ():
        if name not in have:
            raise UsageError(f"metrics={name}: not recorded; known: {', '.join(sorted(known))}")
    there = set() if records is None else set(records["code"].tolist())
    rest = {run_id: i for i, (run_id, _) in enumerate(kept) if i not in there}
    _warn_of_lost(reader.uri, [kept[i] for i in rest.values()])
    names = metrics or [name for name in known if not name.startswith(LOG10)]
    histories = _histories(reader, study, rest, names, every=metrics is not None) if rest else None
    if metrics is None and records is not None and not records["code"].duplicated().any():
        records = None
    parts = [part for part in (records, histories) if part is not None]
    if len(parts) < 2:
        return parts[0] if parts else None
    both = pd.concat(parts, ignore_index=True)
    return both.sort_values(["code", "step"], kind="stable", ignore_index=True)


def _records(
    reader: Queries,
    study: str | None,
    kept: Sequence[tuple[str, str | None]],
    metrics: Sequence[str] | None,
    own: Collection[str] | None,
) -> pd.DataFrame | None:
    """The rows of the runs whose records are kept; None where there are none."""
    import pandas as pd

    places = {run_id: place for run_id, place in kept if place is not None}
    if not places:
        return None
    asked = list(metrics or sorted(own or ()))
    roots = dict(reader.artifact_uris(study))
    columns_of = {name.removeprefix(LOG10) for name in asked} or None
    found = whole(reader.uri, places, roots, columns_of)
    if not len(found["step"]):
        return None
    asked = asked or [name for name in found if name not in ("code", "step")]
    number = {run_id: i for i, (run_id, _) in enumerate(kept)}
    code = np.array([number[run_id] for run_id in places])[found["code"]]
    columns = {"code": code, "step": found["step"].astype(np.int64)}
    for name in asked:
        if name in found:
            columns[name] = found[name]
        elif (base := name.removeprefix(LOG10)) in found:
            columns[name] = log10_of(found[base])
    return pd.DataFrame(columns)


def _histories(
    reader: Queries, study: str | None, code: Mapping[str, int], names: Sequence[str], every: bool
) -> pd.DataFrame | None:
    """The rows of the others; without `every`, of metrics that have more than one value a run."""
    curves: pd.DataFrame | None = None
    for name in names:
        history = reader.history(study, name, dict(code)).rename(columns={"value": name})
        if not every and not history["code"].duplicated().any():
            continue
        if curves is None:
            curves = history
        elif curves["code"].equals(history["code"]) and curves["step"].equals(history["step"]):
            curves[name] = history[name]
        else:
            curves = curves.merge(history, on=["code", "step"], how="outer", sort=True)
    return curves


def _warn_of_lost(uri: str, rest: Sequence[tuple[str, str | None]]) -> None:
    """That the files of runs are gone, which MLflow's table has in part."""
    lost = sum(place is not None for _, place in rest)
    if lost:
        warnings.warn(
            f"tracking.uri={shown(uri)}: the records of {lost:,} runs are not where they were "
            "kept (mlruns beside the store); of their curves there is what MLflow's charts show",
            stacklevel=4,
        )
