"""The store: where runs are kept, opened once, checked fast, written to in chunks."""

from __future__ import annotations

import functools
import getpass
import importlib.metadata
import itertools
import os
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gdlab.errors import UsageError
from gdlab.tracking import bulk, keys, sql
from gdlab.tracking import client as write
from gdlab.tracking.keys import RunData
from gdlab.tracking.sql import Database

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_URI = "sqlite:///mlflow.db"
# Schemes of stores: the first three are gdlab's own ways, the others go through MLflow's client.
SCHEMES = ("sqlite", "postgresql", "http", "mysql", "mssql", "databricks")
FINAL_METRICS = ("loss", "steps")
FINAL_TAGS = (keys.STATUS, keys.CRITICAL_KIND, keys.MORSE_INDEX, keys.REACHED)
# Without it the UI opens an experiment on an empty page for language-model traces.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
T = TypeVar("T")


@dataclass(frozen=True)
class Store:
    """An experiment in an MLflow store; made by `open_store`.

    Attributes:
        uri: address of the store, a SQLite file's path absolute.
        experiment: its name.
        experiment_id: its number, as text.
        artifact_root: where the experiment's artifacts lie.
        database: for SQLite and PostgreSQL stores of the known schema, else None.
    """

    uri: str
    experiment: str
    experiment_id: str
    artifact_root: str
    database: Database | None

    @functools.cached_property
    def client(self) -> MlflowClient:
        """MLflow's public client (imports mlflow when it is first asked for)."""
        return client_of(self.uri)

    def write(self, runs: Iterable[RunData], force: bool = False) -> list[str]:
        """Stores the runs; returns the ids of those that were written.

        A run whose key is stored as finished is left as it is, whoever stored it; one stored as
        failed or deleted is replaced. Memory stays bounded by a chunk of runs.

        Args:
            runs: any number; each appears in the store complete and ended, or not at all.
            force: replaces finished runs too.

        Raises:
            UsageError: the store has become unreachable, full or unwritable.
        """
        written: list[str] = []
        if self.database is None:
            threads = write.THREADS if sql.scheme(self.uri) == "http" else 1
            with mlflow_errors(self.uri):
                for chunk in chunks(runs, bulk.CHUNK):
                    written += write.write(
                        self.client, self.experiment_id, chunk, user(), threads, force
                    )
            return written
        with self.database.connect() as connection:
            for chunk in chunks(runs, bulk.CHUNK):
                written += self._bulk(connection, chunk, force)
        return written

    def _bulk(self, connection: Any, chunk: list[RunData], force: bool) -> list[str]:
        assert self.database is not None
        unique = {run.run_id: run for run in chunk}
        have = set() if force else self._finished_among(connection, list(unique))
        new = [run for run in unique.values() if run.run_id not in have]
        if not new:
            return []
        root = self.artifact_root.rstrip("/")
        folder = write.local_folder(root)
        if folder is not None:
            # Before the run is there, so that a stored run has its artifacts.
            try:
                for run in new:
                    write.save(folder / run.run_id / "artifacts", run)
            except OSError as error:
                raise UsageError(
                    f"tracking.uri={self.uri}: {error.strerror} ({error.filename}); artifacts "
                    "are kept there; give the same command again: it resumes"
                ) from error
        written = bulk.insert(
            self.database, connection, int(self.experiment_id), root, new, user(), force
        )
        if folder is None:
            done = set(written)
            for run in new:
                if run.artifacts and run.run_id in done:
                    write.put_artifacts(
                        self.client, run.run_id, f"{root}/{run.run_id}/artifacts", run
                    )
        return written

    def _finished_among(self, connection: Any, ids: list[str]) -> set[str]:
        assert self.database is not None
        marks = ",".join("?" * len(ids))
        select = (
            f"select run_uuid from runs where run_uuid in ({marks}) "
            "and status = 'FINISHED' and lifecycle_stage = 'active'"
        )
        return {row[0] for row in connection.execute(self.database.sql(select), ids)}

    def finished_keys(self) -> dict[str, str]:
        """key -> run id of every finished run."""
        return self._keys("FINISHED")

    def failed_keys(self) -> dict[str, str]:
        """key -> run id of every failed run."""
        return self._keys("FAILED")

    def _keys(self, status: str) -> dict[str, str]:
        if self.database is None:
            with mlflow_errors(self.uri):
                found = write.pages(
                    self.client, [self.experiment_id], f"attributes.status = '{status}'"
                )
                return {
                    run.data.tags[keys.KEY]: run.info.run_id
                    for run in found
                    if keys.KEY in run.data.tags
                }
        rows = self.database.rows(
            "select t.value, r.run_uuid from tags t join runs r on r.run_uuid = t.run_uuid "
            "where t.key = ? and r.experiment_id = ? and r.status = ? "
            "and r.lifecycle_stage = 'active'",
            (keys.KEY, int(self.experiment_id), status),
        )
        return dict(rows)

    def finals(self) -> dict[str, dict[str, Any]]:
        """run id -> `FINAL_METRICS` and `FINAL_TAGS` of finished runs."""
        found: dict[str, dict[str, Any]] = {}
        if self.database is None:
            with mlflow_errors(self.uri):
                asked = "attributes.status = 'FINISHED'"
                for run in write.pages(self.client, [self.experiment_id], asked):
                    tags = {k: run.data.tags.get(k) for k in FINAL_TAGS}
                    ends = {k: run.data.metrics.get(k) for k in FINAL_METRICS}
                    found[run.info.run_id] = {**ends, **tags}
            return found
        of_this = (
            "join runs r on r.run_uuid = v.run_uuid where r.experiment_id = ? "
            "and r.status = 'FINISHED' and r.lifecycle_stage = 'active' and v.key "
        )
        number = int(self.experiment_id)
        for run_id, key, value in (
            *self.database.rows(
                f"select v.run_uuid, v.key, v.value from latest_metrics v {of_this} in (?, ?)",
                (number, *FINAL_METRICS),
            ),
            *self.database.rows(
                f"select v.run_uuid, v.key, v.value from tags v {of_this} in (?, ?, ?, ?)",
                (number, *FINAL_TAGS),
            ),
        ):
            found.setdefault(run_id, {})[key] = value
        return found

    def repair(self) -> int:
        """Deletes runs that a killed process left running, so that they run again; their number.

        Only the client leaves such runs; a bulk write is one transaction.
        """
        if self.database is not None:
            running = self.database.rows(
                "select count(*) from runs where experiment_id = ? and status = 'RUNNING' "
                "and lifecycle_stage = 'active'",
                (int(self.experiment_id),),
            )
            if not running[0][0]:
                return 0
        count = 0
        with mlflow_errors(self.uri):
            for run in write.pages(
                self.client, [self.experiment_id], "attributes.status = 'RUNNING'"
            ):
                tags = run.data.tags
                if keys.RUN_KEY in tags and write.is_dead(tags, run.info.start_time):
                    self.client.set_terminated(run.info.run_id, "KILLED")
                    self.client.delete_run(run.info.run_id)
                    count += 1
        return count

    def tag(self, tags: Mapping[str, str]) -> None:
        """Sets tags of the experiment (`mlflow.note.content` is its note)."""
        if self.database is None:
            with mlflow_errors(self.uri):
                for key, value in tags.items():
                    self.client.set_experiment_tag(self.experiment_id, key, value)
            return
        with self.database.connect() as connection:
            _tag(self.database, connection, int(self.experiment_id), tags)

    def tags(self) -> dict[str, str]:
        """Tags of the experiment."""
        if self.database is None:
            with mlflow_errors(self.uri):
                return dict(self.client.get_experiment(self.experiment_id).tags)
        rows = self.database.rows(
            "select key, value from experiment_tags where experiment_id = ?",
            [int(self.experiment_id)],
        )
        return dict(rows)

    def analyze(self) -> None:
        """Lets SQLite look at its indices, some hundred rows of each.

        Without that it joins MLflow's tables the slow way: the UI's first page of 10,000 runs,
        ordered by a metric, takes 13 s instead of 0.5 s.
        """
        if self.database is not None and self.database.is_sqlite:
            with self.database.connect() as connection:
                connection.execute("pragma analysis_limit = 400")
                for table in ("runs", *bulk.CHILDREN):
                    connection.execute(f"analyze {table}")

    def holds(self, run_id: str) -> bool:
        """Whether a run of that derived id is stored as finished."""
        if self.database is None:
            with mlflow_errors(self.uri):
                return bool(write.stored(self.client, self.experiment_id, run_id))
        with self.database.connect() as connection:
            return bool(self._finished_among(connection, [run_id]))


def open_store(uri: str | None = None, experiment: str = "gdlab") -> Store:
    """Opens the store for writing; makes the database and the experiment where there are none.

    Args:
        uri: `sqlite:///file.db`, `postgresql://...`, `http://...`, or another that MLflow takes;
            default `MLFLOW_TRACKING_URI`, else `sqlite:///mlflow.db`.
        experiment: MLflow's name for what the runs belong to.

    Raises:
        UsageError: the store cannot be reached within seconds, or not be written.
    """
    uri = address(uri)
    kind = sql.scheme(uri)
    if kind == "sqlite":
        sql.create_sqlite(uri)
    if kind in ("sqlite", "postgresql"):
        database = Database(uri)
        revision = database.revision()
        if revision is None:
            create_schema(database)
            revision = database.revision()
        if revision == sql.KNOWN_REVISION:
            experiment_id, root = _sql_experiment(database, experiment)
            return Store(uri, experiment, experiment_id, root, database)
        warnings.warn(
            f"tracking.uri={uri}: the tables are of revision {revision}, not MLflow 3.17's; "
            "runs are written through MLflow's client, which is slower",
            stacklevel=2,
        )
    reach(uri)
    with mlflow_errors(uri):
        experiment_id, root = _client_experiment(client_of(uri), experiment)
    return Store(uri, experiment, experiment_id, root, None)


def address(uri: str | None = None) -> str:
    """The store's address, a SQLite file's path made absolute."""
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    kind = sql.scheme(uri)
    if "://" not in uri or (kind not in SCHEMES and kind not in _plugins()):
        raise UsageError(
            f"tracking.uri={uri}: takes an address such as sqlite:///mlflow.db, "
            "postgresql://host/name or http://host:5000; of MLflow's other stores "
            f"{', '.join(SCHEMES[3:])}"
        )
    return f"sqlite:///{sql.sqlite_path(uri)}" if kind == "sqlite" else uri


def _plugins() -> set[str]:
    """Schemes that installed plugins add to MLflow."""
    return {point.name for point in importlib.metadata.entry_points(group="mlflow.tracking_store")}


def client_of(uri: str) -> MlflowClient:
    """MLflow's client on a store."""
    sql.quiet()
    # MLflow's seven retries with growing pauses hide a dead server for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    # Nor should each run's address be printed when it ends.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from mlflow import MlflowClient

    if sql.scheme(uri) == "postgresql":
        uri = "postgresql+psycopg://" + uri.partition("://")[2]
    return MlflowClient(uri, uri)


def reach(uri: str) -> None:
    """Raises a `UsageError` within seconds if a tracking server does not answer."""
    if sql.scheme(uri) != "http":
        return
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=sql.REACH_SECONDS):
            return
    except urllib.error.HTTPError as error:
        if error.code == 404:  # a server behind a proxy may hide /health
            return
        reason = f"answers {error.code} {error.reason}"
    except (OSError, ValueError) as error:
        reason = f"does not answer ({getattr(error, 'reason', None) or error})"
    raise UsageError(
        f"tracking.uri={uri}: {reason}; start the server (mlflow server), mend the address, or "
        f"give tracking.uri={DEFAULT_URI}"
    )


class mlflow_errors:
    """A context in which MLflow's and its transports' errors become one line on the store."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, UsageError):
            return
        if isinstance(error, ModuleNotFoundError):  # a database's driver
            raise UsageError(
                f"tracking.uri={self.uri}: needs {error.name}; install it, or give "
                f"tracking.uri={DEFAULT_URI}"
            ) from error
        if type(error).__module__.split(".")[0] in ("mlflow", "requests", "sqlalchemy", "urllib3"):
            assert isinstance(error, Exception)
            text = str(error).strip().splitlines()[0]
            raise UsageError(
                f"tracking.uri={self.uri}: {text[:300]}; mend the store, then give the same "
                "command again: it resumes"
            ) from error


def create_schema(database: Database) -> None:
    """Lets MLflow make its tables in an empty PostgreSQL database; one process at a time."""
    if database.is_sqlite:
        with mlflow_errors(database.uri):
            client_of(database.uri).search_experiments(max_results=1)
        return
    with database.connect() as connection:
        connection.execute("select pg_advisory_lock(7105097)")
        if database.revision() is None:
            with mlflow_errors(database.uri):
                client_of(database.uri).search_experiments(max_results=1)


def _sql_experiment(database: Database, name: str) -> tuple[str, str]:
    folder = sql.sqlite_path(database.uri).parent if database.is_sqlite else Path.cwd()
    select = database.sql(
        "select experiment_id, artifact_location, lifecycle_stage from experiments "
        "where name = ? and workspace = 'default'"
    )
    with database.connect() as connection:
        # Shows at once whether the store can be written.
        connection.execute("begin immediate" if database.is_sqlite else "begin")
        rows = connection.execute(select, (name,)).fetchall()
        if not rows:
            now = int(time.time() * 1000)
            made = connection.execute(
                database.sql(
                    "insert into experiments (name, workspace, lifecycle_stage, creation_time, "
                    "last_update_time) values (?, 'default', 'active', ?, ?) "
                    "on conflict (workspace, name) do nothing returning experiment_id"
                ),
                (name, now, now),
            ).fetchall()
            for (number,) in made:
                root = f"{folder}/mlruns/{number}"
                connection.execute(
                    database.sql(
                        "update experiments set artifact_location = ? where experiment_id = ?"
                    ),
                    (root, number),
                )
                _tag(database, connection, number, EXPERIMENT_TAGS)
            rows = connection.execute(select, (name,)).fetchall()
        connection.execute("commit")
    (number, root, stage), *_ = rows
    _check_active(name, stage)
    return str(number), root


def _tag(database: Database, connection: Any, number: int, tags: Mapping[str, str]) -> None:
    for key, value in tags.items():
        connection.execute(
            database.sql(
                "insert into experiment_tags (key, value, experiment_id) values (?, ?, ?) "
                "on conflict (key, experiment_id) do update set value = excluded.value"
            ),
            (key, value, number),
        )


def _client_experiment(client: MlflowClient, name: str) -> tuple[str, str]:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            number = client.create_experiment(name)
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
        else:
            found = client.get_experiment(number)
            for key, value in EXPERIMENT_TAGS.items():
                client.set_experiment_tag(number, key, value)
    _check_active(name, found.lifecycle_stage)
    return found.experiment_id, found.artifact_location


def _check_active(name: str, stage: str) -> None:
    if stage != "active":
        raise UsageError(
            f"tracking.experiment={name}: was deleted in the store; restore it in the MLflow UI "
            "or give another name"
        )


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most `size`."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


@functools.cache
def user() -> str:
    """Who runs this."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
