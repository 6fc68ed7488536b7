"""Reads runs back as tables: one row a run, or one row a recorded step.

A job's run is a finished run with the tag `key`; other runs of the experiment (summaries) are
left out. Rows are ordered by derived run id (`keys.run_id_for`), which depends on names and
configuration alone: the same study gives the same table from any store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gdlab.errors import UsageError
from gdlab.tracking import files, keys
from gdlab.tracking.address import shown
from gdlab.tracking.histories import Triples, pivot
from gdlab.tracking.long_form import curves_of
from gdlab.tracking.query import Queries, ask, runs_of

if TYPE_CHECKING:
    import pandas as pd


# Tags that are text whatever they look like.
TEXTS = {
    keys.KEY,
    keys.RUN_KEY,
    keys.RECORDS,
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
    return _load(ask(uri, role), study, filter, role)[0]


def _load(
    reader: Queries, study: str | None, filter: str | None, role: str
) -> tuple[pd.DataFrame, list[tuple[str, str | None]]]:
    """The runs, and of each its id and where its record is kept."""
    import pandas as pd

    infos = runs_of(reader, study)
    place = {run_id: i for i, (run_id, _) in enumerate(infos)}
    params = pivot(reader.params(study), place, keys.value_of)
    tags = pivot(_own(reader.tags(study)), place, None)
    for name in tags.keys() - TEXTS:
        tags[name] = [keys.value_of(value) for value in tags[name]]
    metrics = pivot(reader.latest(study), place, None)
    places = tags.pop(keys.RECORDS, [None] * len(infos))
    records = {run_id: where for (run_id, _), where in zip(infos, places)}
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
    runs = runs if filter is None else _query(runs, filter)
    return runs, [(i, w if isinstance(w := records[i], str) else None) for i in runs["run_id"]]


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
        metrics: which; default those that the runs were asked to keep as curves. Whatever a
            record has can be asked for where records are kept (not with `tracking.artifacts=never`
            or of many starts): `gap`, `x0`, `log10_loss`. Others are read from MLflow; those with a
            single value a run have no history and are left out.

    Recorded values are exact, and whole: MLflow's own table has `tracking.points` of each curve.
    """
    import pandas as pd

    reader = ask(uri, role)
    runs, kept = _load(reader, study, filter, role)
    own = {name for tags in _of_curves(runs) for name in keys.curves_of(tags)}
    curves = curves_of(reader, study, kept, metrics, own if metrics is None else None)
    if curves is None:
        raise UsageError(f"study={study}: its runs recorded no curves; record=log keeps them")
    known = {*reader.metric_names(study), *curves.columns}
    labels = [name for name in runs.columns if name != "run_id" and name not in known]
    which = curves.pop("code").to_numpy()
    curves.insert(0, "run_id", runs["run_id"].to_numpy()[which])
    more = runs[labels].iloc[which].reset_index(drop=True)
    return pd.concat([curves, more], axis=1)


def load_records(study: str, uri: str | None = None) -> pd.DataFrame:
    """All that was recorded of a study's finished runs: `run_id`, `step` and the record's columns.

    Of runs whose records are not kept, the curves that MLflow has.
    """
    import pandas as pd

    reader = ask(uri)
    runs, kept = _load(reader, study, None, keys.RUN)
    curves = curves_of(reader, study, kept, None, None)
    if curves is None:
        return pd.DataFrame(columns=["run_id", "step"])
    curves.insert(0, "run_id", runs["run_id"].to_numpy()[curves.pop("code").to_numpy()])
    return curves


def _of_curves(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """The different tags `curves` of some runs."""
    if keys.CURVES not in runs:
        return [{}]
    return [{keys.CURVES: v} if isinstance(v, str) else {} for v in runs[keys.CURVES].unique()]


def artifact(run_id: str, path: str, uri: str | None = None) -> bytes:
    """The content of one artifact of a run.

    Raises:
        UsageError: the run, or the artifact, is not there.
    """
    return folder(run_id, uri).read(path)


def folder(run_id: str, uri: str | None = None) -> files.Folder:
    """The artifacts of a run; raises a `UsageError` where there is no such run."""
    reader = ask(uri)
    root = reader.artifact_uri(run_id)
    if not root:
        raise UsageError(f"run {run_id}: not in tracking.uri={shown(reader.uri)}")
    return files.Folder(reader.uri, run_id, root)


def studies(uri: str | None = None) -> list[str]:
    """Names of the studies and experiments that have finished runs."""
    return ask(uri).studies()


def _own(triples: Triples) -> Iterable[tuple[str, str, Any]]:
    return (row for row in triples if not row[1].startswith("mlflow."))


def _first(columns: dict[str, list[Any]], name: str) -> dict[str, list[Any]]:
    return {name: columns[name]} if name in columns else {}


def _column(values: list[Any]) -> pd.Series:
    import pandas as pd

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
