"""Runs in a SQLite or PostgreSQL store: written and looked up in MLflow's own tables.

How the rows of a run are written stands in `insert`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gdlab.errors import UsageError
from gdlab.tracking import files, insert, keys
from gdlab.tracking.address import shown
from gdlab.tracking.connect import client_of, mlflow_errors
from gdlab.tracking.curves import by_run, whole
from gdlab.tracking.database import Database
from gdlab.tracking.experiment import experiment_in, tag_experiment
from gdlab.tracking.keys import RunData
from gdlab.tracking.leftovers import delete_dead_runs
from gdlab.tracking.provenance import user

if TYPE_CHECKING:
    from mlflow import MlflowClient

BATCH = 500  # runs that are read back at once


@dataclass(frozen=True)
class SqlStore:
    """A `Store` on MLflow's own tables, where these are of the known version.

    Attributes:
        database: that holds them.
        experiment: its name.
        experiment_id: its number, as text.
        artifact_root: where the experiment's artifacts lie.
    """

    database: Database
    experiment: str
    experiment_id: str
    artifact_root: str

    @classmethod
    def open(cls, database: Database, experiment: str) -> SqlStore:
        """The experiment of that name; made where there is none."""
        number, root = experiment_in(database, experiment)
        return cls(database, experiment, number, root)

    @property
    def uri(self) -> str:
        return self.database.uri

    @functools.cached_property
    def client(self) -> MlflowClient:
        return client_of(self.uri)

    @property
    def files_first(self) -> bool:
        return files.local_folder(self.artifact_root) is not None

    def write(self, runs: Iterable[RunData], force: bool = False) -> list[str]:
        written: list[str] = []
        with self.database.connect() as connection:
            for chunk in insert.chunks(runs, insert.CHUNK):
                written += self._write(connection, chunk, force)
        return written

    def _write(self, connection: Any, chunk: list[RunData], force: bool) -> list[str]:
        ids = self._run_ids(connection, [run.run_id for run in chunk])
        unique = {ids[run.run_id]: _named(run, ids[run.run_id]) for run in chunk}
        have = set() if force else self._finished_among(connection, list(unique))
        new = [run for run in unique.values() if run.run_id not in have]
        if not new:
            return []
        root = self.artifact_root.rstrip("/")
        folder = files.local_folder(root)
        if folder is not None:
            # Before the run is there, so that a stored run has its artifacts.
            try:
                for run in new:
                    files.save(folder / run.run_id / "artifacts", run)
            except OSError as error:
                raise UsageError(
                    f"tracking.uri={shown(self.uri)}: {error.strerror} ({error.filename}); "
                    "artifacts are kept there; give the same command again: it resumes"
                ) from error
        number = int(self.experiment_id)
        written = insert.insert_runs(self.database, connection, number, root, new, user(), force)
        if folder is None:
            done = set(written)
            for run in new:
                if run.files and run.run_id in done:
                    there = f"{root}/{run.run_id}/artifacts"
                    files.put(self.client, run.run_id, there, run)
        return written

    def run_ids(self, derived: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        with self.database.connect() as connection:
            for some in insert.chunks(derived, insert.CHUNK):
                found |= self._run_ids(connection, some)
        return found

    def _run_ids(self, connection: Any, derived: list[str]) -> dict[str, str]:
        def owners(ids: list[str]) -> dict[str, str]:
            marks = ",".join("?" * len(ids))
            select = f"select run_uuid, experiment_id from runs where run_uuid in ({marks})"
            rows = connection.execute(self.database.sql(select), ids)
            return {run_id: str(number) for run_id, number in rows}

        own = {run_id: keys.run_id_for(f"{self.experiment_id}/", run_id) for run_id in derived}
        taken, replaced = owners(derived), owners(list(own.values()))
        return {
            run_id: own[run_id]
            if own[run_id] in replaced
            or taken.get(run_id, self.experiment_id) != self.experiment_id
            else run_id
            for run_id in derived
        }

    def run_folder(self, run_id: str) -> Path | None:
        root = files.local_folder(self.artifact_root.rstrip("/"))
        return None if root is None else root / run_id

    def _finished_among(self, connection: Any, ids: list[str]) -> set[str]:
        marks = ",".join("?" * len(ids))
        select = (
            f"select run_uuid from runs where run_uuid in ({marks}) "
            "and status = 'FINISHED' and lifecycle_stage = 'active'"
        )
        return {row[0] for row in connection.execute(self.database.sql(select), ids)}

    def finished_keys(self) -> dict[str, str]:
        return self._keys("FINISHED")

    def failed_keys(self) -> dict[str, str]:
        return self._keys("FAILED")

    def _keys(self, status: str) -> dict[str, str]:
        rows = self.database.rows(
            "select t.value, r.run_uuid from tags t join runs r on r.run_uuid = t.run_uuid "
            "where t.key = ? and r.experiment_id = ? and r.status = ? "
            "and r.lifecycle_stage = 'active'",
            (keys.KEY, int(self.experiment_id), status),
        )
        return dict(rows)

    def finals(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for table, names in (("latest_metrics", keys.FINAL_METRICS), ("tags", keys.FINAL_TAGS)):
            marks = ",".join("?" * len(names))
            rows = self.database.rows(
                f"select v.run_uuid, v.key, v.value from {table} v "
                "join runs r on r.run_uuid = v.run_uuid where r.experiment_id = ? and "
                f"r.status = 'FINISHED' and r.lifecycle_stage = 'active' and v.key in ({marks})",
                (int(self.experiment_id), *names),
            )
            for run_id, name, value in rows:
                found.setdefault(run_id, {})[name] = value
        return found

    def holds(self, run_id: str) -> bool:
        with self.database.connect() as connection:
            ids = list(self._run_ids(connection, [run_id]).values())
            return bool(self._finished_among(connection, ids))

    def stored_runs(self, run_ids: Sequence[str], curves: Sequence[str]) -> Iterator[RunData]:
        for some in insert.chunks(run_ids, BATCH):
            tags: dict[str, dict[str, str]] = {run_id: {} for run_id in some}
            for run_id, name, text in self._of("key, value", "tags", some):
                tags[run_id][name] = text
            metrics: dict[str, dict[str, Any]] = {run_id: {} for run_id in some}
            for run_id, name, step, value in self._of("key, step, value", "latest_metrics", some):
                metrics[run_id][name] = ([step], [value])
            histories: dict[tuple[str, str], list[tuple[int, float]]] = {}
            for run_id, name, step, value in self._of("key, step, value", "metrics", some, curves):
                histories.setdefault((run_id, name), []).append((step, value))
            for (run_id, name), points in histories.items():
                steps, values = zip(*sorted(points))
                metrics[run_id][name] = (np.array(steps), np.array(values))
            kept = {i: t[keys.RECORDS] for i, t in tags.items() if keys.RECORDS in t}
            roots = {
                run_id: f"{self.artifact_root.rstrip('/')}/{run_id}/artifacts" for run_id in kept
            }
            found = whole(self.uri, kept, roots, set(curves)) if kept else {}
            for run_id, columns in by_run(found, list(kept)).items():
                metrics[run_id] |= columns
            for run_id in some:
                yield RunData(run_id, "", tags=tags[run_id], metrics=metrics[run_id])

    def _of(
        self, columns: str, table: str, run_ids: Sequence[str], names: Sequence[str] = ()
    ) -> list[tuple[Any, ...]]:
        """Rows of some runs, of these names where there are any: run id, then the columns."""
        marks, asked = ("?, " * len(some) for some in (run_ids, names))
        named = f" and key in ({asked.rstrip(', ')})" if names else ""
        return self.database.rows(
            f"select run_uuid, {columns} from {table} "
            f"where run_uuid in ({marks.rstrip(', ')}){named}",
            [*run_ids, *names],
        )

    def set_metric(self, name: str, values: Mapping[str, float]) -> None:
        with self.database.connect() as connection:
            insert.replace_metric(self.database, connection, name, values)

    def repair(self) -> int:
        running = self.database.rows(
            "select count(*) from runs where experiment_id = ? and status = 'RUNNING' "
            "and lifecycle_stage = 'active'",
            (int(self.experiment_id),),
        )
        if not running[0][0]:
            return 0
        with mlflow_errors(self.uri):
            return delete_dead_runs(self.client, self.experiment_id)

    def tag(self, tags: Mapping[str, str]) -> None:
        with self.database.connect() as connection:
            tag_experiment(self.database, connection, int(self.experiment_id), tags)

    def tags(self) -> dict[str, str]:
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
        if self.database.is_sqlite:
            with self.database.connect() as connection:
                connection.execute("pragma analysis_limit = 400")
                for table in ("runs", *insert.CHILDREN):
                    connection.execute(f"analyze {table}")


def _named(run: RunData, run_id: str) -> RunData:
    """The run under the id that it has in the store; the derived one stays as a tag."""
    if run_id == run.run_id:
        return run
    return dataclasses.replace(
        run,
        run_id=run_id,
        tags={keys.RUN_KEY: run.run_id, **run.tags},
        note=run.note.replace(run.run_id, run_id),  # its pictures are found by that id
    )
