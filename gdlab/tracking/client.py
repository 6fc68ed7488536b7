"""Runs in any other store: written and looked up through MLflow's public client.

The server chooses run ids: the derived id is kept as the tag `run_key`, by which a run is found
again. While it is being written a run carries the tag `writer`, by which the leftovers of a
killed process are found.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gdlab.tracking import files, keys
from gdlab.tracking.address import scheme
from gdlab.tracking.connect import client_of, mlflow_errors
from gdlab.tracking.curves import by_run, whole
from gdlab.tracking.experiment import experiment_at
from gdlab.tracking.insert import CHUNK, chunks, finite, stamped
from gdlab.tracking.keys import RunData
from gdlab.tracking.leftovers import delete_dead_runs, is_dead, pages, writer
from gdlab.tracking.provenance import user

if TYPE_CHECKING:
    from mlflow import MlflowClient

# A server's request may hold two of its 15 database connections: eight writers at once can wait
# for each other for ever. Two threads leave room for six more processes.
THREADS = 2


@dataclass(frozen=True)
class ClientStore:
    """A `Store` behind MLflow's client.

    Attributes:
        uri: address of the store.
        experiment: its name.
        experiment_id: its number, as text.
    """

    uri: str
    experiment: str
    experiment_id: str

    @classmethod
    def open(cls, uri: str, experiment: str) -> ClientStore:
        """The experiment of that name; made where there is none."""
        with mlflow_errors(uri):
            return cls(uri, experiment, experiment_at(client_of(uri), experiment))

    @functools.cached_property
    def client(self) -> MlflowClient:
        return client_of(self.uri)

    @property
    def files_first(self) -> bool:
        return True

    def write(self, runs: Iterable[RunData], force: bool = False) -> list[str]:
        threads = THREADS if scheme(self.uri) == "http" else 1
        written: list[str | None] = []
        with mlflow_errors(self.uri), ThreadPoolExecutor(threads) as pool:
            for chunk in chunks(runs, CHUNK):
                written += pool.map(lambda job: self._write(job[0], job[1], force), stamped(chunk))
        return [run_id for run_id in written if run_id is not None]

    def _write(self, run: RunData, stamp: int, force: bool) -> str | None:
        for old in self._of(run.run_id):
            if old.info.status == "FINISHED" and not force:
                return None
            if old.info.status != "RUNNING" or is_dead(old.data.tags, old.info.start_time):
                self.client.delete_run(old.info.run_id)
        created = self.client.create_run(
            self.experiment_id,
            start_time=run.start_ms,
            tags={keys.USER: user(), keys.RUN_KEY: run.run_id, keys.WRITER: writer()},
            run_name=run.short_name,
        )
        run_id = created.info.run_id
        _log(self.client, run_id, run, stamp)
        files.put(self.client, run_id, created.info.artifact_uri, run)
        self.client.set_terminated(run_id, run.status, run.end_ms)
        self.client.delete_tag(run_id, keys.WRITER)
        return run_id if run.status != "FINISHED" else self._only_one(run.run_id, run_id)

    def _only_one(self, derived: str, mine: str) -> str | None:
        """Of two processes that wrote one run at the same moment, keeps the lower id."""
        finished = sorted(
            old.info.run_id for old in self._of(derived) if old.info.status == "FINISHED"
        )
        for run_id in finished[1:]:
            self.client.delete_run(run_id)
        return mine if not finished or mine == finished[0] else None

    def _of(self, derived: str) -> list[Any]:
        """The active runs of one derived id."""
        asked = f"tags.`{keys.RUN_KEY}` = '{derived}'"
        return list(self.client.search_runs([self.experiment_id], asked))

    def _with(self, status: str) -> Iterator[Any]:
        """The active runs of that status."""
        return pages(self.client, [self.experiment_id], f"attributes.status = '{status}'")

    def run_ids(self, derived: Sequence[str]) -> dict[str, str]:
        """All as they are: the server's own ids differ between experiments."""
        return {run_id: run_id for run_id in derived}

    def run_folder(self, run_id: str) -> Path | None:
        """None: the server chooses it."""
        return None

    def finished_keys(self) -> dict[str, str]:
        return self._keys("FINISHED")

    def failed_keys(self) -> dict[str, str]:
        return self._keys("FAILED")

    def _keys(self, status: str) -> dict[str, str]:
        with mlflow_errors(self.uri):
            found = [(run.data.tags.get(keys.KEY), run) for run in self._with(status)]
            return {key: run.info.run_id for key, run in found if key is not None}

    def finals(self) -> dict[str, dict[str, Any]]:
        found = {}
        with mlflow_errors(self.uri):
            for run in self._with("FINISHED"):
                tags = {k: run.data.tags.get(k) for k in keys.FINAL_TAGS}
                ends = {k: run.data.metrics.get(k) for k in keys.FINAL_METRICS}
                found[run.info.run_id] = {**ends, **tags}
        return found

    def holds(self, run_id: str) -> bool:
        with mlflow_errors(self.uri):
            return any(run.info.status == "FINISHED" for run in self._of(run_id))

    def stored_runs(self, run_ids: Sequence[str], curves: Sequence[str]) -> Iterator[RunData]:
        with mlflow_errors(self.uri):
            for run_id in run_ids:
                run = self.client.get_run(run_id)
                data = run.data
                metrics: dict[str, Any] = {k: ([0], [v]) for k, v in data.metrics.items()}
                for name in metrics.keys() & set(curves):
                    points = self.client.get_metric_history(run_id, name)
                    history = sorted((point.step, point.value) for point in points)
                    metrics[name] = tuple(np.array(column) for column in zip(*history))
                if (place := data.tags.get(keys.RECORDS)) is not None:
                    roots = {run_id: run.info.artifact_uri}
                    found = whole(self.uri, {run_id: place}, roots, set(curves))
                    metrics |= by_run(found, [run_id]).get(run_id, {})
                yield RunData(run_id, "", tags=dict(data.tags), metrics=metrics)

    def set_metric(self, name: str, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        with mlflow_errors(self.uri):
            for run in list(self._with("FINISHED")):
                mine = {run.info.run_id, run.data.tags.get(keys.RUN_KEY)} & values.keys()
                if mine:
                    self.client.log_metric(run.info.run_id, name, values[mine.pop()], now, 0)

    def repair(self) -> int:
        with mlflow_errors(self.uri):
            return delete_dead_runs(self.client, self.experiment_id)

    def tag(self, tags: Mapping[str, str]) -> None:
        with mlflow_errors(self.uri):
            for key, value in tags.items():
                self.client.set_experiment_tag(self.experiment_id, key, value)

    def tags(self) -> dict[str, str]:
        with mlflow_errors(self.uri):
            return dict(self.client.get_experiment(self.experiment_id).tags)

    def analyze(self) -> None:
        """Nothing: the server looks after its own indices."""


def _log(client: MlflowClient, run_id: str, run: RunData, stamp: int) -> None:
    """Sends metrics, parameters and tags in as few calls as MLflow allows."""
    from mlflow.entities import Metric, Param, RunTag

    tags = run.all_tags(user())
    if keys.NOTE in tags:  # its pictures are found by the id that the server chose
        tags[keys.NOTE] = tags[keys.NOTE].replace(run.run_id, run_id)
    metrics = [
        Metric(name, value, stamp, step)
        for name, steps, values in finite(run)
        for step, value in zip(steps, values)
    ]
    params = [Param(name, value) for name, value in run.all_params().items()]
    run_tags = [RunTag(name, value) for name, value in tags.items()]
    # MLflow takes 1,000 metrics, 100 parameters and 100 tags a call, 1,000 things in all.
    size = keys.METRICS_A_CALL - keys.PARAMS_A_CALL - keys.TAGS_A_CALL
    for a in range(0, max(len(metrics), len(params) * 9, len(run_tags) * 9, 1), size):
        b = a // size * keys.PARAMS_A_CALL
        client.log_batch(
            run_id,
            metrics=metrics[a : a + size],
            params=params[b : b + keys.PARAMS_A_CALL],
            tags=run_tags[b : b + keys.TAGS_A_CALL],
        )
