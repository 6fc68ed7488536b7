"""Reads runs back as tables: one row a run, or one row a recorded step.

A job's run is a finished run with the tag `key`; other runs of the experiment (summaries) are
left out. Rows are ordered by derived run id (`keys.run_id_for`), which depends on names and
configuration alone: the same study gives the same table from any store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gdlab.errors import UsageError
from gdlab.tracking import files, keys
from gdlab.tracking.address import shown
from gdlab.tracking.connect import client_of, mlflow_errors
from gdlab.tracking.histories import Triples, pivot
from gdlab.tracking.query import ask, runs_of

# Tags that are text whatever they look like.
TEXTS = {
    keys.KEY,
    keys.RUN_KEY,
    keys.STUDY,
    keys.SWEEP,
    keys.GIT_COMMIT,
    keys.VERSIONS,
    keys.STATUS,
    keys.COMMAND,
    "error",
}


def load(
    study: str | None = None,
    uri: str | None = None,
    filter: str | None = None,
    role: str = keys.RUN,
) -> pd.DataFrame:
    """The finished runs of a study, one row each.

    Columns: `run_id`, `name`; parameters under their dotted names, with numbers as numbers; tags
    (`status`, `critical_kind`, ...); the last value of each metric. What a run lacks is NaN; the
    loss, gap and gradient norm of one that diverged are infinite. A
    metric or tag takes precedence over a parameter of the same name, which is then called
    `params.<name>`.

    Args:
        study: name of an MLflow experiment, or value of the tag `study`; default all runs.
        uri: the store; default `MLFLOW_TRACKING_URI`, else `sqlite:///mlflow.db`.
        filter: a condition on the columns, as pandas' `query` takes it; dotted names in
            backticks: "`schedule.name` == 'constant' and loss < 1e-3".
        role: `run` (of a job), `aggregate` (medians over seeds) or `summary` (of a sweep).

    Raises:
        UsageError: no such store, or no finished run of that study in it.
    """
    reader = ask(uri, role)
    infos = runs_of(reader, study)
    place = {run_id: i for i, (run_id, _) in enumerate(infos)}
    params = pivot(reader.params(study), place, keys.value_of)
    tags = pivot(_own(reader.tags(study)), place, None)
    for name in tags.keys() - TEXTS:
        tags[name] = [keys.value_of(value) for value in tags[name]]
    metrics = pivot(reader.latest(study), place, None)
    if role == keys.RUN:  # a run's rank is its sweep's, for dashboards
        metrics.pop("rank", None)
    columns: dict[str, Any] = {
        "run_id": [run_id for run_id, _ in infos],
        "name": [name for _, name in infos],
    }
    taken = columns.keys() | tags.keys() | metrics.keys()
    for group in (_first(tags, keys.STATUS), params, tags, metrics):
        for name, values in group.items():
            label = f"params.{name}" if group is params and name in taken else name
            columns.setdefault(label, values)
    columns |= metrics
    runs = pd.DataFrame({name: _column(values) for name, values in columns.items()})
    runs = _diverged_is_bad(runs)
    return runs if filter is None else _query(runs, filter)


def load_curves(
    study: str | None = None,
    uri: str | None = None,
    filter: str | None = None,
    metrics: Sequence[str] | None = None,
    role: str = keys.RUN,
) -> pd.DataFrame:
    """The recorded steps of a study's finished runs, long form: one row a run and step.

    Columns: `run_id`, `step`, a column a metric, then the columns of `load` that are no metrics.
    What was not recorded at a step is NaN.

    Args:
        study, uri, filter, role: as for `load`.
        metrics: which histories; default all but the `log10_` ones, which are the logarithms of
            others. Metrics with a single value a run have no history and are left out.
    """
    runs = load(study, uri, filter, role)
    reader = ask(uri, role)
    known = reader.metric_names(study)
    for name in metrics or ():
        if name not in known:
            raise UsageError(f"metrics={name}: not recorded; known: {', '.join(sorted(known))}")
    names = metrics or [name for name in known if not name.startswith("log10_")]
    code = {run_id: i for i, run_id in enumerate(runs["run_id"])}
    curves: pd.DataFrame | None = None
    for name in names:
        history = reader.history(study, name, code).rename(columns={"value": name})
        if metrics is None and not history["code"].duplicated().any():
            continue
        if curves is None:
            curves = history
        elif curves["code"].equals(history["code"]) and curves["step"].equals(history["step"]):
            curves[name] = history[name]
        else:
            curves = curves.merge(history, on=["code", "step"], how="outer", sort=True)
    if curves is None:
        raise UsageError(f"study={study}: its runs recorded no curves; record=log keeps them")
    labels = [name for name in runs.columns if name != "run_id" and name not in known]
    which = curves.pop("code").to_numpy()
    curves.insert(0, "run_id", runs["run_id"].to_numpy()[which])
    more = runs[labels].iloc[which].reset_index(drop=True)
    return pd.concat([curves, more], axis=1)


def artifact(run_id: str, path: str, uri: str | None = None) -> bytes:
    """The content of one artifact of a run.

    Raises:
        UsageError: the run, or the artifact, is not there.
    """
    reader = ask(uri)
    root = reader.artifact_uri(run_id)
    folder = files.local_folder(root) if root else None
    try:
        if folder is not None:
            return (folder / path).read_bytes()
        if root:
            with mlflow_errors(reader.uri):
                local = client_of(reader.uri).download_artifacts(run_id, path)
            with open(local, "rb") as file:
                return file.read()
    except OSError as error:
        raise UsageError(f"run {run_id}: no artifact {path} in {root}") from error
    raise UsageError(f"run {run_id}: not in tracking.uri={shown(reader.uri)}")


def studies(uri: str | None = None) -> list[str]:
    """Names of the studies and experiments that have finished runs."""
    return ask(uri).studies()


def _own(triples: Triples) -> Iterable[tuple[str, str, Any]]:
    return (row for row in triples if not row[1].startswith("mlflow."))


def _first(columns: dict[str, list[Any]], name: str) -> dict[str, list[Any]]:
    return {name: columns[name]} if name in columns else {}


def _column(values: list[Any]) -> pd.Series:
    return pd.Series(values, dtype=object).infer_objects()


def _diverged_is_bad(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs, with infinite costs where a run, or half of what it stands for, diverged.

    Stores keep finite numbers only: the last of these is no result of such a run.
    """
    bad = np.zeros(len(runs), bool)
    if keys.STATUS in runs:
        bad |= (runs[keys.STATUS] == "diverged").to_numpy()
    if "share_diverged" in runs:
        bad |= (runs["share_diverged"].astype(float) >= 0.5).to_numpy()
    costs = [name for name in ("loss", "gap", "grad_norm") if name in runs]
    known = [name for name in costs if name == "loss" or runs[name].notna().any()]
    if not bad.any():
        return runs
    return runs.assign(**{name: runs[name].astype(float).mask(bad, np.inf) for name in known})


def _query(runs: pd.DataFrame, filter: str) -> pd.DataFrame:
    try:
        return runs.query(filter).reset_index(drop=True)
    except Exception as error:
        raise UsageError(
            f"filter={filter}: {error}; takes a condition on the columns, dotted names in "
            f"backticks; columns: {', '.join(map(str, runs.columns))}"
        ) from error
