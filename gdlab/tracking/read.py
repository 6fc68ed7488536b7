"""Reads runs back as tables: one row a run, or one row a recorded step.

A job's run is a finished run with the tag `key`; other runs of the experiment (summaries) are
left out. Rows are ordered by run id, which depends on the configuration alone: the same study
gives the same table from any store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gdlab.errors import UsageError
from gdlab.tracking import client as write
from gdlab.tracking import keys, sql
from gdlab.tracking.sql import Database
from gdlab.tracking.store import Store, address, client_of, mlflow_errors, reach

Triples = list[tuple[str, str, Any]]  # (run id, name, value)

VIEW_TAG = "mlflow.sharedViewState."

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
FINISHED = "r.status = 'FINISHED' and r.lifecycle_stage = 'active' and exists "
JOBS = f"{FINISHED}(select 1 from tags k where k.run_uuid = r.run_uuid and k.key = '{keys.KEY}')"
ROLE = (
    f"{FINISHED}(select 1 from tags k where k.run_uuid = r.run_uuid and k.key = '{keys.ROLE}' "
    "and k.value = ?)"
)
STUDY = (
    "(r.experiment_id in (select experiment_id from experiments where name = ?) or exists "
    f"(select 1 from tags s where s.run_uuid = r.run_uuid and s.key = '{keys.STUDY}' "
    "and s.value = ?))"
)


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
    reader = _reader(uri, role)
    infos = _runs(reader, study)
    place = {run_id: i for i, (run_id, _) in enumerate(infos)}
    params = _pivot(reader.params(study), place, keys.value_of)
    tags = _pivot(_own(reader.tags(study)), place, None)
    for name in tags.keys() - TEXTS:
        tags[name] = [keys.value_of(value) for value in tags[name]]
    metrics = _pivot(reader.latest(study), place, None)
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
    reader = _reader(uri, role)
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
    reader = _reader(uri)
    root = reader.artifact_uri(run_id)
    folder = write.local_folder(root) if root else None
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
    raise UsageError(f"run {run_id}: not in tracking.uri={reader.uri}")


def studies(uri: str | None = None) -> list[str]:
    """Names of the studies and experiments that have finished runs."""
    return _reader(uri).studies()


def stored_runs(
    store: Store, known: Mapping[int, str], curves: Sequence[str], batch: int = 500
) -> Iterator[tuple[int, keys.RunData]]:
    """Runs of the store, a batch at a time: (number, tags, curves and final metrics).

    Args:
        known: number -> run id.
        curves: metrics whose histories are read; of the others, the last value.
    """
    numbers = {run_id: i for i, run_id in known.items()}
    ids = list(numbers)
    if store.database is None:
        with mlflow_errors(store.uri):
            for run_id in ids:
                yield numbers[run_id], _through_client(store.client, run_id, curves)
        return
    for a in range(0, len(ids), batch):
        some = ids[a : a + batch]
        marks = ",".join("?" * len(some))
        tags: dict[str, dict[str, str]] = {run_id: {} for run_id in some}
        for run_id, name, text in store.database.rows(
            f"select run_uuid, key, value from tags where run_uuid in ({marks})", some
        ):
            tags[run_id][name] = text
        series: dict[str, dict[str, Any]] = {run_id: {} for run_id in some}
        for run_id, name, step, value in store.database.rows(
            f"select run_uuid, key, step, value from latest_metrics where run_uuid in ({marks})",
            some,
        ):
            series[run_id][name] = ([step], [value])
        asked = ",".join("?" * len(curves))
        rows: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for run_id, name, step, value in store.database.rows(
            f"select run_uuid, key, step, value from metrics where run_uuid in ({marks}) "
            f"and key in ({asked})",
            [*some, *curves],
        ):
            rows.setdefault((run_id, name), []).append((step, value))
        for (run_id, name), points in rows.items():
            steps, values = zip(*sorted(points))
            series[run_id][name] = (np.array(steps), np.array(values))
        for run_id in some:
            yield (
                numbers[run_id],
                keys.RunData(run_id, "", tags=tags[run_id], metrics=series[run_id]),
            )


def _through_client(client: Any, run_id: str, curves: Sequence[str]) -> keys.RunData:
    run = client.get_run(run_id)
    metrics: dict[str, Any] = {name: ([0], [value]) for name, value in run.data.metrics.items()}
    for name in curves:
        if name in run.data.metrics:
            history = sorted((m.step, m.value) for m in client.get_metric_history(run_id, name))
            metrics[name] = tuple(np.array(column) for column in zip(*history))
    return keys.RunData(run_id, "", tags=dict(run.data.tags), metrics=metrics)


@dataclass(frozen=True)
class Place:
    """An experiment's number in the store, and whether gdlab's views are in its menu.

    `run` is the newest run where that is a single descent and no part of a sweep.
    """

    id: str
    has_views: bool
    run: str | None = None


def experiment_of(study: str | None, uri: str | None = None) -> Place:
    """The experiment that holds a study's runs; by default the one with the newest run.

    Raises:
        UsageError: no such store, or no finished run of that study in it.
    """
    reader = _reader(uri)
    _runs(reader, study)
    number = reader.newest_experiment(study)
    has_views = f"{VIEW_TAG}leaderboard" in reader.experiment_tags(number)
    return Place(number, has_views, reader.newest_single(number))


@dataclass(frozen=True)
class _Sql:
    """Reads a SQLite or PostgreSQL store by SQL."""

    uri: str
    database: Database
    role: str = keys.RUN

    def _where(self, study: str | None) -> tuple[str, list[str]]:
        these, values = (JOBS, []) if self.role == keys.RUN else (ROLE, [self.role])
        return (
            (these, values) if study is None else (f"{these} and {STUDY}", [*values, study, study])
        )

    def infos(self, study: str | None) -> list[tuple[str, str]]:
        where, values = self._where(study)
        return self.database.rows(f"select r.run_uuid, r.name from runs r where {where}", values)

    def _triples(self, table: str, study: str | None) -> Triples:
        where, values = self._where(study)
        return self.database.rows(
            f"select c.run_uuid, c.key, c.value from {table} c where c.run_uuid in "
            f"(select r.run_uuid from runs r where {where})",
            values,
        )

    def params(self, study: str | None) -> Triples:
        return self._triples("params", study)

    def tags(self, study: str | None) -> Triples:
        return self._triples("tags", study)

    def latest(self, study: str | None) -> Triples:
        return self._triples("latest_metrics", study)

    def metric_names(self, study: str | None) -> list[str]:
        where, values = self._where(study)
        rows = self.database.rows(
            "select distinct c.key from latest_metrics c where c.run_uuid in "
            f"(select r.run_uuid from runs r where {where}) order by c.key",
            values,
        )
        return [row[0] for row in rows]

    def history(self, study: str | None, name: str, code: dict[str, int]) -> pd.DataFrame:
        where, values = self._where(study)
        # The primary key (key, timestamp, step, run, value) holds all that is asked for.
        rows = self.database.rows(
            "select c.run_uuid, c.step, c.value from metrics c where c.key = ? and c.run_uuid in "
            f"(select r.run_uuid from runs r where {where})",
            [name, *values],
        )
        return _frame(rows, code)

    def studies(self) -> list[str]:
        rows = self.database.rows(
            "select distinct e.name from experiments e join runs r on "
            f"r.experiment_id = e.experiment_id where {JOBS} union "
            "select distinct t.value from tags t join runs r on r.run_uuid = t.run_uuid "
            f"where t.key = '{keys.STUDY}' and {JOBS} order by 1"
        )
        return [row[0] for row in rows]

    def newest_experiment(self, study: str | None) -> str:
        where, values = self._where(study)
        rows = self.database.rows(
            f"select r.experiment_id from runs r where {where} "
            "order by r.end_time desc, r.run_uuid limit 1",
            values,
        )
        return str(rows[0][0])

    def newest_single(self, number: str) -> str | None:
        """The experiment's newest run, if its launch made no other."""
        rows = self.database.rows(
            "select r.run_uuid, t.value from runs r join tags t on t.run_uuid = r.run_uuid "
            "and t.key = ? where r.experiment_id = ? and r.status = 'FINISHED' "
            "and r.lifecycle_stage = 'active' order by r.end_time desc, r.run_uuid limit 1",
            [keys.SWEEP, int(number)],
        )
        if not rows:
            return None
        run_id, launch = rows[0]
        others = self.database.rows(
            "select 1 from tags t join runs r on r.run_uuid = t.run_uuid where t.key = ? "
            "and t.value = ? and r.experiment_id = ? limit 2",
            [keys.SWEEP, launch, int(number)],
        )
        return run_id if len(others) == 1 else None

    def experiment_tags(self, number: str) -> set[str]:
        rows = self.database.rows(
            "select key from experiment_tags where experiment_id = ?", [int(number)]
        )
        return {row[0] for row in rows}

    def artifact_uri(self, run_id: str) -> str | None:
        rows = self.database.rows("select artifact_uri from runs where run_uuid = ?", [run_id])
        return rows[0][0] if rows else None


class _Client:
    """Reads any other store through MLflow's client."""

    def __init__(self, uri: str, role: str = keys.RUN) -> None:
        self.uri, self.role = uri, role
        self.client = client_of(uri)
        self._found: dict[str | None, list[Any]] = {}

    def _of(self, study: str | None) -> list[Any]:
        if study not in self._found:
            with mlflow_errors(self.uri):
                all_of = list(self.client.search_experiments())
                runs = write.pages(
                    self.client,
                    [experiment.experiment_id for experiment in all_of],
                    "attributes.status = 'FINISHED'",
                )
                named = {e.experiment_id for e in all_of if e.name == study}
                self._found[study] = [
                    run
                    for run in runs
                    if self._is_asked_for(run.data.tags)
                    and (
                        study is None
                        or run.info.experiment_id in named
                        or run.data.tags.get(keys.STUDY) == study
                    )
                ]
        return self._found[study]

    def _is_asked_for(self, tags: dict[str, str]) -> bool:
        return keys.KEY in tags if self.role == keys.RUN else tags.get(keys.ROLE) == self.role

    def infos(self, study: str | None) -> list[tuple[str, str]]:
        return [(run.info.run_id, run.info.run_name) for run in self._of(study)]

    def _triples(self, study: str | None, part: str) -> Triples:
        return [
            (run.info.run_id, name, value)
            for run in self._of(study)
            for name, value in getattr(run.data, part).items()
        ]

    def params(self, study: str | None) -> Triples:
        return self._triples(study, "params")

    def tags(self, study: str | None) -> Triples:
        return self._triples(study, "tags")

    def latest(self, study: str | None) -> Triples:
        return self._triples(study, "metrics")

    def metric_names(self, study: str | None) -> list[str]:
        return sorted({name for run in self._of(study) for name in run.data.metrics})

    def history(self, study: str | None, name: str, code: dict[str, int]) -> pd.DataFrame:
        ids = [r.info.run_id for r in self._of(study) if name in r.data.metrics]

        def one(run_id: str) -> list[tuple[str, int, float]]:
            found = self.client.get_metric_history(run_id, name)
            return [(run_id, metric.step, metric.value) for metric in found]

        with mlflow_errors(self.uri), ThreadPoolExecutor(write.THREADS) as pool:
            histories = pool.map(one, [run_id for run_id in ids if run_id in code])
            return _frame([row for history in histories for row in history], code)

    def studies(self) -> list[str]:
        runs = self._of(None)
        with mlflow_errors(self.uri):
            names = {e.experiment_id: e.name for e in self.client.search_experiments()}
        tagged = {run.data.tags[keys.STUDY] for run in runs if keys.STUDY in run.data.tags}
        return sorted(tagged | {names[run.info.experiment_id] for run in runs})

    def newest_experiment(self, study: str | None) -> str:
        newest = max(self._of(study), key=lambda run: run.info.end_time or 0)
        return str(newest.info.experiment_id)

    def newest_single(self, number: str) -> str | None:
        return None

    def experiment_tags(self, number: str) -> set[str]:
        with mlflow_errors(self.uri):
            return set(self.client.get_experiment(number).tags)

    def artifact_uri(self, run_id: str) -> str | None:
        with mlflow_errors(self.uri):
            return self.client.get_run(run_id).info.artifact_uri


def _reader(uri: str | None, role: str = keys.RUN) -> _Sql | _Client:
    uri = address(uri)
    kind = sql.scheme(uri)
    if kind == "sqlite" and not sql.sqlite_path(uri).exists():
        raise UsageError(
            f"tracking.uri={uri}: no such store; run gdlab first, or name the store that has runs"
        )
    if kind in ("sqlite", "postgresql"):
        database = Database(uri)
        revision = database.revision()
        if revision == sql.KNOWN_REVISION:
            return _Sql(uri, database, role)
        if revision is None:
            raise UsageError(f"tracking.uri={uri}: is no MLflow store; name the one that has runs")
    reach(uri)
    return _Client(uri, role)


def _runs(reader: _Sql | _Client, study: str | None) -> list[tuple[str, str]]:
    infos = sorted(reader.infos(study))
    if infos:
        return infos
    known = reader.studies()
    advice = f"known: {', '.join(known)}" if known else "the store holds no finished run"
    what = "no finished runs" if study is None else f"study={study}: no finished runs"
    raise UsageError(f"{what} in tracking.uri={reader.uri}; {advice}")


def _own(triples: Triples) -> Iterable[tuple[str, str, Any]]:
    return (row for row in triples if not row[1].startswith("mlflow."))


def _pivot(
    triples: Iterable[tuple[str, str, Any]], place: dict[str, int], convert: Any
) -> dict[str, list[Any]]:
    """(run id, name, value) -> name -> values by run, NaN where missing; names sorted."""
    columns: dict[str, list[Any]] = {}
    known: dict[Any, Any] = {}
    n = len(place)
    for run_id, name, value in triples:
        i = place.get(run_id)
        if i is None:
            continue
        if convert is not None:
            try:
                value = known[value]
            except KeyError:
                value = known.setdefault(value, convert(value))
        try:
            columns[name][i] = value
        except KeyError:
            columns[name] = [np.nan] * n
            columns[name][i] = value
    return dict(sorted(columns.items()))


def _first(columns: dict[str, list[Any]], name: str) -> dict[str, list[Any]]:
    return {name: columns[name]} if name in columns else {}


def _column(values: list[Any]) -> pd.Series:
    return pd.Series(values, dtype=object).infer_objects()


def _frame(rows: list[tuple[str, int, float]], code: dict[str, int]) -> pd.DataFrame:
    """(run id, step, value) -> columns `code`, `step`, `value`, sorted; of unknown runs, none."""
    ids, steps, values = zip(*rows) if rows else ((), (), ())
    codes = np.fromiter((code.get(run_id, -1) for run_id in ids), np.int64, len(ids))
    step = np.array(steps, dtype=np.int64)
    order = np.lexsort((step, codes))
    order = order[codes[order] >= 0]
    value = np.array(values, dtype=np.float64)
    return pd.DataFrame({"code": codes[order], "step": step[order], "value": value[order]})


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
